"""Packages and their manifests: stored as a whole or not at all, and listed."""

import contextlib
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from urllib.parse import quote

from micromdm_py.errors import MalformedField, MalformedRequest, NotConfigured, NotFound, SignatureInvalid
from micromdm_py.protocol import plist
from micromdm_py.protocol.jsonbody import strings
from micromdm_py.protocol.jsonreply import base64_text, json_reply
from micromdm_py.protocol.manifest import make_manifest, manifest_name
from micromdm_py.service.request import read_fields
from micromdm_py.storage.files import Draft, Files

__all__ = ["Apps", "Upload"]

MANIFEST_NAME, MANIFEST_DATA = "app_manifest_filename", "app_manifest_filedata"
PACKAGE_NAME, PACKAGE_DATA = "pkg_name", "pkg_filedata"
MAX_NAME_BYTES = 240
MAX_MANIFEST_BYTES = 4 << 20
"""Largest manifest that is listed."""

Parts = Iterable[tuple[str, Iterator[bytes]]]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Upload:
    """What was stored.

    Attributes:
        names: of the files.
        reply: to the client.
    """

    names: tuple[str, ...]
    reply: bytes


@dataclass(slots=True)
class _Form:
    """An upload as far as it has arrived: texts and files by the names of their fields."""

    texts: dict[str, str] = field(default_factory=dict)
    files: dict[str, Draft] = field(default_factory=dict)


class Apps:
    """The packages and manifests of the file repository."""

    def __init__(self, files: Files | None, server_url: str) -> None:
        """Keep them in `files` (None: there is no repository), which devices find below `server_url`."""
        self._store, self._url = files, server_url

    def list(self, body: bytes) -> bytes:
        """The manifests.

        Args:
            body: JSON with `filter_name`, names of manifests, at the top or inside `Opts`; empty ones do not
                count.
        Returns: the reply, sorted by name. Files that are not manifests are left out.
        Raises: MalformedField, NotFound, NotConfigured, StorageUnavailable.
        """
        wanted = list(filter(None, strings(read_fields(body), "filter_name")))
        present = self._files.names(".plist")
        for name in wanted:
            if name not in present:
                raise NotFound(f"not found: App name {name}")
        apps = [
            {"name": name, "payload": base64_text(content)}
            for name in present
            if (not wanted or name in wanted) and (content := self._manifest(name)) is not None
        ]
        return json_reply({"apps": apps} if apps else {})

    def store(self, parts: Parts, *, make: bool) -> Upload:
        """Take an upload.

        Args:
            parts: fields of the form in any order, each with its content: `app_manifest_filename`,
                `app_manifest_filedata`, `pkg_name`, `pkg_filedata`; others are ignored.
            make: make the manifest of the package, which then has to be signed.
        Raises: MalformedField, NotConfigured, Conflict, StorageUnavailable; nothing is stored then.
        """
        form = _Form()
        with contextlib.ExitStack() as stack:
            for name, pieces in parts:
                self._take(form, name, pieces, stack)
            package, manifest = _pair(form, PACKAGE_NAME, PACKAGE_DATA), None
            if make:
                made = stack.enter_context(self._files.draft())
                manifest = self._made(form, package, made)
            else:
                manifest = _pair(form, MANIFEST_NAME, MANIFEST_DATA)
            # The package first: a manifest must not name what is not there yet.
            drafts = [one for one in (package, manifest) if one]
            names = tuple(name for name, _ in drafts)
            if len(set(names)) < len(names):
                raise MalformedField(MANIFEST_NAME, f"is the same as {PACKAGE_NAME}")
            self._files.keep(drafts)
        document = {"manifest_url": self._address(manifest[0])} if make and manifest else {}
        return Upload(names, json_reply(document))

    @property
    def _files(self) -> Files:
        if self._store is None:
            raise NotConfigured("there is no file repository: set -filerepo")
        return self._store

    def _take(self, form: _Form, name: str, pieces: Iterator[bytes], stack: contextlib.ExitStack) -> None:
        """Take one field; of a repeated one the first counts."""
        if name in (MANIFEST_NAME, PACKAGE_NAME):
            form.texts.setdefault(name, _text(name, pieces))
        elif name in (MANIFEST_DATA, PACKAGE_DATA) and name not in form.files:
            form.files[name] = draft = stack.enter_context(self._files.draft())
            for piece in pieces:
                draft.write(piece)

    def _made(self, form: _Form, package: tuple[str, Draft] | None, made: Draft) -> tuple[str, Draft]:
        """The manifest of a package."""
        from micromdm_py.protocol.package import read_package  # only here: it imports another XML reader

        if package is None:
            raise MalformedField(PACKAGE_DATA, "is needed to make a manifest")
        if MANIFEST_DATA in form.files:
            raise MalformedField(MANIFEST_DATA, "has a manifest already, so none can be made")
        name, draft = package
        try:
            found = read_package(draft.file)
        except (MalformedRequest, SignatureInvalid) as fault:
            raise MalformedField(PACKAGE_DATA, str(fault)) from fault
        if found.signer is None:
            raise MalformedField(PACKAGE_DATA, "is not signed, and MDM installs signed packages only")
        if not found.distribution:
            raise MalformedField(PACKAGE_DATA, "is not a distribution package; make one with productbuild")
        draft.file.seek(0)
        made.write(make_manifest(draft.file, self._address(name)))
        return form.texts.get(MANIFEST_NAME) or manifest_name(name), made

    def _address(self, name: str) -> str:
        return f"{self._url}/repo/{quote(name)}"

    def _manifest(self, name: str) -> bytes | None:
        """The content of a manifest, None for a file that is not one."""
        try:
            with self._files.open(name).file as file:
                content = file.read(MAX_MANIFEST_BYTES + 1)
            if len(content) <= MAX_MANIFEST_BYTES and "items" in plist.loads(content):
                return content
        except (NotFound, MalformedRequest, OSError):
            pass
        logger.warning("%s in the file repository is not a manifest", name)
        return None


def _pair(form: _Form, name_field: str, data_field: str) -> tuple[str, Draft] | None:
    """A file and its name, None if neither was given. Raises: MalformedField if only one was."""
    name, draft = form.texts.get(name_field, ""), form.files.get(data_field)
    if draft is None:
        if name:
            raise MalformedField(data_field, "is missing")
        return None
    if not name:
        raise MalformedField(name_field, "is missing")
    return name, draft


def _text(name: str, pieces: Iterator[bytes]) -> str:
    """A file name, "" for none. Raises: MalformedField."""
    raw = b""
    for piece in pieces:
        raw += piece
        if len(raw) > MAX_NAME_BYTES:
            raise MalformedField(name, f"is longer than {MAX_NAME_BYTES} bytes")
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise MalformedField(name, "is not UTF-8") from None
    if "/" in text or text.startswith(".") or not text.isprintable():
        raise MalformedField(name, "must be a file name without a folder and without a leading dot")
    return text
