"""Use cases of the server; they see storage and network only through Protocols."""
