"""The profiles that the server hands out for enrollment.

Source: Apple, "Deploying MDM enrollment profiles"; texts, identifiers and keys are MicroMDM's.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from micromdm_py.protocol.account import AccountEnrollment
from micromdm_py.protocol.plist import dumps_indented

__all__ = [
    "ENROLLMENT",
    "OTA",
    "OTA_PHASE2",
    "EnrollmentProfile",
    "enrollment_profile",
    "ota_phase2_profile",
    "ota_profile",
]

IDENTIFIER = "com.github.micromdm.micromdm"
ENROLLMENT, OTA, OTA_PHASE2 = (f"{IDENTIFIER}.{part}" for part in ("enroll", "ota", "ota.phase2"))
"""PayloadIdentifiers; a stored profile with one of them is handed out instead of ours."""
ORGANIZATION = "MicroMDM"
ALL_RIGHTS = 8191


@dataclass(frozen=True, slots=True)
class EnrollmentProfile:
    """The variable contents of an enrollment profile.

    Attributes:
        server_url: https URL of the server without trailing slash.
        topic: push topic, "" while there is no push certificate.
        challenge: SCEP challenge, None to leave the key out.
        tls_certificate: contents of the file given as `-tls-cert`, None without one.
        mode: `EnrollmentMode` of account-driven enrollment, "" for other kinds.
        account: Managed Apple Account for that mode.
    """

    server_url: str
    topic: str
    challenge: str | None = field(repr=False)
    tls_certificate: bytes | None = field(default=None, repr=False)
    mode: str = ""
    account: str = ""


def enrollment_profile(what: EnrollmentProfile, make_uuid: Callable[[], str]) -> bytes:
    """The enrollment profile as an XML property list; `make_uuid` returns a new UUID in upper case."""
    identity = make_uuid()
    payloads = [_scep(what, identity), _mdm(what, identity, make_uuid())]
    if what.tls_certificate is not None:
        payloads.append(_tls(what.tls_certificate, make_uuid()))
    return dumps_indented(
        {
            "PayloadContent": payloads,
            "PayloadDescription": "The server may alter your settings",
            "PayloadDisplayName": "Enrollment Profile",
            "PayloadIdentifier": f"{IDENTIFIER}.enroll",
            "PayloadOrganization": ORGANIZATION,
            "PayloadType": "Configuration",
            "PayloadUUID": make_uuid(),
            "PayloadVersion": 1,
        }
    )


def ota_profile(server_url: str, make_uuid: Callable[[], str]) -> bytes:
    """The Profile Service payload that begins an over-the-air enrollment."""
    return dumps_indented(
        {
            "PayloadContent": {
                "URL": f"{server_url}/ota/phase23",
                "DeviceAttributes": ["UDID", "VERSION", "PRODUCT", "SERIAL", "MEID", "IMEI"],
            },
            "PayloadDescription": "Profile Service enrollment",
            "PayloadDisplayName": "MicroMDM Profile Service",
            "PayloadIdentifier": f"{IDENTIFIER}.ota",
            "PayloadOrganization": ORGANIZATION,
            "PayloadType": "Profile Service",
            "PayloadUUID": make_uuid(),
            "PayloadVersion": 1,
        }
    )


def ota_phase2_profile(server_url: str, challenge: str | None, make_uuid: Callable[[], str]) -> bytes:
    """The profile for phase 2 of an over-the-air enrollment, with which the device gets an identity."""
    what = EnrollmentProfile(server_url, "", challenge)
    return dumps_indented(
        {
            "PayloadContent": [_scep(what, make_uuid(), OTA_PHASE2, "OTA Phase 2 Certificate")],
            "PayloadDescription": "The server may alter your settings",
            "PayloadDisplayName": "OTA Phase 2",
            "PayloadIdentifier": OTA_PHASE2,
            "PayloadOrganization": ORGANIZATION,
            "PayloadScope": "System",
            "PayloadType": "Configuration",
            "PayloadUUID": make_uuid(),
            "PayloadVersion": 1,
        }
    )


def _scep(
    what: EnrollmentProfile,
    identity: str,
    inside: str = ENROLLMENT,
    name: str = "Device Management Identity Certificate",
) -> dict[str, object]:
    content: dict[str, object] = {
        "URL": f"{what.server_url}/scep",
        "Keysize": 2048,
        "Key Type": "RSA",
        "Key Usage": 5,
        "Name": name,
        "Subject": [[["O", ORGANIZATION]], [["CN", "MicroMDM Identity (%ComputerName%)"]]],
    }
    if what.challenge is not None:
        content["Challenge"] = what.challenge
    return {
        "PayloadContent": content,
        "PayloadDescription": "Configures SCEP",
        "PayloadDisplayName": "SCEP",
        "PayloadIdentifier": f"{inside}.scep",
        "PayloadOrganization": ORGANIZATION,
        "PayloadType": "com.apple.security.scep",
        "PayloadUUID": identity,
        "PayloadVersion": 1,
    }


def _mdm(what: EnrollmentProfile, identity: str, uuid: str) -> dict[str, object]:
    account = {"AssignedManagedAppleID": what.account, "EnrollmentMode": what.mode} if what.mode else {}
    # The rights of a User Enrollment are fixed; a device refuses a profile that states any.
    rights = {} if what.mode == AccountEnrollment.BYOD.mode else {"AccessRights": ALL_RIGHTS}
    return {
        **rights,
        **account,
        "CheckInURL": f"{what.server_url}/mdm/checkin",
        "CheckOutWhenRemoved": True,
        "IdentityCertificateUUID": identity,
        "PayloadDescription": "Enrolls with the MDM server",
        "PayloadIdentifier": f"{IDENTIFIER}.enroll.mdm",
        "PayloadOrganization": ORGANIZATION,
        "PayloadType": "com.apple.mdm",
        "PayloadUUID": uuid,
        "PayloadVersion": 1,
        "ServerCapabilities": ["com.apple.mdm.per-user-connections", "com.apple.mdm.bootstraptoken"],
        "ServerURL": f"{what.server_url}/mdm/connect",
        "SignMessage": True,
        "Topic": what.topic,
    }


def _tls(certificate: bytes, uuid: str) -> dict[str, object]:
    return {
        "PayloadContent": certificate,
        "PayloadDescription": "Installs the TLS certificate for MicroMDM",
        "PayloadDisplayName": "Self-signed TLS certificate for MicroMDM",
        "PayloadIdentifier": f"{IDENTIFIER}.enroll.cert.selfsigned",
        "PayloadType": "com.apple.security.pkcs1",
        "PayloadUUID": uuid,
        "PayloadVersion": 1,
    }
