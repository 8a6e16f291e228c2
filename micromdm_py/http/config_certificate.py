"""/v1/config/certificate: the push certificate."""

import falcon

from micromdm_py.http.body import read_body
from micromdm_py.http.describe import BASE64, describe, needed, note
from micromdm_py.http.reply import flag, reply
from micromdm_py.service.push_certificate import PushCertificates

__all__ = ["PushCertificateResource"]

MAX_BODY_BYTES = 1 << 20


class PushCertificateResource:
    """GET shows, PUT stores."""

    needs_api_key = True

    def __init__(self, certificates: PushCertificates) -> None:
        """Work with `certificates`."""
        self._certificates = certificates

    @describe(gives={"cert": note(BASE64, "DER")}, answers={404: "There is none."})
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Show the current certificate."""
        reply(resp, self._certificates.show())

    @describe(
        takes={
            "cert": needed(BASE64, "of PEM or DER"),
            "key": needed(BASE64, "of PEM or DER, not encrypted"),
        },
        gives={},
        query={"force": note(bool, "store it even with another topic than enrolled devices have")},
        answers={409: "Devices are enrolled with another topic."},
    )
    def on_put(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Store a certificate with its key."""
        reply(resp, self._certificates.store(read_body(req, MAX_BODY_BYTES), force=flag(req, "force")))
