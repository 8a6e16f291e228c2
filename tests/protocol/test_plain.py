"""Property-list values as JSON: what is secret, wherever it stands."""

import plistlib

import pytest

from micromdm_py.protocol.plain import as_json, holds_secrets

WIFI = {"PayloadType": "com.apple.wifi.managed", "SSID_STR": "office"}
IDENTITY = {"PayloadType": "com.apple.security.pkcs12", "PayloadContent": b"\x30\x82"}
XML, BINARY = plistlib.FMT_XML, plistlib.FMT_BINARY

SECRETS: dict[str, object] = {
    "PIN": "123456",
    "Password": "x",
    "PasswordHash": {"SALTED-SHA512-PBKDF2": {"entropy": b"x"}},
    "CurrentPassword": 12.5,
    "UnlockToken": b"x",
    "ActivationLockBypassCode": "x",
    "FDE_PersonalRecoveryKeyCMS": b"x",
    "PrivateKeyExport": b"x",
    "Passcode": ["1", "2"],
    "RedemptionCode": "x",
    "Challenge": "x",
    "BootstrapToken": b"x",
}
OPEN = {"HasPassword": True, "Token": False, "Spin": "x", "PINs": 3, "Data": b"x", "PasscodePresent": True}


def profile(payload: object, form: plistlib.PlistFormat = XML) -> bytes:
    return plistlib.dumps({"PayloadContent": [payload], "PayloadType": "Configuration"}, fmt=form)


@pytest.mark.parametrize("key", SECRETS)
def test_what_is_secret_is_masked_in_any_depth(key: str) -> None:
    secret = {key: SECRETS[key]}
    masked = as_json({"a": [{"b": {**secret, "c": "open"}}]}, secrets=False)
    assert masked == {"a": [{"b": {key: "***", "c": "open"}}]}
    assert holds_secrets(plistlib.dumps({"a": [{"b": secret}]}))


def test_what_is_not_secret_is_shown() -> None:
    assert as_json(OPEN, secrets=False) == as_json(OPEN)
    assert not holds_secrets(plistlib.dumps(OPEN))


@pytest.mark.parametrize("form", [XML, BINARY])
@pytest.mark.parametrize(
    ("payload", "secret"), [(WIFI, False), ({**WIFI, "Password": "x"}, True), (IDENTITY, True)]
)
def test_profiles_with_secrets_are_masked(
    form: plistlib.PlistFormat, payload: dict[str, object], secret: bool
) -> None:
    command = {"RequestType": "InstallProfile", "Payload": profile(payload, form)}
    shown = as_json(command, secrets=False)
    assert (shown == {**command, "Payload": "***"}) == secret == (shown != as_json(command))
    assert holds_secrets(plistlib.dumps({"Command": command})) == secret


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_profiles_in_other_encodings_are_looked_into(encoding: str) -> None:
    text = profile({**WIFI, "Password": "x"}).replace(b"UTF-8", b"UTF-16").decode()
    assert as_json({"Payload": text.encode(encoding)}, secrets=False) == {"Payload": "***"}


def test_signed_profiles_are_looked_into() -> None:
    for payload, secret in ((WIFI, False), ({**WIFI, "Password": "x"}, True)):
        signed = b"\x30\x82\x0a\x00\x04\x82\x05\x00" + profile(payload) + b"\x31\x82\x01\x00certificates"
        assert (as_json([signed], secrets=False) == ["***"]) == secret


@pytest.mark.parametrize(
    "data",
    [
        b"<?xml version='1.0'?><plist><dict><key>cut",
        plistlib.dumps({"a": profile({"b": plistlib.dumps({"c": 1})})}),
    ],
    ids=["cut", "profile in a profile in a profile"],
)
def test_what_cannot_be_looked_into_counts_as_secret(data: bytes) -> None:
    assert as_json({"Payload": data}, secrets=False) == {"Payload": "***"}


def test_a_property_list_that_cannot_be_read_counts_as_secret() -> None:
    assert holds_secrets(b"<plist><dict>")
