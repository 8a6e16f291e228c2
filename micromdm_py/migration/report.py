"""What an import has found and what has become of it, for people and for programs.

Nothing in a report is a secret: keys that are ones are named by their bucket only.
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

__all__ = ["BucketReport", "Report"]

SHOWN = 10
"""Lost rows of a bucket that the text lists; the JSON has them all."""


@dataclass(slots=True)
class BucketReport:
    """The rows of one bucket, each counted once.

    Attributes:
        read: how many there are.
        imported: how many are in the new store.
        derived: how many follow from other rows and are made anew.
        left: how many nobody needs; `why` says why.
        lost: key and reason of those that could not be taken over.
        secret: keys are secrets and are not shown.
    """

    read: int = 0
    imported: int = 0
    derived: int = 0
    left: int = 0
    why: str = ""
    lost: list[tuple[str, str]] = field(default_factory=list)
    secret: bool = False

    def lose(self, key: bytes | str, reason: str) -> None:
        """Count a row, or a part of one, as lost."""
        text = key if isinstance(key, str) else key.decode("utf-8", "backslashreplace")
        self.lost.append(("(secret)" if self.secret else text, reason))


@dataclass(slots=True)
class Report:
    """Everything an import has to tell.

    Attributes:
        source: the file or address that was read.
        buckets: by name, in the order in which they were read.
        warnings: what an administrator should know; nothing is lost by it.
        unknown_fields: fields of messages that this program does not know, and how often.
        enrollments, commands: how many there are of each kind, and in each state.
        done: what has been done in the end.
    """

    source: str
    buckets: dict[str, BucketReport] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    unknown_fields: Counter[str] = field(default_factory=Counter)
    enrollments: Counter[str] = field(default_factory=Counter)
    commands: Counter[str] = field(default_factory=Counter)
    done: str = "nothing was written (dry run)"

    def bucket(self, name: str, *, secret: bool = False) -> BucketReport:
        """The report of one bucket, begun at first mention."""
        return self.buckets.setdefault(name, BucketReport(secret=secret))

    @property
    def lossless(self) -> bool:
        """Whether everything was taken over."""
        return not self.unknown_fields and not any(one.lost for one in self.buckets.values())

    def as_json(self) -> str:
        """The report as one JSON document."""
        buckets = {
            name: {
                "read": one.read,
                "imported": one.imported,
                "derived": one.derived,
                "left": one.left,
                **({"why": one.why} if one.why else {}),
                "lost": [{"key": key, "reason": reason} for key, reason in one.lost],
            }
            for name, one in self.buckets.items()
        }
        document = {
            "source": self.source,
            "done": self.done,
            "lossless": self.lossless,
            "buckets": buckets,
            "enrollments": dict(self.enrollments),
            "commands": dict(self.commands),
            "unknown_fields": dict(self.unknown_fields),
            "warnings": self.warnings,
        }
        return json.dumps(document, indent=1, ensure_ascii=False)

    def as_text(self) -> str:
        """The report for a terminal."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        width = max(map(len, self.buckets), default=0)
        yield f"{'bucket':<{width}}  {'read':>8}  {'imported':>8}  {'lost':>6}"
        for name, one in self.buckets.items():
            parts = [f"{one.derived} made anew"] if one.derived else []
            parts += [f"{one.left} left out: {one.why}"] if one.left else []
            about = f"  {', '.join(parts)}" if parts else ""
            yield f"{name:<{width}}  {one.read:>8}  {one.imported:>8}  {len(one.lost):>6}{about}"
        for title, counts in (("enrollments", self.enrollments), ("commands", self.commands)):
            yield f"{title}: " + (", ".join(f"{n} {kind}" for kind, n in counts.items()) or "none")
        for name, one in self.buckets.items():
            yield from (f"lost: {name} {key}: {reason}" for key, reason in one.lost[:SHOWN])
            if len(one.lost) > SHOWN:
                yield f"lost: {name}: {len(one.lost) - SHOWN} more (see --report json)"
        for name, count in self.unknown_fields.items():
            yield f"lost: unknown field {name}, {count} times"
        yield from (f"warning: {line}" for line in self.warnings)
        yield f"{self.source}: {self.done}; " + ("nothing is lost" if self.lossless else "SOMETHING IS LOST")
