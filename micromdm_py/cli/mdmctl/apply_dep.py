"""``mdmctl apply dep-profiles``: a profile of automated enrollment, given to Apple."""

import base64
import json
import ssl
from urllib.parse import urlsplit

import click
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from micromdm_py.cli.go_flags import GoCommand, go_option
from micromdm_py.cli.mdmctl.api import connect
from micromdm_py.cli.mdmctl.apply import apply, assign, read_json
from micromdm_py.cli.mdmctl.config import active_server
from micromdm_py.cli.mdmctl.output import read_input
from micromdm_py.errors import StartupError

__all__ = ["dep_profiles"]

TEMPLATE: dict[str, object] = {
    "profile_name": "(Required) Human readable name",
    "url": "https://mdm.example.com/mdm/enroll",
    "allow_pairing": True,
    "auto_advance_setup": False,
    "await_device_configured": False,
    "configuration_web_url": "(Optional) https://sso.example.com/?redirect=enroll",
    "department": "(Optional) support@example.com",
    "is_supervised": False,
    "is_multi_user": False,
    "is_mandatory": False,
    "is_mdm_removable": True,
    "language": "(Optional) en",
    "org_magic": "(Optional)",
    "region": "(Optional) US",
    "support_phone_number": "(Optional) +1 408 555 1010",
    "support_email_address": "(Optional) support@example.com",
    "anchor_certs": [],
    "supervising_host_certs": [],
    "skip_setup_items": ["AppleID", "Android"],
    "devices": ["SERIAL1", "SERIAL2"],
}


@apply.command("dep-profiles", cls=GoCommand)
@go_option("f", "", "JSON file of the profile, - for standard input")
@go_option("template", False, "print an example of a profile")
@go_option("anchor", "", "file with PEM certificates for the anchor_certs of the example")
@go_option("use-server-cert", False, "put the certificate of the server into them, too")
@go_option("filter", "", "assign the profile to devices: * for all")
def dep_profiles(f: str, template: bool, anchor: str, use_server_cert: bool, filter: str) -> int:
    """Define a profile of automated enrollment."""
    if template:
        certificates = _anchors(anchor, use_server_cert=use_server_cert)
        click.echo(json.dumps({**TEMPLATE, "anchor_certs": certificates}, indent=2))
        return 0
    if not f:
        raise StartupError("bad input: must provide -f or -template parameter")
    profile = read_json(f)
    with connect() as api:
        uuid = api.call("PUT", "/v1/dep/profiles", profile)["profile_uuid"]
        click.echo(f"Defined DEP Profile with UUID {uuid}")
        if filter:
            assign(api, filter, uuid)
            click.echo(f"Saved auto-assign filter '{filter}' for this DEP profile")
    return 0


def _anchors(path: str, *, use_server_cert: bool) -> list[str]:
    found: list[x509.Certificate] = []
    if path:
        try:
            found += x509.load_pem_x509_certificates(read_input(path))
        except ValueError as fault:
            raise StartupError(f"{path}: holds no PEM certificates") from fault
    if use_server_cert:
        place = urlsplit(active_server().server_url)
        try:
            pem = ssl.get_server_certificate((place.hostname or "", place.port or 443), timeout=20)
        except OSError as fault:
            raise StartupError(f"{place.netloc}: {fault}") from fault
        found.append(x509.load_pem_x509_certificate(pem.encode()))
    return [base64.b64encode(one.public_bytes(Encoding.DER)).decode() for one in found]
