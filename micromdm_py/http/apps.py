"""/v1/apps: packages and their manifests."""

import falcon

from micromdm_py.http.audit import audit_note
from micromdm_py.http.body import read_body
from micromdm_py.http.describe import BASE64, Content, describe, note
from micromdm_py.http.multipart import form_parts
from micromdm_py.http.reply import flag, reply
from micromdm_py.service.apps import Apps

__all__ = ["AppsResource"]

MAX_BODY_BYTES = 1 << 20
NO_REPOSITORY = {503: "There is no file repository (-filerepo), or it cannot be written."}


class AppsResource:
    """POST lists, PUT uploads."""

    needs_api_key = True

    def __init__(self, apps: Apps) -> None:
        """Work with `apps`."""
        self._apps = apps

    @describe(
        takes={"filter_name": note([str], "names of manifests; also inside opts")},
        gives={"apps": [{"name": str, "payload": note(BASE64, "the manifest")}]},
        answers={404: "One is not there.", **NO_REPOSITORY},
    )
    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List the manifests, or some of them."""
        reply(resp, self._apps.list(read_body(req, MAX_BODY_BYTES)))

    @describe(
        takes=Content(
            "multipart/form-data",
            {
                "pkg_name": note(str, "name of the package in the repository"),
                "pkg_filedata": note(str, "the package"),
                "app_manifest_filename": note(str, "name of its manifest"),
                "app_manifest_filedata": note(str, "the manifest"),
            },
        ),
        gives={"manifest_url": note(str, "only with manifest: what InstallApplication wants")},
        query={"manifest": note(bool, "make the manifest from the package, which has to be signed")},
        answers={409: "A name is taken by a folder or by the server.", **NO_REPOSITORY},
        about="Fields may come in any order; there is no limit of size or time.",
    )
    def on_put(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Upload a package, a manifest, or both."""
        upload = self._apps.store(form_parts(req), make=flag(req, "manifest"))
        audit_note(req, " ".join(upload.names))
        reply(resp, upload.reply)
