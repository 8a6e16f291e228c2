"""A machine that leads two stores through the same life and compares everything they say.

One is the memory store as it is written to be read, the other the store under test. What devices answer are
real replies: they speak of the command that came. Stray, late and repeated reports come on top. There are 16
enrollments, whose ids are prefixes of each other; each life draws a crowd of some of them, because a fault
that takes several steps on one queue is seldom met when every step goes to another.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from micromdm_py.errors import MdmError
from micromdm_py.protocol.enrollment import EnrollmentRef
from micromdm_py.protocol.report import Report
from micromdm_py.storage.base import Store
from micromdm_py.storage.memory.store import MemoryStore
from micromdm_py.storage.records import (
    CommandFilter,
    CommandPage,
    CommandRecord,
    DeviceFilter,
    DuePush,
    Enqueued,
    Once,
    PushOutcome,
    Served,
)
from tests.builders import (
    NOW,
    SHARED,
    authenticate,
    check_out,
    command,
    device,
    event,
    identity,
    report,
    token_update,
    user,
    user_enrollment,
)

REFS: tuple[EnrollmentRef, ...] = (
    *(device(f"UDID-{number}") for number in (1, 2, 3, 4, 5, 10, 11)),
    device("udid-1"),
    user("UDID-1", "USER-1"),
    user("UDID-2", "USER-2"),
    user("UDID-10", "USER-2"),
    user("UDID-3", SHARED, "a@example.com"),
    user("UDID-3", SHARED, "b@example.com"),
    user("UDID-4", "UDID-5"),
    user_enrollment("ENROLLMENT-1"),
    user_enrollment("ENROLLMENT-1", "USER-3"),
)
BARE_IDS = ("USER-1", "USER-2", "USER-3", SHARED, "UDID-99")
API_IDS = (*(ref.enrollment_id for ref in REFS), *BARE_IDS)
UUIDS = ("same", "other", "new", "new", "new")
"""What to call a command; each "new" one gets a name that no other has."""

places = st.integers(0, len(REFS) - 1)  # in the crowd, counted round
uuids = st.sampled_from(UUIDS)
REPLIES = ("NotNow", "NotNow", "Acknowledged", "Acknowledged", "Error", "CommandFormatError", "Idle", "Later")
statuses = st.sampled_from(REPLIES)

RESTART, QUEUE, LATE = "restart", "queue", "late answer"
days = st.one_of(
    st.lists(st.sampled_from([*REPLIES, *REPLIES, RESTART, QUEUE, LATE, LATE]), max_size=9),
    st.lists(st.just("NotNow"), max_size=4),
    st.lists(st.sampled_from(["NotNow", "NotNow", "Acknowledged", RESTART]), max_size=6),
)
"""What happens while a device is connected: it answers what came, or something comes in between."""

outcomes = st.sampled_from(
    [
        PushOutcome(NOW, True, "id"),
        PushOutcome(NOW, True, "id", again_at=NOW),
        PushOutcome(NOW, False, "", "timeout", retry_at=NOW),
        PushOutcome(NOW, False, "id", "Unregistered", dead=True),
    ]
)

Call = Callable[[Store], object]


def said(call: Call, store: Store) -> object:
    """What a call brings: its result, or the kind of its error."""
    try:
        return call(store)
    except MdmError as fault:
        return type(fault)


def swapped(call: Callable[[Store, str], object], one: str, store: Store) -> object:
    return call(store, one)


def list_commands(api_id: str, wanted: CommandFilter, store: Store) -> CommandPage:
    return store.commands(api_id, wanted)


class QueueMachine(RuleBasedStateMachine):
    """Subclasses say which store is under test, and how it is closed and opened again."""

    def __init__(self) -> None:
        super().__init__()
        self.model: Store = MemoryStore()
        self.store = self.open()
        self.now = NOW
        self.start = self.store.receiver("r").cursor
        self.model.receiver("r")
        self.commands: list[tuple[str, str, str]] = []  # API id, command id in the model, and in the store
        self.last: Report | None = None
        self.pushes: list[tuple[DuePush, DuePush]] = []
        self.events = 0
        self.crowd: tuple[EnrollmentRef, ...] = REFS

    def open(self) -> Store:
        raise NotImplementedError

    def reopen(self, store: Store) -> Store:
        return store

    def ref(self, place: int) -> EnrollmentRef:
        return self.crowd[place % len(self.crowd)]

    def tick(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now

    def same(self, call: Call) -> object:
        expected, found = said(call, self.model), said(call, self.store)
        assert found == expected
        return expected

    def reports(self, message: Report) -> str:
        """Send a report as the service does; returns the uuid of what came."""
        self.last, at, who = message, self.tick(), identity(f"of {message.enrollment.device_id}")
        self.events += 1
        happened = event(f"{self.events}")

        def connect(store: Store) -> Served:
            if store.nothing_to_do(message, who, at=at):
                return Served()
            return store.record_report(message, who, happened, at=at)

        served = self.same(connect)
        return served.command_uuid if isinstance(served, Served) else ""

    # --- what administrators do ---

    @rule(
        place=places,
        bare=st.sampled_from(["", "", *BARE_IDS]),
        uuid=uuids,
        push=st.booleans(),
        key=st.sampled_from(["", "", "", "k1", "k2"]),
    )
    def enqueue(self, place: int, bare: str, uuid: str, push: bool, key: str) -> None:
        self.enqueues(bare or self.ref(place).enrollment_id, uuid, push, key)

    def enqueues(
        self,
        api_id: str,
        uuid: str,
        push: bool = True,
        key: str = "",
        group: str = "",
        supersede: bool = False,
        lasts: timedelta | None = None,
    ) -> None:
        uuid = f"c{len(self.commands)}" if uuid == "new" else uuid
        at, once = self.tick(), Once(key.encode() * 16, b"first") if key else None
        entry = replace(
            command(uuid),
            group=group,
            supersede=supersede,
            expires_at=at + lasts if lasts else None,
            info={"build": "7"} if group else {},
            request_id=f"request {len(self.commands)}" if group else "",
        )
        expected, queued = (
            said(lambda store: store.enqueue(api_id, entry, at=at, push=push, once=once), store)
            for store in (self.model, self.store)
        )
        if not isinstance(expected, Enqueued) or not isinstance(queued, Enqueued):
            assert queued == expected
            return
        assert replace(queued, command_id="") == replace(expected, command_id="")
        assert bool(queued.command_id) == bool(expected.command_id)
        if queued.command_id:
            self.commands.append((queued.enrollment_id, expected.command_id, queued.command_id))

    @rule(place=places, wanted=st.lists(uuids, min_size=2, max_size=6))
    def enqueue_many(self, place: int, wanted: list[str]) -> None:
        for uuid in wanted:
            self.enqueues(self.ref(place).enrollment_id, uuid)

    @rule(
        place=places,
        uuid=uuids,
        group=st.sampled_from(["", "g", "h", "ProfileList"]),
        supersede=st.booleans(),
        lasts=st.sampled_from([None, timedelta(seconds=1), timedelta(seconds=4), timedelta(hours=14)]),
    )
    def enqueue_specially(
        self, place: int, uuid: str, group: str, supersede: bool, lasts: timedelta | None
    ) -> None:
        api_id = self.ref(place).enrollment_id
        self.enqueues(api_id, uuid, group=group, supersede=supersede, lasts=lasts)

    @rule(which=st.integers(0, 20))
    def cancel(self, which: int) -> None:
        if self.commands:
            api_id, in_model, in_store = self.commands[-1 - which % len(self.commands)]
            at = self.tick()
            expected, found = self.both(
                lambda store, one: store.cancel(api_id, one, at=at, request_id="c"), (in_model, in_store)
            )
            self.agree(expected, found)

    @rule(limit=st.integers(1, 3))
    def expire(self, limit: int) -> None:
        at = self.tick()
        self.same(lambda store: store.expire_commands(at=at, limit=limit))

    @rule(
        kept=st.sampled_from([timedelta(0), timedelta(hours=1), timedelta(days=1)]), limit=st.integers(1, 9)
    )
    def forget(self, kept: timedelta, limit: int) -> None:
        before = self.tick() - kept
        self.same(lambda store: store.forget_commands(before=before, limit=limit))

    @rule(place=places, bare=st.sampled_from(["", *BARE_IDS]))
    def clear(self, place: int, bare: str) -> None:
        at = self.tick()
        self.same(lambda store: store.clear(bare or self.ref(place).enrollment_id, at=at))

    @rule(place=places, purge=st.booleans())
    def remove(self, place: int, purge: bool) -> None:
        ref = self.ref(place)
        at = self.tick()
        self.same(lambda store: store.remove_devices([ref.enrollment_id], purge=purge, at=at))

    @rule(place=places, on=st.booleans())
    def block(self, place: int, on: bool) -> None:
        ref = self.ref(place)
        at = self.tick()
        if on:
            self.same(lambda store: store.block(ref.device_id, at=at))
        else:
            self.same(lambda store: store.unblock(ref.device_id))

    @rule(later=st.sampled_from([timedelta(hours=13), timedelta(days=2)]))
    def wait(self, later: timedelta) -> None:
        self.now += later

    # --- what devices do ---

    @rule(place=places, day=days)
    def visit(self, place: int, day: list[str]) -> None:
        ref = self.ref(place)
        uuid = self.reports(report(ref, "Idle"))
        for number, step in enumerate(day):
            if step == RESTART:
                self.restart()
            elif step == QUEUE:
                self.enqueues(ref.enrollment_id, "new")
            elif step == LATE:
                self.late_answer(place, number, "Acknowledged")
            else:
                uuid = self.reports(report(ref, step, "" if step == "Idle" else uuid))

    @rule(place=places, wanted=st.lists(uuids, max_size=5), week=st.lists(days, min_size=1, max_size=3))
    def work(self, place: int, wanted: list[str], week: list[list[str]]) -> None:
        """Queue some commands and have the device come a few times."""
        self.enqueue_many(place, wanted)
        for day in week:
            self.visit(place, day)

    @rule(place=places, which=st.integers(0, 9), status=statuses)
    def late_answer(self, place: int, which: int, status: str) -> None:
        """Answer any command there ever was on this channel, in whatever state it is."""
        ref = self.ref(place)
        known = [(name, one) for name, one, _ in self.commands if name == ref.enrollment_id]
        if known:
            record = said(lambda store: store.command(*known[-1 - which % len(known)]), self.model)
            uuid = record.command_uuid if isinstance(record, CommandRecord) else "forgotten"
            self.reports(report(ref, status, uuid))

    @rule(place=places, status=statuses, uuid=st.sampled_from(["same", "other", "", "nobody's"]))
    def stray_report(self, place: int, status: str, uuid: str) -> None:
        ref = self.ref(place)
        self.reports(report(ref, status, uuid))

    @rule(times=st.integers(1, 3))
    def repeat_the_last_report(self, times: int) -> None:
        for _ in range(times):
            if self.last:
                self.reports(self.last)

    @rule(place=places, who=st.sampled_from(["", "", "", "B"]))
    def authenticate(self, place: int, who: str) -> None:
        self.authenticates(self.ref(place), who)

    def authenticates(self, ref: EnrollmentRef, who: str = "") -> None:
        if ref.kind.is_user_channel:
            return
        at, message = self.tick(), authenticate(ref)
        who = who or f"of {ref.device_id}"
        self.same(
            lambda store: store.authenticate(message, identity(who), event("a"), event("rebound"), at=at)
        )

    @rule(place=places, token=st.sampled_from([b"\x01", b"\x02"]))
    def update_token(self, place: int, token: bytes) -> None:
        ref = self.ref(place)
        at, who = self.tick(), identity(f"of {ref.device_id}")
        self.same(lambda store: store.token_update(token_update(ref, token=token), who, event("t"), at=at))

    @rule(place=places)
    def check_out(self, place: int) -> None:
        ref = self.ref(place)
        at, who = self.tick(), identity(f"of {ref.device_id}")
        self.same(lambda store: store.check_out(check_out(ref), who, event("o"), at=at))

    @initialize(
        crowd=st.lists(st.sampled_from(REFS), min_size=1, unique=True), enrolled=st.integers(0, len(REFS))
    )
    def gather(self, crowd: list[EnrollmentRef], enrolled: int) -> None:
        self.crowd = tuple(crowd)
        for place in range(min(enrolled, len(crowd))):
            self.authenticates(self.ref(place))
            self.update_token(place, b"\x01")

    # --- what the courier does ---

    @rule(limit=st.integers(1, 5))
    def begin_pushes(self, limit: int) -> None:
        at = self.tick()
        expected, found = (store.due_pushes(at=at, limit=limit) for store in (self.model, self.store))
        assert [one.target for one in found[0]] == [one.target for one in expected[0]]
        assert found[1] == expected[1]
        self.pushes += zip(expected[0], found[0], strict=True)

    @rule(which=st.integers(0, 20), outcome=outcomes)
    def end_push(self, which: int, outcome: PushOutcome) -> None:
        if self.pushes:
            expected, found = self.pushes.pop(which % len(self.pushes))
            at = self.tick()
            retry_at = at + timedelta(minutes=1) if outcome.retry_at else None
            again_at = at + timedelta(seconds=2) if outcome.again_at else None
            outcome = replace(outcome, at=at, retry_at=retry_at, again_at=again_at)
            self.model.record_push(expected, outcome)
            self.store.record_push(found, outcome)

    @rule(place=places, queued=st.integers(1, 2), meanwhile=st.integers(0, 1), outcome=outcomes)
    def push(self, place: int, queued: int, meanwhile: int, outcome: PushOutcome) -> None:
        """Queue to one enrollment, push to all, and perhaps queue again before the answers are there."""
        for _ in range(queued):
            self.enqueues(self.ref(place).enrollment_id, "new")
        self.begin_pushes(len(REFS))
        for _ in range(meanwhile):
            self.enqueues(self.ref(place).enrollment_id, "new")
        while self.pushes:
            self.end_push(0, outcome)

    # --- restart, and looking at everything ---

    @rule()
    def restart(self) -> None:
        self.store = self.reopen(self.store)

    @rule(place=places, bare=st.sampled_from(["", *BARE_IDS]))
    def look_at_one(self, place: int, bare: str) -> None:
        api_id = bare or self.ref(place).enrollment_id
        self.look_at(api_id)
        for uuid in ("same", "other", "nobody's"):
            self.look_at_newest(api_id, uuid)

    def look_at(self, api_id: str) -> None:
        self.same(lambda store: store.waiting(api_id))
        self.same(lambda store: store.push_target(api_id))

    def look_at_newest(self, api_id: str, uuid: str) -> None:
        self.same(lambda store: replace(store.command(api_id, uuid), command_id=""))
        self.same(lambda store: store.report_of(api_id, uuid))

    def look_at_history(self, api_id: str) -> None:
        """All records by pages of two, and what the pages say of each other."""
        ids: tuple[list[str], list[str]] = ([], [])
        listed: tuple[list[object], list[object]] = ([], [])
        for store, names, records in zip((self.model, self.store), ids, listed, strict=True):
            wanted: CommandFilter | None = CommandFilter(limit=2)
            while wanted:
                page = said(partial(list_commands, api_id, wanted), store)
                wanted = None
                if not isinstance(page, CommandPage):
                    records.append(page)
                    continue
                names += [one.command_id for one in page.records]
                records += [replace(one, command_id="") for one in page.records]
                if page.next:
                    wanted = CommandFilter(cursor=page.next, limit=2)
        assert listed[1] == listed[0]
        assert self.store.command_bodies(ids[1]) == self.model.command_bodies(ids[0])

    def both(self, call: Callable[[Store, str], object], ids: Sequence[str]) -> list[object]:
        """What both stores say of a command that each has its own id for."""
        pairs = zip((self.model, self.store), ids, strict=True)
        return [said(partial(swapped, call, one), store) for store, one in pairs]

    def agree(self, expected: object, found: object) -> None:
        """Both are records, alike but for their ids, or the same error."""
        if isinstance(expected, CommandRecord) and isinstance(found, CommandRecord):
            assert replace(found, command_id="") == replace(expected, command_id="")
        else:
            assert found == expected

    def look_at_record(self, api_id: str) -> None:
        self.same(lambda store: replace(store.enrollment(api_id), target_id=""))

    @rule()
    def look_at_everything(self) -> None:
        at = self.tick()
        self.same(lambda store: store.block("flushes what is kept in memory", at=at))
        for api_id in API_IDS:
            self.look_at_record(api_id)
            self.look_at(api_id)
        for api_id, *ids in self.commands:
            self.agree(*self.both(lambda store, one, api_id=api_id: store.command(api_id, one), ids))
            self.agree(*self.both(lambda store, one, api_id=api_id: store.report_of(api_id, one), ids))
        for api_id in API_IDS:
            self.look_at_history(api_id)
        self.same(lambda store: [replace(one, target_id="") for one in store.devices(DeviceFilter())])
        self.same(lambda store: store.enrolled_topics())
        base = self.start
        expected_events = self.model.events_after(0, 10**6)
        found_events = self.store.events_after(base, 10**6)
        assert [replace(one, sequence=one.sequence - base) for one in found_events] == expected_events

    def teardown(self) -> None:
        try:
            self.look_at_everything()
        finally:
            self.store.close()
