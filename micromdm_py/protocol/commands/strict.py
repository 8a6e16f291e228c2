"""Strict mode: what Apple's reference demands of a command beyond the types of its fields.

The first problem found is reported, in this order: unknown fields, values outside their list, missing
required fields, and the conditions between fields that the reference states in prose.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from micromdm_py.errors import MalformedField
from micromdm_py.protocol.commands.schema import Keys, command_keys

if TYPE_CHECKING:
    from micromdm_py.protocol.commands.convert import Findings

__all__ = ["check"]

Command = dict[str, Any]  # keys and values of the property list
Fault = tuple[str, str]

PIN_CHARACTERS = 6
MAX_NONCE_BYTES = 32
SCAN_TIME_S = range(10, 301)
_PRINTABLE = range(0x20, 0x7F)


def check(request_type: str, command: Command, findings: "Findings", given: dict[str, Any]) -> None:
    """Refuse what strict mode does not allow. The queries of DeviceInformation have no list of values.

    Args:
        request_type: its RequestType.
        command: its keys as they go to the device.
        findings: what its conversion has noticed.
        given: its fields as received, for the caller's spelling.
    Raises: MalformedField for the first problem.
    """
    for path in findings.unknown:
        raise MalformedField(path, "is not a field of this command")
    for path, values in findings.outside:
        raise MalformedField(path, f"must be one of {', '.join(map(str, values))}")
    for path in findings.missing:
        raise MalformedField(path, "is required")
    conditions = _CONDITIONS.get(request_type)
    for path, reason in conditions(command) if conditions else ():
        raise MalformedField(_as_given(path, given, command_keys(request_type)), reason)


def _as_given(path: str, given: Any, keys: Keys | None) -> str:
    """A path in the caller's spelling, as far as the caller gave these fields."""
    name, dot, rest = path.partition(".")
    lead, bracket, index = name.partition("[")
    key = keys.find(lead) if keys else None
    if key is None or not isinstance(given, dict):
        return path
    used = next((other for other in reversed(tuple(given)) if keys and keys.find(other) is key), lead)
    inner = given.get(used)
    if bracket:
        inner, key = inner[int(index[:-1])] if inner else None, key.item
    rest = _as_given(rest, inner, key.keys if key else None) if dot else ""
    return f"{used}{bracket}{index}{dot}{rest}"


def _install_application(command: Command) -> Iterator[Fault]:
    given = [name for name in ("iTunesStoreID", "Identifier", "ManifestURL") if name in command]
    if len(given) != 1:
        yield "itunes_store_id", "exactly one of itunes_store_id, identifier and manifest_url must be given"
    yield from _manifest_url(command)


def _install_enterprise_application(command: Command) -> Iterator[Fault]:
    if "Manifest" not in command and "ManifestURL" not in command:
        yield "manifest", "manifest or manifest_url must be given"
    for name, field in (
        ("ManifestURLPinningCerts", "manifest_url_pinning_certs"),
        ("PinningRevocationCheckRequired", "pinning_revocation_check_required"),
    ):
        if name in command and "ManifestURL" not in command:
            yield field, "only with manifest_url"
    yield from _manifest_url(command)


def _manifest_url(command: Command) -> Iterator[Fault]:
    if not command.get("ManifestURL", "https:").startswith("https:"):
        yield "manifest_url", "must begin with https:"


def _install_media(command: Command) -> Iterator[Fault]:
    if "iTunesStoreID" not in command and "MediaURL" not in command:
        yield "itunes_store_id", "itunes_store_id or media_url must be given"


def _delete_user(command: Command) -> Iterator[Fault]:
    if "UserName" not in command and not command.get("DeleteAllUsers"):
        yield "username", "must be given unless delete_all_users is true"


def _enable_lost_mode(command: Command) -> Iterator[Fault]:
    if "Message" not in command and "PhoneNumber" not in command:
        yield "message", "message or phone_number must be given"


def _pin(command: Command) -> Iterator[Fault]:
    if len(command.get("PIN") or "x" * PIN_CHARACTERS) != PIN_CHARACTERS:
        yield "pin", f"must have {PIN_CHARACTERS} characters"


def _device_information(command: Command) -> Iterator[Fault]:
    nonce = command.get("DeviceAttestationNonce")
    if nonce is None:
        return
    if len(nonce) > MAX_NONCE_BYTES:
        yield "device_attestation_nonce", f"must have at most {MAX_NONCE_BYTES} bytes"
    if "DevicePropertiesAttestation" not in command.get("Queries", ()):
        yield "device_attestation_nonce", "only with the query DevicePropertiesAttestation"


def _account_configuration(command: Command) -> Iterator[Fault]:
    creates = ("SkipPrimarySetupAccountCreation", "SetPrimarySetupAccountAsRegularUser")
    if any(command.get(name) for name in creates) and not command.get("AutoSetupAdminAccounts"):
        yield "auto_setup_admin_accounts", "must be given when the first account is skipped or a regular one"


def _rotate_file_vault_key(command: Command) -> Iterator[Fault]:
    unlock = command.get("FileVaultUnlock", {})
    if command.get("KeyType") == "personal":
        if "Password" not in unlock:
            yield "filevault_unlock.password", "is required for a personal key"
    elif command.get("KeyType") == "institutional":
        if "NewCertificate" not in command:
            yield "new_certificate", "is required for an institutional key"
        export = ("PrivateKeyExport", "PrivateKeyExportPassword")
        if "Password" not in unlock and not all(name in unlock for name in export):
            yield (
                "filevault_unlock",
                "must hold password, or private_key_export with private_key_export_password",
            )


def _schedule_os_update(command: Command) -> Iterator[Fault]:
    for position, update in enumerate(command.get("Updates", ())):
        path = f"updates[{position}]"
        if "ProductKey" not in update and "ProductVersion" not in update:
            yield f"{path}.product_key", "product_key or product_version must be given"
        if "MaxUserDeferrals" in update and update.get("InstallAction") != "InstallLater":
            yield f"{path}.max_user_deferrals", "only with install_action InstallLater"


def _request_mirroring(command: Command) -> Iterator[Fault]:
    if "DestinationName" not in command and "DestinationDeviceID" not in command:
        yield "destination_name", "destination_name or destination_device_id must be given"
    if command.get("ScanTime", SCAN_TIME_S.start) not in SCAN_TIME_S:
        yield "scan_time", f"must be {SCAN_TIME_S.start} to {SCAN_TIME_S.stop - 1}"


def _set_firmware_password(command: Command) -> Iterator[Fault]:
    if any(ord(letter) not in _PRINTABLE for letter in command.get("NewPassword", "")):
        yield "new_password", "must hold printable ASCII only"


_CONDITIONS: dict[str, Callable[[Command], Iterator[Fault]]] = {
    "AccountConfiguration": _account_configuration,
    "DeleteUser": _delete_user,
    "DeviceInformation": _device_information,
    "DeviceLock": _pin,
    "EnableLostMode": _enable_lost_mode,
    "EraseDevice": _pin,
    "InstallApplication": _install_application,
    "InstallEnterpriseApplication": _install_enterprise_application,
    "InstallMedia": _install_media,
    "RequestMirroring": _request_mirroring,
    "RotateFileVaultKey": _rotate_file_vault_key,
    "ScheduleOSUpdate": _schedule_os_update,
    "SetFirmwarePassword": _set_firmware_password,
}
