"""Calls to the outside behind the Protocols of the services."""

import logging

# The libraries below us log whole URLs, headers and bodies, and with them push tokens and receivers' secrets.
for _name in ("httpx", "httpcore", "hpack", "h2"):
    logging.getLogger(_name).setLevel(logging.WARNING)
