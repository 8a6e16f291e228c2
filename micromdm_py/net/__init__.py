"""Outgoing HTTP behind Protocols."""
