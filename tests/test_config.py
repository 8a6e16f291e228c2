"""The settings: MicroMDM's table, the rules at start, and that no secret is shown."""

from dataclasses import FrozenInstanceError, replace
from ipaddress import ip_network
from pathlib import Path

import pytest

from micromdm_py.config import Config, settings
from micromdm_py.config_rules import validate
from micromdm_py.errors import StartupError
from micromdm_py.receivers import WebhookTarget, parse_header, parse_target, show_url, url_fault

# flag, environment name, default: what MicroMDM 1.13.1 has
MICROMDM = [
    ("-api-key", "MICROMDM_API_KEY", ""),
    ("-command-webhook-url", "MICROMDM_WEBHOOK_URL", ()),
    ("-config-path", "MICROMDM_CONFIG_PATH", Path("/var/db/micromdm")),
    ("-depsim", "MICROMDM_DEPSIM_URL", ""),
    ("-device-signature-skew", "MICROMDM_DEVICE_SIGNATURE_SKEW", 0),
    ("-disable-redirect", "MICROMDM_DISABLE_REDIRECT", False),
    ("-dm", "DM", ""),
    ("-examples", "", False),
    ("-filerepo", "MICROMDM_FILE_REPO", ""),
    ("-gen-dynamic-challenge", "MICROMDM_GEN_DYNAMIC_CHALLENGE", False),
    ("-homepage", "MICROMDM_HTTP_HOMEPAGE", True),
    ("-http-addr", "MICROMDM_HTTP_ADDR", ":https"),
    ("-http-debug", "MICROMDM_HTTP_DEBUG", False),
    ("-http-proxy-headers", "MICROMDM_HTTP_PROXY_HEADERS", False),
    ("-log-time", "", False),
    ("-no-command-history", "MICROMDM_NO_COMMAND_HISTORY", False),
    ("-print-flags", "", False),
    ("-queue", "MICROMDM_QUEUE", "builtin"),
    ("-scep-client-validity", "MICROMDM_SCEP_CLIENT_VALIDITY", 365),
    ("-server-url", "MICROMDM_SERVER_URL", ""),
    ("-tls", "MICROMDM_TLS", True),
    ("-tls-cert", "MICROMDM_TLS_CERT", ""),
    ("-tls-key", "MICROMDM_TLS_KEY", ""),
    ("-udid-cert-auth-warn-only", "MICROMDM_UDID_CERT_AUTH_WARN_ONLY", False),
    ("-use-dynamic-challenge", "MICROMDM_USE_DYNAMIC_CHALLENGE", False),
    ("-validate-scep-expiration", "MICROMDM_VALIDATE_SCEP_EXPIRATION", False),
    ("-validate-scep-issuer", "MICROMDM_VALIDATE_SCEP_ISSUER", False),
]
OWN = {
    "-account-enroll-allow-all": False,
    "-account-enroll-hook-url": "",
    "-admin": True,
    "-allow-rebind": True,
    "-audit-retention-days": 365,
    "-api-key-file": "",
    "-apns-ca-file": "",
    "-apns-url": "https://api.push.apple.com",
    "-dep-url": "https://mdmenrollment.apple.com",
    "-client-cert-header": "",
    "-command-retention-days": 90,
    "-device-ca-file": "",
    "-event-retention-days": 7,
    "-ignore-micromdm-db": False,
    "-max-body-bytes": 64 * 1024 * 1024,
    "-one-identity-per-enrollment": False,
    "-organization": "default",
    "-scep-challenge": "micromdm",
    "-store-size-gib": 64,
    "-strict-commands": False,
    "-threads": 512,
    "-tls-client-auth": False,
    "-trusted-proxies": "127.0.0.0/8,::1/128",
    "-webhook-header": (),
    "-webhook-hmac-key": "",
    "-webhook-hmac-key-file": "",
    "-webhook-retention-days": 7,
    "-workers": 0,
}


def good(tmp_path: Path) -> Config:
    return Config(server_url="https://mdm.example.com", tls=False, config_path=tmp_path)


def refusal(config: Config) -> str:
    with pytest.raises(StartupError) as caught:
        validate(config)
    assert caught.value.exit_code == 1
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(("flag", "env", "default"), MICROMDM)
def test_flag_of_micromdm_keeps_name_and_default(flag: str, env: str, default: object) -> None:
    [setting] = [setting for setting in settings() if setting.flag == flag]
    assert (setting.env, setting.default, type(setting.default)) == (env, default, type(default))


def test_there_are_no_other_flags_than_the_listed_ones() -> None:
    others = {s.flag: s.default for s in settings()}.items() - {
        (flag, default) for flag, _, default in MICROMDM
    }
    assert dict(others) == OWN
    assert all(s.env == "MICROMDM_" + s.name.upper() for s in settings() if s.flag in OWN)


def test_every_setting_says_in_one_line_what_it_is() -> None:
    assert all(s.help and "\n" not in s.help and len(s.help) <= 80 for s in settings())


def test_config_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        Config().tls = False  # type: ignore[misc]


def test_secrets_are_in_no_repr() -> None:
    config = Config(
        api_key="hidden-1",
        webhook_hmac_key="hidden-2",
        webhook_header=("Authorization: Bearer hidden-3",),
        scep_challenge="hidden-4",
        command_webhook_url=("https://user:hidden-5@hook.example.com/hidden-path?token=hidden-6",),
        dm="https://user:hidden-7@dm.example.com",
    )
    assert "hidden" not in repr(config)
    assert "hidden" not in repr(config.webhook_targets)
    assert config.secrets() == ("hidden-1", "hidden-2", "Bearer hidden-3", "hidden-4")


def test_public_challenge_is_no_secret() -> None:
    assert Config().secrets() == ()


def test_good_settings_pass(tmp_path: Path) -> None:
    validate(good(tmp_path))
    validate(
        replace(
            good(tmp_path), queue="inmem", scep_client_validity=0, server_url="https://h.example.com:8443/x"
        )
    )
    (tmp_path / "pem").write_text("x")
    validate(replace(good(tmp_path), tls=True, tls_cert=str(tmp_path / "pem"), tls_key=str(tmp_path / "pem")))


REFUSED: list[tuple[dict[str, object], str]] = [
    ({"server_url": ""}, "must supply -server-url"),
    ({"server_url": "http://mdm.example.com"}, "-server-url must begin with https://"),
    ({"server_url": "HTTPS://mdm.example.com"}, "-server-url must begin with https://"),
    ({"server_url": "https://"}, 'parsing serverURL "https://": no host in URL'),
    ({"server_url": "https://a b"}, 'parsing serverURL "https://a b": invalid character in URL'),
    ({"server_url": "https://u:pw@h"}, 'parsing serverURL "https://h": user name in URL'),
    ({"server_url": "https://h?x"}, 'parsing serverURL "https://h": query or fragment in URL'),
    ({"tls_cert": "x"}, "cannot set -tls=false and supply -tls-cert or -tls-key"),
    ({"tls_key": "x"}, "cannot set -tls=false and supply -tls-cert or -tls-key"),
    ({"tls_client_auth": True}, "-tls-client-auth needs TLS; behind a proxy use -client-cert-header"),
    (
        {"tls": True},
        "no TLS certificate: supply -tls-cert and -tls-key, or -tls=false behind a proxy with one",
    ),
    (
        {"account_enroll_allow_all": True, "account_enroll_hook_url": "https://hook.example.com"},
        "-account-enroll-allow-all and -account-enroll-hook-url cannot be used together",
    ),
    ({"tls": True, "tls_cert": "x"}, "-tls-cert needs -tls-key, the private key of the certificate"),
    ({"tls": True, "tls_key": "x"}, "-tls-key needs -tls-cert, the certificate of the key"),
    (
        {"tls": True, "tls_cert": "/nowhere/c", "tls_key": "/nowhere/k"},
        "setting up enrollment service: open /nowhere/c: no such file or directory",
    ),
    ({"queue": "nope"}, "invalid command queue type: nope"),
    ({"queue": ""}, "empty command queue type"),
    ({"filerepo": "/nowhere/r"}, "stat /nowhere/r: no such file or directory"),
    ({"filerepo": "/dev/null"}, "-filerepo: /dev/null is not a folder"),
    ({"dm": "::bad"}, 'setting up declarative management: parse "::bad": missing protocol scheme'),
    (
        {"dm": "ftp://x"},
        'setting up declarative management: parse "ftp://x": unsupported protocol scheme "ftp"',
    ),
    ({"depsim": "nope"}, 'setting up -depsim: parse "nope": missing protocol scheme'),
    ({"apns_url": ""}, "-apns-url must not be empty"),
    ({"dep_url": ""}, "-dep-url must not be empty"),
    ({"dep_url": "x"}, 'setting up -dep-url: parse "x": missing protocol scheme'),
    ({"apns_url": "x"}, 'setting up -apns-url: parse "x": missing protocol scheme'),
    ({"apns_ca_file": "/nowhere/a"}, "setting up -apns-ca-file: open /nowhere/a: no such file or directory"),
    ({"command_webhook_url": ("nope",)}, '-command-webhook-url: parse "nope": missing protocol scheme'),
    ({"webhook_header": ("nope",)}, '-webhook-header: must have the form "Name: value"'),
    ({"scep_client_validity": -1}, "-scep-client-validity must be from 0 to 36500 days, not -1"),
    ({"device_signature_skew": -1}, "-device-signature-skew must be from 0 to 2147483647 seconds, not -1"),
    ({"max_body_bytes": 0}, "-max-body-bytes must be from 1 to 1099511627776 bytes, not 0"),
    ({"workers": 5000}, "-workers must be from 0 to 1024, not 5000"),
    ({"scep_challenge": ""}, "-scep-challenge must not be empty"),
    ({"organization": "a/b"}, "-organization must be three or more letters, digits or dashes"),
    ({"client_cert_header": "a b"}, "-client-cert-header must be a header name"),
    ({"http_addr": ""}, "-http-addr must not be empty"),
    (
        {"trusted_proxies": "10.0.0.0/33"},
        "-trusted-proxies: '10.0.0.0/33' does not appear to be an IPv4 or IPv6 network",
    ),
]


@pytest.mark.parametrize(("change", "line"), REFUSED)
def test_broken_rule_is_one_line(tmp_path: Path, change: dict[str, object], line: str) -> None:
    assert refusal(replace(good(tmp_path), **change)) == line  # type: ignore[arg-type]


def test_database_of_micromdm_must_be_imported_first(tmp_path: Path) -> None:
    (tmp_path / "micromdm.db").touch()
    assert "import-micromdm" in refusal(good(tmp_path))
    validate(replace(good(tmp_path), ignore_micromdm_db=True))
    (tmp_path / "micromdm.lmdb").mkdir()
    validate(good(tmp_path))


def test_webhook_fragment_filters_topics() -> None:
    target = parse_target("https://r.example.com/hook?x=1#topics=mdm.Connect,mdm.CheckOut")
    assert target == WebhookTarget(
        "https://r.example.com/hook?x=1", frozenset({"mdm.Connect", "mdm.CheckOut"})
    )
    assert parse_target("http://r.example.com") == WebhookTarget("http://r.example.com", frozenset())
    assert target.label == "https://r.example.com/hook"


@pytest.mark.parametrize("fragment", ["x", "topics=", "topics=,", "topic=mdm.Connect"])
def test_webhook_fragment_that_is_no_filter_is_refused(fragment: str) -> None:
    with pytest.raises(StartupError, match="has a fragment that is not #topics"):
        parse_target(f"https://r.example.com/#{fragment}")


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("https://h", ""),
        ("http://[::1]:8080/p?q", ""),
        ("https://h:99999", "port out of range 0-65535"),
        ("https://h:0", "invalid port"),
        ("https://[::1", "invalid ipv6 url"),
        ("https:///x", "no host in URL"),
        ("//h", "missing protocol scheme"),
        ("https://h/\n", "invalid character in URL"),
    ],
)
def test_url_faults_are_named(url: str, fault: str) -> None:
    assert url_fault(url) == fault


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:pw@h.example.com/p?token=t#f", "https://h.example.com/p"),
        ("https://a@b@h/p", "https://h/p"),
        ("https://h?x@y", "https://h"),
        ("user:pw@h", "h"),
        ("::bad", "::bad"),
        ("https://h/\x1b[31m", "https://h/?[31m"),
    ],
)
def test_shown_url_holds_nothing_secret(url: str, shown: str) -> None:
    assert show_url(url) == shown


def test_webhook_header_is_name_and_value() -> None:
    assert parse_header("Authorization:  Bearer a:b ") == ("Authorization", "Bearer a:b")
    assert Config(webhook_header=("X-A: 1", "X-B:2")).webhook_headers == (("X-A", "1"), ("X-B", "2"))


@pytest.mark.parametrize(
    "line", ["", "X", ": v", "X Y: v", "Host: v", "content-length: 1", "X: pass\r\nY: z", "X: ä"]
)
def test_webhook_header_that_could_break_a_request_is_refused(line: str) -> None:
    with pytest.raises(StartupError) as caught:
        parse_header(line)
    assert "pass" not in str(caught.value)


def test_trusted_proxies_are_networks() -> None:
    assert Config().trusted_networks == (ip_network("127.0.0.0/8"), ip_network("::1/128"))
    assert Config(trusted_proxies="10.1.2.3, fd00::/8").trusted_networks == (
        ip_network("10.1.2.3/32"),
        ip_network("fd00::/8"),
    )
    assert Config(trusted_proxies="").trusted_networks == ()
