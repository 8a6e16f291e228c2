"""/boltbackup: the whole store as one file, under the name that backup scripts know."""

from collections.abc import Callable

import falcon

from micromdm_py.http.describe import Content, describe
from micromdm_py.storage.files import StoredFile

__all__ = ["BackupResource"]


class BackupResource:
    """GET /boltbackup."""

    needs_api_key = True

    def __init__(self, backup: Callable[[], StoredFile]) -> None:
        """Hand out the file that `backup` makes."""
        self._backup = backup

    @describe(
        gives=Content("application/octet-stream", text="For micromdm restore; private keys included."),
        answers={503: "There is no room on the disk for the copy."},
    )
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Fetch a consistent copy of the whole store."""
        made = self._backup()
        resp.set_stream(made.file, made.size)
        resp.content_type = "application/octet-stream"
        resp.set_header("Content-Disposition", 'attachment; filename="micromdm.db"')
        resp.set_header("Cache-Control", "no-store")
