"""What a simulated device answers to commands."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["BEHAVIOURS", "Behaviour", "Facts", "answer_to", "choose"]

Behaviour = Literal["acknowledge", "error", "notnow", "silent", "mixed"]
BEHAVIOURS: tuple[Behaviour, ...] = ("acknowledge", "error", "notnow", "silent", "mixed")

Answer = dict[str, object]


@dataclass(frozen=True, slots=True)
class Facts:
    """What a simulated device says about itself.

    Attributes:
        udid, serial_number: its ids.
        device_name, model, model_name, product_name, os_version, build_version, imei: as in Authenticate.
        queries: further answers to DeviceInformation, by query.
    """

    udid: str
    serial_number: str
    device_name: str = "Simulated Mac"
    model: str = "Mac15,12"
    model_name: str = "MacBook Air"
    product_name: str = "Mac15,12"
    os_version: str = "15.1"
    build_version: str = "24B83"
    imei: str = ""
    queries: Mapping[str, object] = field(default_factory=dict)


def choose(behaviour: Behaviour, chance: random.Random) -> Behaviour:
    """How one command is answered; `mixed` mostly acknowledges, and sometimes does one of the others."""
    if behaviour != "mixed":
        return behaviour
    return chance.choices(("acknowledge", "error", "notnow", "silent"), (80, 8, 8, 4))[0]


def answer_to(command: Mapping[str, object], facts: Facts, behaviour: Behaviour) -> Answer | None:
    """The report for a command, without the ids of the device.

    Args:
        command: the command's property list.
        facts: the device.
        behaviour: acknowledge, error, notnow or silent.
    Returns: the report; None for silent.
    """
    uuid = str(command.get("CommandUUID", ""))
    if behaviour == "silent":
        return None
    if behaviour == "notnow":
        return {"Status": "NotNow", "CommandUUID": uuid}
    if behaviour == "error":
        return {"Status": "Error", "CommandUUID": uuid, "ErrorChain": [_FAULT]}
    inner = command.get("Command")
    details = inner if isinstance(inner, Mapping) else {}
    make = _ANSWERS.get(str(details.get("RequestType", "")))
    return {"Status": "Acknowledged", "CommandUUID": uuid, **(make(details, facts) if make else {})}


_FAULT = {
    "ErrorCode": 12021,
    "ErrorDomain": "MCMDMErrorDomain",
    "LocalizedDescription": "The simulated device was told to fail.",
    "USEnglishDescription": "The simulated device was told to fail.",
}


def _device_information(details: Mapping[str, object], facts: Facts) -> Answer:
    known: dict[str, object] = {
        "UDID": facts.udid,
        "SerialNumber": facts.serial_number,
        "DeviceName": facts.device_name,
        "Model": facts.model,
        "ModelName": facts.model_name,
        "ProductName": facts.product_name,
        "OSVersion": facts.os_version,
        "BuildVersion": facts.build_version,
        "IsSupervised": True,
        "IsAppleSilicon": True,
        "DeviceCapacity": 494.38,
        "AvailableDeviceCapacity": 310.5,
        "WiFiMAC": "02:00:00:00:00:01",
        **facts.queries,
    }
    queries = details.get("Queries")
    wanted = queries if isinstance(queries, list) else list(known)
    return {"QueryResponses": {name: known[name] for name in wanted if name in known}}


def _security_info(_: Mapping[str, object], facts: Facts) -> Answer:
    return {
        "SecurityInfo": {
            "FDE_Enabled": True,
            "PasscodePresent": True,
            "SystemIntegrityProtectionEnabled": True,
            "FirewallSettings": {"FirewallEnabled": True, "BlockAllIncoming": False, "StealthMode": False},
            "ManagementStatus": {"EnrolledViaDEP": False, "UserApprovedEnrollment": True},
        }
    }


def _installed_applications(_: Mapping[str, object], facts: Facts) -> Answer:
    safari = {
        "Identifier": "com.apple.Safari",
        "Name": "Safari",
        "ShortVersion": "18.1",
        "Version": "20619.2.8",
    }
    return {"InstalledApplicationList": [safari]}


_ANSWERS: dict[str, Callable[[Mapping[str, object], Facts], Answer]] = {
    "DeviceInformation": _device_information,
    "SecurityInfo": _security_info,
    "InstalledApplicationList": _installed_applications,
    "ProfileList": lambda _, facts: {"ProfileList": []},
    "CertificateList": lambda _, facts: {"CertificateList": []},
    "ProvisioningProfileList": lambda _, facts: {"ProvisioningProfileList": []},
    "UserList": lambda _, facts: {"Users": []},
    "AvailableOSUpdates": lambda _, facts: {"AvailableOSUpdates": []},
}
