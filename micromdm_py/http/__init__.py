"""The Falcon application: one module per route family."""
