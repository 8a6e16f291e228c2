"""Automated enrolment (DEP): tokens, calls for administrators, synchronization, automatic assignment."""
