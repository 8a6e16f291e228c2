"""Automated enrollment (DEP): tokens, calls for administrators, synchronization, automatic assignment."""
