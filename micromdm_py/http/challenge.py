"""POST /v1/challenge: a one-time SCEP challenge."""

import falcon

from micromdm_py.http.body import read_body
from micromdm_py.http.describe import describe, note
from micromdm_py.http.reply import reply
from micromdm_py.protocol.jsonreply import json_reply
from micromdm_py.service.enroll import Challenges

__all__ = ["ChallengeResource"]

MAX_BODY_BYTES = 1 << 16


class ChallengeResource:
    """Registered only where challenges are one-time."""

    needs_api_key = True

    def __init__(self, challenges: Challenges) -> None:
        """Hand out what `challenges` makes."""
        self._challenges = challenges

    @describe(gives={"string": note(str, "the challenge, good for one use")})
    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Make a new challenge; a body is read and ignored."""
        read_body(req, MAX_BODY_BYTES)
        reply(resp, json_reply({"string": self._challenges()}))
