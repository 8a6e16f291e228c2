"""The settings for webhook receivers (URL, topics, headers), and how any URL in the settings is checked."""

import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from micromdm_py.errors import StartupError

__all__ = ["WebhookTarget", "parse_header", "parse_target", "show_url", "url_fault"]

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_OWN_HEADERS = frozenset(
    "connection content-length content-type host transfer-encoding x-hmac-signature".split()
)
_TOPICS = "topics="


@dataclass(frozen=True, slots=True)
class WebhookTarget:
    """A webhook receiver.

    Attributes:
        url: where events are posted, without fragment; may hold a secret, so log ``label`` instead.
        topics: event topics to send, such as ``mdm.Connect``; `protocol.webhook.wants` reads them.
    """

    url: str = field(repr=False)
    topics: frozenset[str] = frozenset()

    @property
    def label(self) -> str:
        """The URL without the parts that may be secret."""
        return show_url(self.url)


def url_fault(url: str) -> str:
    """What is wrong with an http(s) URL, "" if nothing is."""
    if not url.isprintable() or " " in url:
        return "invalid character in URL"
    try:
        parts = urlsplit(url)
        port_is_zero = parts.port == 0
    except ValueError as error:
        return str(error).lower()
    if not parts.scheme:
        return "missing protocol scheme"
    if parts.scheme not in ("http", "https"):
        return f'unsupported protocol scheme "{parts.scheme}"'
    if not parts.hostname:
        return "no host in URL"
    return "invalid port" if port_is_zero else ""


def show_url(url: str) -> str:
    """A URL as logs may show it: no user, password, query or fragment; "?" for what is not printable."""
    head, slashes, rest = url.partition("://")
    if not slashes:
        head, rest = "", url
    host, slash, path = re.split(r"[?#]", rest, maxsplit=1)[0].partition("/")
    shown = head + slashes + host.rpartition("@")[2] + slash + path
    return "".join(letter if letter.isprintable() else "?" for letter in shown)


def parse_target(text: str) -> WebhookTarget:
    """Read one value of ``-command-webhook-url``.

    Args:
        text: http(s) URL; a fragment such as ``#topics=mdm.Connect,mdm.CheckOut`` limits what is sent.
    Raises: StartupError.
    """
    url, _, fragment = text.partition("#")
    if reason := url_fault(url):
        raise StartupError(f'-command-webhook-url: parse "{show_url(url)}": {reason}')
    if not fragment:
        return WebhookTarget(url)
    topics = frozenset(word for word in fragment.removeprefix(_TOPICS).split(",") if word)
    if not fragment.startswith(_TOPICS) or not topics:
        raise StartupError(
            f'-command-webhook-url: "{show_url(url)}" has a fragment that is not #topics=TOPIC,TOPIC'
        )
    return WebhookTarget(url, topics)


def parse_header(text: str) -> tuple[str, str]:
    """Read one value of ``-webhook-header``.

    Args:
        text: ``Name: value``; the value is printable ASCII.
    Returns: name and value.
    Raises: StartupError; its text never shows the value, which may be a secret.
    """
    name, colon, value = text.partition(":")
    value = value.strip(" \t")
    if not colon or not _HEADER_NAME.fullmatch(name):
        raise StartupError('-webhook-header: must have the form "Name: value"')
    if name.lower() in _OWN_HEADERS:
        raise StartupError(f"-webhook-header: {name} is set by the server")
    if not value.isascii() or not value.isprintable():
        raise StartupError(f"-webhook-header: the value of {name} must be printable ASCII")
    return name, value
