"""The events that one receiver still has to get: what may be sent now, and what has to be written down.

No network, no store and no clock in here; `service.outbox` brings them together. The rules:

* Events of one enrollment are sent one at a time, in order. Enrollments do not wait for each other: of all
  events that may be sent, the oldest goes first.
* The cursor passes an event that is delivered, given up, not wanted, or *held*, which means kept in the
  receiver's own list in the store. A refused event is held at once, so that its tries are not forgotten. One
  that waits for its time is held when later ones are done, any other only when it stands in the way of many,
  or of reading on.
* While nothing gets through (`backoff.Gate`), nothing is held: the cursor waits where it is.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from micromdm_py.protocol.delivery import DeliveryResult, Verdict
from micromdm_py.service.backoff import Backoff, Gate
from micromdm_py.service.lines import Line, Lines
from micromdm_py.storage.records import HeldEvent, StoredEvent

__all__ = ["Backlog", "Delivery", "Progress"]

MAX_TRIES = 10
"""After so many tries a refused event is given up; with `REFUSED` that takes eleven minutes at most."""
REFUSED = Backoff(1.25, 2.0, 900.0)
UNREACHABLE = Backoff(1.25, 1.5, 900.0)
NOBODY = Backoff(1.25, 1.5, 60.0)
"""While a receiver does not answer at all. One try a minute costs little and notices soon that it is back."""

MAX_EVENTS = 512
MAX_BYTES = 8 << 20
"""Most events, and bytes, kept in memory until they are done; one page may come on top of the bytes."""
MAX_AHEAD = 256
"""Most events done after one that is not done; a crash would repeat them."""
SLOW = timedelta(seconds=0.1)
"""A line whose event is on its way for longer gives way when the memory is full."""
_PAGE = 128


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event to send now.

    Attributes:
        sequence: its number among all events.
        enrollment_id: the enrollment whose line it is in.
        event: the event, None when it is only in the store.
    """

    sequence: int
    enrollment_id: str
    event: StoredEvent | None


@dataclass(frozen=True, slots=True)
class Progress:
    """What is to be written down, in the words of `storage.base.Outbox.settle`."""

    cursor: int
    hold: tuple[HeldEvent, ...]
    release: tuple[int, ...]
    dead: tuple[HeldEvent, ...]
    succeeded: bool
    error: str


class Backlog:
    """See the module. All methods are called from one thread."""

    def __init__(self, cursor: int, wants: Callable[[str], bool], draw: Callable[[], float]) -> None:
        """Begin after `cursor`.

        Args:
            cursor: the receiver's cursor in the store.
            wants: tells whether the receiver gets events of a topic.
            draw: gives a random number of [0, 1).
        """
        self.read_to = cursor
        self.gate = Gate(NOBODY, draw)
        self.unsettled = 0
        self._wants, self._draw = wants, draw
        self._lines = Lines()
        self._order: deque[int] = deque()  # sequences after the cursor
        self._events: dict[int, StoredEvent] = {}  # those of them that are neither done nor held
        self._bytes, self._mean_bytes = 0, MAX_BYTES // _PAGE
        self._unanswered: set[str] = set()  # lines that got no answer while no other line got one
        self._hold: dict[int, HeldEvent] = {}
        self._release: set[int] = set()
        self._dead: dict[int, HeldEvent] = {}
        self._succeeded, self._error = False, ""
        self._settled_cursor = cursor

    # -- taking in

    def restore(self, held: Iterable[HeldEvent], now: datetime) -> None:
        """Take in what was held before a restart, in order of sequence.

        No wait is longer than the longest delay, even if the clock was ahead when it was planned.
        """
        latest = now + timedelta(seconds=REFUSED.longest_s)
        for one in held:
            line = self._lines.open(one.event.enrollment_id)
            line.held.append(one.event.sequence)
            if len(line.held) == 1:
                line.tries = one.tries
                line.due_at = min(one.due_at, latest) if one.tries else None
                self._lines.queue(line)

    def room(self) -> int:
        """How many events may be added now."""
        if len(self._events) >= MAX_EVENTS or self._bytes >= MAX_BYTES:
            return 0
        return max(1, min(_PAGE, (MAX_BYTES - self._bytes) // self._mean_bytes))

    def add(self, events: Iterable[StoredEvent]) -> None:
        """Take in the next events of the outbox, in order of sequence."""
        for event in events:
            self.read_to = event.sequence
            if not self._wants(event.event_topic):
                continue
            size = len(event.body)
            self._mean_bytes = max(1, (self._mean_bytes * 7 + size) // 8)
            self._order.append(event.sequence)
            self._events[event.sequence] = event
            self._bytes += size
            line = self._lines.open(event.enrollment_id)
            line.fresh.append(event.sequence)
            if line.first == event.sequence:
                self._lines.queue(line)

    # -- sending

    def take(self, now: datetime) -> Delivery | None:
        """The next event that may be sent, None when there is none now."""
        if not self.ready(now):
            return None
        line = self._lines.least_tried() if self.gate.closed else self._lines.next_ready()
        if line is None or line.first is None:
            return None
        line.busy_since = now
        self.gate.begin()
        sequence = line.first
        pending = self._hold.get(sequence)
        event = self._events.get(sequence) or (pending.event if pending else None)
        return Delivery(sequence, line.enrollment_id, event)

    def finish(self, delivery: Delivery, event: StoredEvent, result: DeliveryResult, now: datetime) -> bool:
        """Note a result; returns whether it shows that the receiver has become reachable or unreachable."""
        line = self._lines[delivery.enrollment_id]
        line.busy_since = None
        self.unsettled += 1
        if result.verdict is Verdict.UNREACHABLE:
            return self._unreachable(line, result, now)
        changed = self.gate.answered()
        self._retry_unanswered(line)
        if result.verdict is Verdict.DELIVERED:
            self._succeeded = True
            self._drop(line)
        else:
            self._refused(line, event, result.error, now)
        return changed

    def skip(self, delivery: Delivery) -> None:
        """Leave out an event that the store no longer has."""
        line = self._lines[delivery.enrollment_id]
        line.busy_since = None
        self.gate.withdraw()
        self._drop(line)

    def ready(self, now: datetime) -> int:
        """About how many events may be sent now."""
        ready = self._lines.ready(now)
        if not self.gate.passes(now):
            return 0
        return min(1, len(self._lines)) if self.gate.closed else ready

    def next_at(self) -> datetime | None:
        """When something may be sent that may not be sent now; None when nothing waits for a time."""
        if self.gate.closed:
            return self.gate.next_try_at if len(self._lines) else None
        return self._lines.next_at()

    @property
    def empty(self) -> bool:
        """Whether nothing waits to be sent."""
        return not len(self._lines)

    # -- writing down

    @property
    def changed(self) -> bool:
        """Whether there is anything to write down."""
        pending = self._hold or self._release or self._dead or self._error
        return bool(pending) or self._cursor() != self._settled_cursor

    def progress(self, now: datetime) -> Progress:
        """What is to be written down now; it stays pending until it is passed to `written`."""
        self._hold_what_is_in_the_way(now)
        return Progress(
            self._cursor(),
            tuple(self._hold.values()),
            tuple(self._release),
            tuple(self._dead.values()),
            self._succeeded,
            self._error,
        )

    def written(self, progress: Progress) -> None:
        """Forget what has been written down."""
        for held in progress.hold:
            if self._hold.get(held.event.sequence) is held:
                del self._hold[held.event.sequence]
        for buried in progress.dead:
            self._dead.pop(buried.event.sequence, None)
        self._release.difference_update(progress.release)
        self._succeeded = self._succeeded and not progress.succeeded
        self._error = "" if self._error == progress.error else self._error
        self._settled_cursor = progress.cursor
        self.unsettled = 0

    def expire(self, before: datetime, held: Iterable[HeldEvent], now: datetime) -> int:
        """Give up events older than `before` that were tried, or wait behind such; returns how many.

        Args:
            before: end of the retention time.
            held: the oldest held events in the store, in order of sequence.
            now: current time.
        """
        buried = 0
        for one in held:
            line = self._lines.get(one.event.enrollment_id)
            if line and self._may_expire(line, one.event, before):
                buried += self._bury(line, one)
        for sequence in tuple(self._order):
            event = self._events.get(sequence)
            if event is None:
                continue
            line = self._lines[event.enrollment_id]
            if (line.due_at or self.gate.closed) and self._may_expire(line, event, before):
                buried += self._bury(line, HeldEvent(event, line.tries, now, self._error or "too old"))
        return buried

    # -- inside

    @staticmethod
    def _may_expire(line: Line, event: StoredEvent, before: datetime) -> bool:
        return line.first == event.sequence and not line.busy_since and event.created_at < before

    def _drop(self, line: Line) -> None:
        """Take the first event off a line, as done."""
        sequence = line.first
        if sequence is None:
            return
        self._unanswered.discard(line.enrollment_id)
        if line.drop_first():
            self._hold.pop(sequence, None)
            self._release.add(sequence)
        else:
            self._bytes -= len(self._events.pop(sequence).body)
        self._lines.queue(line)

    def _bury(self, line: Line, held: HeldEvent) -> int:
        due_at, closed = line.due_at, self.gate.closed
        self._drop(line)
        self._release.discard(held.event.sequence)
        self._dead[held.event.sequence] = held
        if due_at and not closed and line.first is not None and held.tries < MAX_TRIES:
            line.due_at = due_at  # the next one has no better chance now
            self._lines.queue(line)
        return 1

    def _refused(self, line: Line, event: StoredEvent, error: str, now: datetime) -> None:
        line.tries += 1
        line.failures = 0
        self._error = error
        if line.tries >= MAX_TRIES:
            self._bury(line, HeldEvent(event, line.tries, now, error))
            return
        line.due_at = now + REFUSED.delay(line.tries, self._draw)
        if not line.held:
            self._hold_first(line)
        self._hold[event.sequence] = HeldEvent(event, line.tries, line.due_at, error)
        self._lines.queue(line)

    def _unreachable(self, line: Line, result: DeliveryResult, now: datetime) -> bool:
        line.failures += 1
        self._error = result.error
        delay = (UNREACHABLE if line.alone else NOBODY).delay(line.failures, self._draw)
        line.due_at = now + max(delay, timedelta(seconds=min(result.retry_after_s, UNREACHABLE.longest_s)))
        if not line.alone:
            self._unanswered.add(line.enrollment_id)
        self._lines.queue(line)
        return self.gate.failed(line.enrollment_id, now, min(result.retry_after_s, NOBODY.longest_s))

    def _retry_unanswered(self, answered: Line) -> None:
        """Now that one line got an answer, try those without one again; from then on they are `alone`."""
        self._unanswered.discard(answered.enrollment_id)
        for enrollment_id in self._unanswered:
            line = self._lines[enrollment_id]
            line.alone = True
            if not line.busy_since:
                line.due_at = None
                self._lines.queue(line)
        self._unanswered.clear()

    def _cursor(self) -> int:
        while self._order and self._order[0] not in self._events:
            self._order.popleft()
        return self._order[0] - 1 if self._order else self.read_to

    def _hold_what_is_in_the_way(self, now: datetime) -> None:
        if self.gate.closed:
            return
        self._cursor()
        done = len(self._order) - len(self._events)
        last_done = next((s for s in reversed(self._order) if s not in self._events), 0) if done else 0
        full = not self.room()
        for sequence in self._order if done or full else ():
            event = self._events.get(sequence)
            if event is None:
                continue
            line = self._lines[event.enrollment_id]
            slow = line.due_at or (line.busy_since and now - line.busy_since > SLOW)
            if (sequence < last_done and (line.due_at or done >= MAX_AHEAD)) or (full and slow):
                self._hold_first(line)

    def _hold_first(self, line: Line) -> None:
        """Move the first event that a line has in memory to the held ones."""
        sequence = line.fresh.popleft()
        event = self._events.pop(sequence)
        self._bytes -= len(event.body)
        tries = 0 if line.held else line.tries
        self._hold[sequence] = HeldEvent(event, tries, line.due_at or event.created_at)
        line.held.append(sequence)
