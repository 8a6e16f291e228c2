"""GET /mdm/enroll and /ota/enroll: the profiles that begin an enrollment."""

import falcon

from micromdm_py.http.describe import Content, describe
from micromdm_py.service.enroll import Enroll

__all__ = ["EnrollResource", "OtaResource"]

PROFILE_TYPE = "application/x-apple-aspen-config"


class EnrollResource:
    """The enrollment profile."""

    def __init__(self, enroll: Enroll) -> None:
        """Hand out what `enroll` makes."""
        self._enroll = enroll

    @describe(gives=Content(PROFILE_TYPE))
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Hand out a fresh profile."""
        resp.data = self._enroll.profile()
        resp.content_type = PROFILE_TYPE


class OtaResource:
    """The Profile Service payload; any method, as MicroMDM answers it."""

    def __init__(self, enroll: Enroll) -> None:
        """Hand out what `enroll` makes."""
        self._enroll = enroll

    @describe(gives=Content(PROFILE_TYPE))
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Hand out the payload."""
        resp.data = self._enroll.ota()
        resp.content_type = PROFILE_TYPE

    on_post = on_get
    on_put = on_get
    on_delete = on_get
