"""``mdmctl apply``: put something on the server."""

import base64
import json
import secrets
import uuid as uuids
from pathlib import Path

import click
from cryptography.hazmat.primitives.serialization import Encoding

from micromdm_py.cli.go_flags import GoCommand, go_option
from micromdm_py.cli.mdmctl.api import Api, connect, segment
from micromdm_py.cli.mdmctl.config import active_server
from micromdm_py.cli.mdmctl.get import FILES
from micromdm_py.cli.mdmctl.output import read_input, write_output
from micromdm_py.cli.mdmctl.signing import load_pair
from micromdm_py.errors import MalformedRequest, SignatureInvalid, StartupError
from micromdm_py.protocol.certificates import load_certificate
from micromdm_py.protocol.cms import sign_attached
from micromdm_py.protocol.password import SALT_BYTES, password_hash
from micromdm_py.protocol.plist import loads
from micromdm_py.protocol.signature import verify_attached

__all__ = ["apply", "read_json"]

USER_TEMPLATE = {"user_shortname": "", "user_longname": "", "hidden": False}
CMS = b"\x30"
"""How a signed profile begins."""


@click.group()
def apply() -> None:
    """Apply a resource."""


def read_json(path: str) -> dict[str, object]:
    """An object in a JSON file. Raises: StartupError."""
    try:
        found = json.loads(read_input(path))
    except ValueError as fault:
        raise StartupError(f"{path}: not JSON: {fault}") from fault
    if not isinstance(found, dict):
        raise StartupError(f"{path}: not a JSON object")
    return found


@apply.command("blueprints", cls=GoCommand)
@go_option("f", "", "JSON file of the blueprint, - for standard input")
@go_option("template", False, "print an example of a blueprint")
def blueprints(f: str, template: bool) -> int:
    """Store a blueprint."""
    if template:
        click.echo(json.dumps(_blueprint_template(active_server().server_url), indent=2))
        return 0
    if not f:
        raise StartupError("bad input: must provide -f or -template flag")
    blueprint = read_json(f)
    accounts = ("skip_primary_setup_account_creation", "set_primary_setup_account_as_regular_user")
    if not blueprint.get("user_uuids") and any(blueprint.get(name) for name in accounts):
        raise StartupError(f"{' and '.join(accounts)} can only be true with an account in user_uuids")
    with connect() as api:
        api.call("PUT", "/v1/blueprints", {"blueprint": blueprint})
    click.echo(f"applied blueprint {f}")
    return 0


def _blueprint_template(server_url: str) -> dict[str, object]:
    return {
        "uuid": str(uuids.uuid4()),
        "name": "exampleName",
        "install_application_manifest_urls": [f"{server_url.rstrip('/')}/repo/exampleAppManifest.plist"],
        "profile_ids": ["com.example.my.profile"],
        "user_uuids": ["your-admin-account-uuid"],
        "skip_primary_setup_account_creation": False,
        "set_primary_setup_account_as_regular_user": False,
        "apply_at": ["Enroll"],
    }


@apply.command("profiles", cls=GoCommand)
@go_option("f", "", "the profile, - for standard input (required)")
@go_option("sign", False, "sign it; needs -cert, and -private-key unless that is a .p12 file")
@go_option("out", "", "file for the signed profile in place of the upload, - for standard output")
@go_option("password", "", "password of the key or of the .p12 file", secret=True)
@go_option("private-key", "", "file of the key that signs")
@go_option("cert", "", "file of the certificate that signs, or .p12 file with both")
def profiles(f: str, sign: bool, out: str, password: str, private_key: str, cert: str) -> int:
    """Store a profile, or sign it."""
    if not f:
        raise StartupError("bad input: must provide -f parameter. use - for stdin")
    profile = read_input(f)
    if sign and not cert:
        raise StartupError("bad input: -sign needs -cert")
    if sign:
        certificate, key = load_pair(cert, private_key, password)
        signer = load_certificate(certificate.public_bytes(Encoding.DER))
        profile = sign_attached(profile, key, signer)
        if out:
            write_output(out, profile)
            return 0
    name = _identifier(f, profile)
    document = {"Identifier": name, "Mobileconfig": base64.b64encode(profile).decode()}
    with connect() as api:
        api.call("PUT", "/v1/profiles", {"profile": document})
    click.echo(f"applied profile id {name} from {f}")
    return 0


def _identifier(path: str, profile: bytes) -> str:
    try:
        content = verify_attached(profile).content if profile.startswith(CMS) else profile
        name = loads(content).get("PayloadIdentifier")
    except (MalformedRequest, SignatureInvalid) as fault:
        raise StartupError(f"{path}: not a profile: {fault}") from fault
    if not isinstance(name, str) or not name:
        raise StartupError(f"{path}: empty PayloadIdentifier in profile")
    return name


@apply.command("users", cls=GoCommand)
@go_option("f", "", "JSON file of the user; what the server has stored is written back to it (required)")
@go_option("template", False, "print an example of a user")
@go_option("password", "", "password of the user; needed for a new one", secret=True)
def users(f: str, template: bool, password: str) -> int:
    """Store an account for blueprints; only a hash of its password leaves this machine."""
    if template:
        click.echo(f"\n{json.dumps(USER_TEMPLATE, indent=2)}\n")
        return 0
    user = read_json(f)
    if not user.get("uuid") and not password:
        raise StartupError("password argument must be provided when creating a user")
    if password:
        hashed = password_hash(password, secrets.token_bytes(SALT_BYTES))
        user["password_hash"] = base64.b64encode(hashed).decode()
    with connect() as api:
        stored = api.call("PUT", "/v1/users", {"user": user})["user"]
    Path(f).write_text(json.dumps(stored, indent=2) + "\n")
    return 0


@apply.command("block", cls=GoCommand)
@go_option("udid", "", "UDID of the device (required)")
def block(udid: str) -> int:
    """Block a device and wake it: it drops its enrollment."""
    if not udid:
        raise StartupError("bad input: must provide a device UDID to block.")
    with connect() as api:
        api.call("POST", f"/v1/devices/{segment(udid)}/block")
        try:
            api.call("GET", f"/push/{segment(udid)}")
        except StartupError as fault:
            click.echo(f"blocked, but not woken: {fault}", err=True)
    return 0


@apply.command("dep-tokens", cls=GoCommand)
@go_option("import", f"{FILES}/DEPOAuthToken.json", "the .p7m file of Apple's page")
def dep_tokens(**given: str) -> int:
    """Store a token of automated enrollment."""
    content = base64.b64encode(read_input(given["import"])).decode()
    with connect() as api:
        api.call("PUT", "/v1/dep-tokens", {"p7m_content": content})
    click.echo("imported DEP token")
    return 0


@apply.command("dep-autoassigner", cls=GoCommand)
@go_option("filter", "*", "which devices: * for all")
@go_option("uuid", "", "UUID of the profile (required)")
def dep_autoassigner(filter: str, uuid: str) -> int:
    """Say which profile devices get."""
    if not filter or not uuid:
        raise StartupError("bad input: must provide both -filter and -uuid")
    with connect() as api:
        assign(api, filter, uuid)
    click.echo(f"saved auto-assign filter '{filter}' to DEP profile UUID '{uuid}'")
    click.echo("every device that has another profile is given this one")
    return 0


def assign(api: Api, filter: str, uuid: str) -> None:
    """Store the rule."""
    api.call("POST", "/v1/dep/autoassigners", {"filter": filter, "profile_uuid": uuid})
