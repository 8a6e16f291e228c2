"""``mdmctl apply app``: the manifest of a signed package, and its upload."""

from pathlib import Path

import click

from micromdm_py.cli.go_flags import GoCommand, go_option
from micromdm_py.cli.mdmctl.api import connect, segment
from micromdm_py.cli.mdmctl.apply import apply
from micromdm_py.cli.mdmctl.config import active_server
from micromdm_py.cli.mdmctl.output import write_output
from micromdm_py.errors import MalformedRequest, SignatureInvalid, StartupError
from micromdm_py.protocol.manifest import CHUNK_BYTES, make_manifest, manifest_name
from micromdm_py.protocol.package import read_package

__all__ = ["app"]

NO_DISTRIBUTION = """
[WARNING] This package is not a distribution package, and MDM installs no other. Turn it into one with

productbuild --package someFlatPkg.pkg myNewPkg.pkg
"""


@apply.command("app", cls=GoCommand)
@go_option("pkg", "", "the signed distribution package (required)")
@go_option("pkg-url", "", "URL of the package, when it is not in the server's /repo")
@go_option("manifest", "-", "file for the manifest, - for standard output, empty for none")
@go_option("chunk-size", CHUNK_BYTES, "bytes that one digest of the manifest covers")
@go_option("md5size", 0, "the same, with MD5 digests, for macOS before 10.15; 0: SHA-256")
@go_option("upload", False, "upload package and manifest to the server's /repo")
def app(pkg: str, pkg_url: str, manifest: str, chunk_size: int, md5size: int, upload: bool) -> int:
    """Make the manifest of a signed package; upload both."""
    if not pkg or chunk_size < 1 or md5size < 0:
        raise StartupError("bad input: must provide -pkg, and sizes that are not negative")
    path = Path(pkg)
    url = pkg_url or f"{active_server().server_url.rstrip('/')}/repo/{segment(path.name)}"
    try:
        with path.open("rb") as file:
            found = read_package(file)
            file.seek(0)
            if md5size:
                made = make_manifest(file, url, chunk_bytes=md5size, algorithm="md5")
            else:
                made = make_manifest(file, url, chunk_bytes=chunk_size)
    except OSError as fault:
        raise StartupError(f"open {pkg}: {(fault.strerror or str(fault)).lower()}") from fault
    except (MalformedRequest, SignatureInvalid) as fault:
        raise StartupError(f"{pkg}: {fault}") from fault
    if not found.distribution:
        click.echo(NO_DISTRIBUTION, err=True)
    if found.signer is None:
        raise StartupError("MDM packages must be signed: sign it with productsign")
    if upload:
        _upload(path, manifest_name(path.name), made)
    if manifest:
        write_output(manifest, made)
    return 0


def _upload(path: Path, name: str, manifest: bytes) -> None:
    with path.open("rb") as file, connect() as api:
        parts = [
            ("app_manifest_filename", (None, name)),
            ("app_manifest_filedata", (name, manifest)),
            ("pkg_name", (None, path.name)),
            ("pkg_filedata", (path.name, file)),
        ]
        api.call("PUT", "/v1/apps", files=parts)
