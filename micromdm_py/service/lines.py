"""Events waiting in lines, one line for each enrollment, and which line may move next."""

import heapq
from collections import deque
from datetime import datetime

__all__ = ["Line", "Lines"]


class Line:
    """The sequences of one enrollment's events: first those held in the store, then those in memory.

    Attributes:
        held, fresh: these two parts.
        busy_since: since when its first event is being sent, None if it is not.
        tries: how often the first event was refused.
        failures: tries since the last one that got an answer.
        alone: whether the receiver answered others while this line got no answer.
        due_at: when the first event may be sent, None for now.
    """

    __slots__ = ("alone", "busy_since", "due_at", "enrollment_id", "failures", "fresh", "held", "tries")

    def __init__(self, enrollment_id: str) -> None:
        """Begin empty."""
        self.enrollment_id = enrollment_id
        self.held: deque[int] = deque()
        self.fresh: deque[int] = deque()
        self.busy_since: datetime | None = None
        self.tries = self.failures = 0
        self.alone = False
        self.due_at: datetime | None = None

    @property
    def first(self) -> int | None:
        """Sequence number of the first event, None when the line is empty."""
        return self.held[0] if self.held else self.fresh[0] if self.fresh else None

    def drop_first(self) -> bool:
        """Take the first event off; returns whether it was a held one."""
        self.tries = self.failures = 0
        self.alone, self.due_at = False, None
        if self.held:
            self.held.popleft()
            return True
        self.fresh.popleft()
        return False


class Lines:
    """All lines that are not empty.

    The two heaps may have outdated entries, of lines that have moved on; these are passed over.
    """

    def __init__(self) -> None:
        """Begin without any."""
        self._lines: dict[str, Line] = {}
        self._ready: list[tuple[int, str]] = []  # (first sequence, enrollment)
        self._later: list[tuple[datetime, int, str]] = []  # (due, first sequence, enrollment)

    def __len__(self) -> int:
        """How many lines there are."""
        return len(self._lines)

    def __getitem__(self, enrollment_id: str) -> Line:
        """The line of an enrollment that has one."""
        return self._lines[enrollment_id]

    def get(self, enrollment_id: str) -> Line | None:
        """The line of an enrollment, None when it has none."""
        return self._lines.get(enrollment_id)

    def open(self, enrollment_id: str) -> Line:
        """The line of an enrollment, made when it has none."""
        line = self._lines.get(enrollment_id)
        if line is None:
            line = self._lines[enrollment_id] = Line(enrollment_id)
        return line

    def queue(self, line: Line) -> None:
        """Put a line among the ready or the waiting ones; forget it when it is empty."""
        if line.first is None:
            del self._lines[line.enrollment_id]
        elif line.due_at is None:
            heapq.heappush(self._ready, (line.first, line.enrollment_id))
        else:
            heapq.heappush(self._later, (line.due_at, line.first, line.enrollment_id))

    def ready(self, now: datetime) -> int:
        """About how many lines may move now."""
        while (line := self._first_waiting()) and line.due_at and line.due_at <= now:
            heapq.heappop(self._later)
            line.due_at = None
            self.queue(line)
        return len(self._ready)

    def next_ready(self) -> Line | None:
        """Take out the ready line with the oldest event."""
        while self._ready:
            sequence, enrollment_id = heapq.heappop(self._ready)
            line = self._lines.get(enrollment_id)
            if line and line.first == sequence and line.due_at is None and not line.busy_since:
                return line
        return None

    def least_tried(self) -> Line | None:
        """Take out the line with the fewest failures, due or not, but none that waits after a refusal."""
        free = (line for line in self._lines.values() if not line.busy_since)
        able = (line for line in free if line.due_at is None or line.failures)
        line = min(able, key=lambda line: (line.failures, line.first), default=None)
        if line:
            line.due_at = None
        return line

    def next_at(self) -> datetime | None:
        """When the next waiting line is due."""
        line = self._first_waiting()
        return line.due_at if line else None

    def _first_waiting(self) -> Line | None:
        while self._later:
            due_at, sequence, enrollment_id = self._later[0]
            line = self._lines.get(enrollment_id)
            if line and line.first == sequence and line.due_at == due_at and not line.busy_since:
                return line
            heapq.heappop(self._later)
        return None
