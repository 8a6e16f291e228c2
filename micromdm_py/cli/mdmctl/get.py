"""``mdmctl get``: show what the server has."""

import base64
from typing import Any

import click
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from micromdm_py.cli.go_flags import GoCommand, go_option
from micromdm_py.cli.mdmctl.api import connect
from micromdm_py.cli.mdmctl.output import go_time, output_option, show, write_json, write_output
from micromdm_py.errors import StartupError

__all__ = ["get"]

FILES = "mdm-files"
LONGEST_KEY = 40


@click.group()
def get() -> None:
    """Show one or many resources."""


def words(text: str) -> list[str] | None:
    """The words of a list with commas, None for none."""
    return [word for word in text.split(",") if word] or None


@get.command("devices", cls=GoCommand)
@go_option("serials", "", "serial numbers, separated by commas")
@output_option
def devices(serials: str, o: str) -> int:
    """Show devices."""
    wanted = {"page": 0, "per_page": 0, "filter_serial": words(serials), "filter_udid": None}
    with connect() as api:
        found = api.call("POST", "/v1/devices", wanted)["devices"] or []
    rows = [
        (one["udid"], one["serial_number"], one["enrollment_status"], go_time(one["last_seen"]))
        for one in found
    ]
    show(o, found, ("UDID", "SerialNumber", "EnrollmentStatus", "LastSeen"), rows)
    return 0


@get.command("users", cls=GoCommand)
@output_option
def users(o: str) -> int:
    """Show users."""
    with connect() as api:
        found = api.call("POST", "/v1/users", {})["users"] or []
    names = ("uuid", "udid", "user_id", "user_shortname", "user_longname")
    header = ("UUID", "UDID", "UserID", "UserShortName", "UserLongName")
    show(o, found, header, [[one[name] for name in names] for one in found])
    return 0


@get.command("profiles", cls=GoCommand)
@go_option("id", "", "identifier of one profile")
@go_option("f", "-", "file to write that profile to, - for standard output")
@output_option
def profiles(id: str, f: str, o: str) -> int:
    """Show profiles, or write one to a file."""
    with connect() as api:
        found = api.call("POST", "/v1/profiles", {"id": id})["profiles"] or []
    if id and found:
        write_output(f, base64.b64decode(found[0]["Mobileconfig"]))
        if f != "-":
            click.echo(f"wrote profile id {id} to: {f}")
        return 0
    rows = [(one["Identifier"], len(base64.b64decode(one["Mobileconfig"]))) for one in found]
    show(o, found, ("Identifier", "Length"), rows)
    return 0


@get.command("blueprints", cls=GoCommand)
@go_option("name", "", "name of one blueprint")
@go_option("f", "-", "file to write that blueprint to, - for standard output")
@output_option
def blueprints(name: str, f: str, o: str) -> int:
    """Show blueprints, or write one to a file."""
    with connect() as api:
        found = api.call("POST", "/v1/blueprints", {"FilterName": name})["blueprints"] or []
    if name and found:
        write_json(f, found[0])
        if f != "-":
            click.echo(f"wrote blueprint {name} to: {f}")
        return 0
    rows = [
        (
            one["name"],
            one["uuid"],
            len(one["install_application_manifest_urls"] or []),
            len(one["profile_ids"] or []),
            ",".join(one["apply_at"] or []) or "(None)",
        )
        for one in found
    ]
    show(o, found, ("Name", "UUID", "Manifests", "Profiles", "Apply At"), rows)
    return 0


@get.command("apps", cls=GoCommand)
@go_option("name", "", "name of one app's manifest")
@go_option("f", "-", "file to write that manifest to, - for standard output")
@output_option
def apps(name: str, f: str, o: str) -> int:
    """Show apps, or write the manifest of one to a file."""
    with connect() as api:
        found = api.call("POST", "/v1/apps", {"filter_name": [name]}).get("apps") or []
        url = api.url
    if name and found:
        write_output(f, base64.b64decode(found[0]["payload"]))
        return 0
    show(o, found, ("Name", "ManifestURL"), [(one["name"], f"{url}/repo/{one['name']}") for one in found])
    return 0


@get.command("certificates", cls=GoCommand)
@output_option
def certificates(o: str) -> int:
    """Show the push certificates: topics, dates, enrolled devices."""
    with connect() as api:
        found = api.call("GET", "/v1/config/certificates")["certificates"]
    rows = [
        (one["topic"], one["not_after"][:10], one["enrolled"], "yes" if one["current"] else "no")
        for one in found
    ]
    show(o, found, ("Topic", "Ends", "Enrolled", "Current"), rows)
    return 0


@get.command("dep-tokens", cls=GoCommand)
@go_option("v", False, "show consumer keys whole")
@go_option("export-public-key", f"{FILES}/DEPPublicKey", "file for the public key that Apple's page wants")
@go_option("export-token", f"{FILES}/DEPOAuthToken.json", "file for the token")
@output_option
def dep_tokens(v: bool, export_public_key: str, export_token: str, o: str) -> int:
    """Show the tokens of automated enrollment, and write public key and token to files."""
    with connect() as api:
        answer = api.call("GET", "/v1/dep-tokens")
    tokens = answer["dep_tokens"] or []
    rows = [(_short(one["consumer_key"], whole=v), go_time(one["access_token_expiry"])) for one in tokens]
    show(o, answer, ("ConsumerKey", "AccessTokenExpiry"), rows)
    if export_public_key and answer.get("public_key"):
        certificate = x509.load_der_x509_certificate(base64.b64decode(answer["public_key"]))
        write_output(export_public_key, certificate.public_bytes(Encoding.PEM))
        click.echo(f"\nWrote DEP public key to: {export_public_key}")
    if export_token and tokens:
        write_json(export_token, tokens[0], secret=True)
        click.echo(f"\nWrote DEP token JSON to: {export_token}")
        if len(tokens) > 1:
            click.echo("WARNING: more than one DEP token returned; only saved first")
    return 0


def _short(key: str, *, whole: bool) -> str:
    return key if whole or len(key) <= LONGEST_KEY else f"{key[: LONGEST_KEY - 1]}…"


@get.command("dep-devices", cls=GoCommand)
@go_option("serials", "", "serial numbers, separated by commas (required)")
@output_option
def dep_devices(serials: str, o: str) -> int:
    """Show what Apple knows of devices."""
    wanted = words(serials)
    if wanted is None:
        raise StartupError("bad input: must provide a comma-separated list of DEP serials")
    with connect() as api:
        found: dict[str, Any] = api.call("POST", "/v1/dep/devices", {"serials": wanted})["devices"] or {}
    names = ("serial_number", "model", "device_family", "profile_status", "profile_uuid")
    header = ("SerialNumber", "Model", "DeviceFamily", "ProfileStatus", "ProfileUUID")
    show(o, found, header, [[one.get(name, "") for name in names] for one in found.values()])
    return 0


@get.command("dep-account", cls=GoCommand)
@output_option
def dep_account(o: str) -> int:
    """Show the account of automated enrollment."""
    with connect() as api:
        found = api.call("GET", "/v1/dep/account")
    names = ("org_name", "org_phone", "org_email", "server_name")
    header = ("OrgName", "OrgPhone", "OrgEmail", "ServerName")
    show(o, found, header, [[found.get(name, "") for name in names]])
    return 0


@get.command("dep-profiles", cls=GoCommand)
@go_option("uuid", "", "UUID of the profile (required); mdmctl get dep-devices shows those in use")
@go_option("f", "", "file to write the profile to, - for standard output")
@output_option
def dep_profiles(uuid: str, f: str, o: str) -> int:
    """Show a profile of automated enrollment, or write it to a file."""
    if not uuid:
        raise StartupError("bad input: must provide -uuid; Apple's service does not list profiles")
    with connect() as api:
        found = api.call("POST", "/v1/dep/profiles", {"uuid": uuid})
    if f:
        write_json(f, found)
        if f != "-":
            click.echo(f"Wrote DEP profile {uuid} to: {f}")
        return 0
    flags = ("is_mandatory", "is_mdm_removable", "await_device_configured")
    row = [
        found["profile_name"],
        *(bool(found.get(name)) for name in flags),
        ",".join(found.get("skip_setup_items") or []),
    ]
    show(o, found, ("Name", "Mandatory", "Removable", "AwaitConfigured", "SkippedItems"), [row])
    return 0


@get.command("dep-autoassigners", cls=GoCommand)
@output_option
def dep_autoassigners(o: str) -> int:
    """Show which profile devices get."""
    with connect() as api:
        found = api.call("GET", "/v1/dep/autoassigners")["autoassigners"] or []
    rows = [(one["filter"], one["profile_uuid"]) for one in found]
    show(o, found, ("Filter", "DEP Profile UUID"), rows)
    return 0
