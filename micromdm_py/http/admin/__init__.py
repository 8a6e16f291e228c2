"""Pages for people who run the server."""
