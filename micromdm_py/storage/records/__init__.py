"""What goes into a store and comes out of it: frozen values in the words of the domain."""

from micromdm_py.storage.records.audit import AuditEntry, AuditPage
from micromdm_py.storage.records.commands import (
    CommandFilter,
    CommandPage,
    CommandRecord,
    Enqueued,
    NewEntry,
    Once,
    Served,
    Step,
    WaitingCommand,
)
from micromdm_py.storage.records.enrollments import (
    SEARCHED,
    Answer,
    DeviceFilter,
    DevicePage,
    DeviceSearch,
    EnrollmentRecord,
    Fleet,
    folded,
)
from micromdm_py.storage.records.events import HeldEvent, ReceiverState, StoredEvent
from micromdm_py.storage.records.identities import UNBOUND, BindingRule, Identity
from micromdm_py.storage.records.pushes import DuePush, PushCertificate, PushOutcome, PushTarget

__all__ = [
    "SEARCHED",
    "UNBOUND",
    "Answer",
    "AuditEntry",
    "AuditPage",
    "BindingRule",
    "CommandFilter",
    "CommandPage",
    "CommandRecord",
    "DeviceFilter",
    "DevicePage",
    "DeviceSearch",
    "DuePush",
    "Enqueued",
    "EnrollmentRecord",
    "Fleet",
    "HeldEvent",
    "Identity",
    "NewEntry",
    "Once",
    "PushCertificate",
    "PushOutcome",
    "PushTarget",
    "ReceiverState",
    "Served",
    "Step",
    "StoredEvent",
    "WaitingCommand",
    "folded",
]
