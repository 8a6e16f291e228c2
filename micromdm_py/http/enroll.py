"""/mdm/enroll and /ota: the profiles that begin an enrollment."""

import falcon

from micromdm_py.http.body import read_body
from micromdm_py.http.describe import Content, describe
from micromdm_py.service.enroll import Enroll
from micromdm_py.service.signed_enrollment import SignedEnrollment

__all__ = ["EnrollResource", "OtaResource", "PhasesResource"]

PROFILE_TYPE = "application/x-apple-aspen-config"
MAX_BODY_BYTES = 1 << 18
SIGNED = Content("application/pkcs7-signature")


class EnrollResource:
    """The enrollment profile: for everybody, or for a device that signs its request."""

    def __init__(self, enroll: Enroll, signed: SignedEnrollment) -> None:
        """Hand out what `enroll` makes, and `signed` for devices that sign."""
        self._enroll, self._signed = enroll, signed

    @describe(gives=Content(PROFILE_TYPE))
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Hand out the enrollment profile."""
        resp.data = self._enroll.profile()
        resp.content_type = PROFILE_TYPE

    @describe(takes=SIGNED, gives=Content(PROFILE_TYPE))
    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Hand out the enrollment profile to a device in automated enrollment."""
        resp.data = self._signed.automated(read_body(req, MAX_BODY_BYTES))
        resp.content_type = PROFILE_TYPE


class OtaResource:
    """The Profile Service payload; any method, as MicroMDM answers it."""

    def __init__(self, enroll: Enroll) -> None:
        """Hand out what `enroll` makes."""
        self._enroll = enroll

    @describe(gives=Content(PROFILE_TYPE))
    def on_any(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Hand out the first step of over-the-air enrollment."""
        resp.data = self._enroll.ota()
        resp.content_type = PROFILE_TYPE


class PhasesResource:
    """POST /ota/phase23: phases 2 and 3 of over-the-air enrollment."""

    def __init__(self, signed: SignedEnrollment) -> None:
        """Hand out what `signed` makes."""
        self._signed = signed

    @describe(takes=SIGNED, gives=Content(PROFILE_TYPE))
    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Hand out the profile of the next phase."""
        resp.data = self._signed.over_the_air(read_body(req, MAX_BODY_BYTES))
        resp.content_type = PROFILE_TYPE
