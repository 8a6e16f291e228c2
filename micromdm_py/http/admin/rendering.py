"""From values to HTML: the templates, and the headers of every page.

Jinja2 writes the pages because it escapes what it puts in: names of devices are made up by strangers.
"""

import functools
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import falcon

if TYPE_CHECKING:
    import jinja2

__all__ = ["page", "show_page"]

HEADERS = {
    # Nothing from elsewhere, no scripts, nobody frames the page, and no cache keeps it.
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; form-action 'self';"
    " frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_SPELT = {"os": "OS", "imei": "IMEI", "meid": "MEID"}
"""Words of facts that are no words."""


def show_page(resp: falcon.Response, template: str, status: int = 200, **values: object) -> None:
    """Answer with a page."""
    resp.data, resp.content_type = page(template, **values), "text/html; charset=utf-8"
    resp.status = falcon.code_to_http_status(status)
    for name, value in HEADERS.items():
        resp.set_header(name, value)


def page(template: str, **values: object) -> bytes:
    """Fill in a template."""
    return _environment().get_template(template).render(values).encode("utf-8", "replace")


@functools.cache
def _environment() -> "jinja2.Environment":
    import jinja2  # only here: a server whose pages nobody opens starts without it

    made = jinja2.Environment(
        loader=jinja2.PackageLoader("micromdm_py.http", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    made.filters["time"] = _time
    made.filters["ago"] = _ago
    made.filters["label"] = _label
    return made


def _label(name: str) -> str:
    """The name of a fact as a heading: os_version is OS version."""
    words = [_SPELT.get(word, word) for word in name.split("_")]
    return words[0][:1].upper() + " ".join(words)[1:]


def _time(at: datetime | None) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if at else "never"


def _ago(at: datetime | None, now: datetime) -> str:
    """How long ago something was, roughly."""
    if at is None:
        return "never"
    seconds = int((now - at).total_seconds())
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            count = seconds // size
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now" if seconds >= 0 else "in the future"
