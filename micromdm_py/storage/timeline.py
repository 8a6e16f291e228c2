"""The timeline of a command: backends keep short entries, which are spelled out when they are read.

An entry is (milliseconds since the command was created, letter, detail, request id).
"""

from datetime import datetime, timedelta

from micromdm_py.storage.records import PushOutcome, Step

__all__ = [
    "ANSWERED",
    "CREATED",
    "HANDED_OUT",
    "MAX_ENTRIES",
    "PUSHED",
    "PUSH_FAILED",
    "WITHDRAWN",
    "Entry",
    "append",
    "push_entry",
    "steps",
]

Entry = tuple[int, str, str, str]

CREATED, PUSHED, PUSH_FAILED, HANDED_OUT, ANSWERED, WITHDRAWN = "s", "p", "f", "h", "a", "w"
MAX_ENTRIES = 32
"""Most entries kept, for commands that are refused every day: the first half, and the newest ones."""

_NAMES = {
    CREATED: ("accepted", "stored"),
    PUSHED: ("pushed",),
    PUSH_FAILED: ("push failed",),
    HANDED_OUT: ("connected", "handed out"),
    ANSWERED: ("answered",),
    WITHDRAWN: ("withdrawn",),
}


def append(entries: list[Entry], entry: Entry) -> None:
    """Add an entry, dropping one from the middle when there are too many."""
    if len(entries) >= MAX_ENTRIES:
        del entries[MAX_ENTRIES // 2]
    entries.append(entry)


def push_entry(entries: list[Entry], outcome: PushOutcome) -> tuple[str, str] | None:
    """Letter and detail for a push; None when it failed for the same reason as the one before."""
    if outcome.accepted:
        return PUSHED, outcome.apns_id
    last = next((entry for entry in reversed(entries) if entry[1] in (PUSHED, PUSH_FAILED)), None)
    return None if last and last[2] == outcome.reason else (PUSH_FAILED, outcome.reason)


def steps(created_at: datetime, entries: list[Entry]) -> tuple[Step, ...]:
    """Spell the entries out; the detail goes with the first step of an entry."""
    found = [Step(created_at, name) for name in _NAMES[CREATED] if not entries or entries[0][1] != CREATED]
    for after_ms, letter, detail, request_id in entries:
        at = created_at + timedelta(milliseconds=after_ms)
        first, *rest = _NAMES[letter]
        found.append(Step(at, first, detail, request_id))
        found += [Step(at, name, "", request_id) for name in rest]
    return tuple(found)
