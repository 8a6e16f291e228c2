"""/repo/: the file repository."""

from mimetypes import MimeTypes
from posixpath import splitext

import falcon

from micromdm_py.errors import NotFound
from micromdm_py.http.describe import Content, describe
from micromdm_py.http.partial import part_for
from micromdm_py.storage.files import Files

__all__ = ["RepositoryResource"]

_TYPES = {
    **MimeTypes(filenames=()).types_map[1],  # not the machine's own table, which differs from place to place
    ".pkg": "application/x-xar",
    ".mpkg": "application/x-xar",
    ".plist": "text/xml; charset=utf-8",
    ".xml": "text/xml; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".dmg": "application/x-apple-diskimage",
    ".mobileconfig": "application/x-apple-aspen-config",
}


class RepositoryResource:
    """Registered only with `-filerepo`; nobody needs credentials, and folders are not listed."""

    def __init__(self, files: Files) -> None:
        """Hand out these files."""
        self._files = files

    @describe(
        gives=Content("application/octet-stream", text="The file; its type goes by its name."),
        headers={"Range": str, "If-Range": str, "If-None-Match": str, "If-Modified-Since": str},
        answers={
            206: "The range.",
            304: "It has not changed.",
            404: "There is none, or it may not be read.",
            412: "A condition does not hold.",
            416: "The range lies beyond the end.",
        },
    )
    def on_get(self, req: falcon.Request, resp: falcon.Response, path: str) -> None:
        """Fetch a file, or a range of it."""
        try:
            stored = self._files.open(path)
        except NotFound:
            raise falcon.HTTPNotFound from None
        head = req.method == "HEAD"
        part = part_for(req.env, stored.size, stored.changed_ns, whole=head)
        resp.status = falcon.code_to_http_status(part.status)
        for name, value in part.headers.items():
            resp.set_header(name, value)
        resp.set_header("X-Content-Type-Options", "nosniff")
        resp.content_type = _TYPES.get(splitext(path)[1].lower(), "application/octet-stream")
        if not part.length or head:
            stored.file.close()
            if head and part.status == 200:
                resp.content_length = part.length
            return
        stored.file.seek(part.start)
        resp.set_stream(stored.file, part.length)

    on_head = on_get
