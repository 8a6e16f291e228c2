"""What anybody may look at: the version and the home page."""

from collections.abc import Mapping

import falcon

from micromdm_py.http.describe import HTML, describe
from micromdm_py.http.reply import reply
from micromdm_py.protocol.jsonreply import json_reply

__all__ = ["HomeResource", "VersionResource"]

HOME = b"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Device management</title>
<style>
body { font: 1.1rem/1.5 system-ui, sans-serif; max-width: 34rem; margin: 15vh auto; padding: 0 1rem;
  color: #1d1d1f }
a { display: inline-block; padding: .6rem 1.2rem; border-radius: .5rem; background: #0058b0;
  color: #fff }
a:focus-visible { outline: 3px solid #7ab8ff; outline-offset: 2px }
@media (prefers-color-scheme: dark) { body { background: #1d1d1f; color: #f5f5f7 } }
</style>
</head>
<body>
<main>
<h1>Device management</h1>
<p>Open this page on the device that shall be managed, then download the profile and install it
in the settings.</p>
<p><a href="mdm/enroll">Download the enrollment profile</a></p>
</main>
</body>
</html>
"""

SIX = ("version", "branch", "revision", "go_version", "build_date", "build_user")


class HomeResource:
    """A page with a link to the enrollment profile."""

    @describe(gives=HTML)
    def on_any(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Show the page that leads to the enrollment profile."""
        resp.data, resp.content_type = HOME, "text/html; charset=utf-8"


class VersionResource:
    """The version in the shape clients of MicroMDM read: six strings."""

    def __init__(self, build: Mapping[str, str]) -> None:
        """Tell these six texts."""
        self._document = json_reply(build)

    @describe(gives=dict.fromkeys(SIX, str))
    def on_any(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Tell the version."""
        reply(resp, self._document)
