"""The application as devices see it: identities issued by its own authority, signed messages, events."""

import base64
import itertools
import json
import plistlib
from dataclasses import replace
from datetime import timedelta
from functools import cache
from typing import Any, Literal

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from micromdm_py.http.app import Services
from micromdm_py.http.client_certificate import ClientCertificates
from micromdm_py.http.proxy import TrustedProxies
from micromdm_py.protocol.certificates import Certificate, load_certificate
from micromdm_py.protocol.checkin import DeclarativeManagement
from micromdm_py.protocol.cms import sign_detached
from micromdm_py.protocol.issuing import check_request, issue_certificate, make_request
from micromdm_py.service.ca import CertificateAuthority, ChallengeRule
from micromdm_py.service.checkin import CheckInService
from micromdm_py.service.connect import Connect
from micromdm_py.service.enroll import Challenges, Enroll, ProfileRule
from micromdm_py.service.identity import AcceptanceRule, Identities
from micromdm_py.service.signed_enrollment import SignedEnrollment
from micromdm_py.storage.base import Store
from micromdm_py.storage.memory.store import MemoryStore
from micromdm_py.storage.records import BindingRule
from tests.fakes.clock import Clock
from tests.http.bench import Answer, Bench
from tests.protocol.crypto_samples import certificate, random_bytes, rsa_key

CHECKIN, CONNECT = "/mdm/checkin", "/mdm/connect"
TOPIC = "com.apple.mgmt.External.11111111-2222-3333-4444-555555555555"
DAY = timedelta(days=1)


def keep_authority(store: Store) -> None:
    """Give a store the authority of the samples."""
    key = rsa_key("ca").private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    store.create_authority(certificate("ca").der, key)


def make_identity(name: str, serial: int, begin: timedelta = -DAY, end: timedelta = 365 * DAY) -> Certificate:
    """A certificate signed by the authority; the key is `rsa_key("device")`."""
    csr, _ = check_request(make_request(rsa_key("device"), name, "Lab", None))
    now = Clock().now
    return load_certificate(
        issue_certificate(csr, rsa_key("ca"), certificate("ca"), serial, now + begin, now + end)
    )


@cache
def signature(body: bytes, who: Certificate, form: Literal["der", "apple"] = "der") -> str:
    """The Mdm-Signature header of a body."""
    return base64.b64encode(sign_detached(body, rsa_key("device"), who, form=form)).decode()


class DeviceBench(Bench):
    """An application whose device side can be set up; every check-in and report makes an event by default."""

    def __init__(
        self,
        store: Store | None = None,
        *,
        binding: BindingRule | None = None,
        acceptance: AcceptanceRule | None = None,
        challenge: ChallengeRule | None = None,
        profile: ProfileRule | None = None,
        header: str = "",
        trusted: tuple[Any, ...] = (),
        device_authorities: tuple[Certificate, ...] = (),
        wants_events: bool = True,
        wants_idle: bool = True,
        **changes: Any,
    ) -> None:
        self.wants_events, self.wants_idle = wants_events, wants_idle
        self.device_authorities = device_authorities
        self.binding, self.acceptance = binding or BindingRule(), acceptance or AcceptanceRule()
        self.challenge = challenge or ChallengeRule()
        self.profile = profile or ProfileRule("https://mdm.example.com", challenge="micromdm")
        self.client_certificates = ClientCertificates(header, TrustedProxies(trusted))
        self.declarative: bytes | Exception = b""
        self.wakes = 0
        store = store or MemoryStore()
        keep_authority(store)
        super().__init__(store, **changes)
        store.receiver("https://hook.example.com")

    def _services(self, api_key: str) -> Services:
        store, now = self.store, self.clock
        names = map("event-{}".format, itertools.count(1))
        authority = CertificateAuthority(
            store, self.challenge, validity_days=365, now=now, random_bytes=random_bytes()
        )
        identities = Identities(store, lambda: authority.certificate, self.acceptance, self.binding, now)
        told: dict[str, Any] = {
            "wants_events": self.wants_events,
            "wake": self._wake,
            "now": now,
            "make_uuid": names.__next__,
        }
        challenges = Challenges(store, random_bytes=random_bytes(), now=now)
        uuids = map("uuid-{}".format, itertools.count(1)).__next__
        base = super()._services(api_key)
        keeping = base.blueprints, base.users
        enroll = Enroll(store, self.profile, challenges, uuids)
        return replace(
            base,
            checkin=CheckInService(store, identities, self._manage, *keeping, **told),
            connect=Connect(store, identities, wants_idle=self.wants_idle, **told),
            authority=authority,
            challenges=challenges,
            enroll=enroll,
            signed_enrollment=SignedEnrollment(
                enroll, self.device_authorities, lambda: authority.certificate
            ),
            client_certificates=self.client_certificates,
        )

    def _wake(self) -> None:
        self.wakes += 1

    def _manage(self, _message: DeclarativeManagement) -> bytes:
        if isinstance(self.declarative, Exception):
            raise self.declarative
        return self.declarative

    def issue(self, name: str, *, begin: timedelta = -DAY, end: timedelta = 365 * DAY) -> Certificate:
        """An identity that was issued here."""
        der = self.store.issue(
            lambda serial: make_identity(name, serial, begin, end).der, name, at=self.clock.now
        )
        return load_certificate(der)

    def put(self, path: str, message: Any, who: Certificate | None, **how: Any) -> Answer:
        """A message (a property list or bytes as they are), signed by `who`."""
        body = message if isinstance(message, bytes) else plistlib.dumps(message)
        if who is not None:
            how["mdm_signature"] = signature(body, who)
        return self.ask("PUT", path, body, **{"key": None, **how})

    def check_in(self, kind: str, who: Certificate | None, udid: str = "UDID-1", **fields: object) -> Answer:
        return self.put(CHECKIN, {"MessageType": kind, "UDID": udid, "Topic": TOPIC, **fields}, who)

    def report(
        self, who: Certificate | None, status: str = "Idle", uuid: str = "", udid: str = "UDID-1"
    ) -> Answer:
        fields = {"UDID": udid, "Status": status, "CommandUUID": uuid}
        return self.put(CONNECT, {name: value for name, value in fields.items() if value}, who)

    def enrol(self, name: str = "A", udid: str = "UDID-1") -> Certificate:
        """An enrolled device; returns its identity."""
        who = self.issue(name)
        assert self.check_in("Authenticate", who, udid, SerialNumber=f"SERIAL {udid}").status == 200
        fields = {"Token": b"\xaa" * 32, "PushMagic": "magic"}
        assert self.check_in("TokenUpdate", who, udid, **fields).status == 200
        return who

    def queue(self, uuid: str, udid: str = "UDID-1") -> bytes:
        """Queue a raw command and return its bytes."""
        body = plistlib.dumps({"CommandUUID": uuid, "Command": {"RequestType": "ProfileList"}})
        assert self.ask("POST", f"/v1/commands/{udid}", body).status == 201
        return body

    def events(self) -> list[tuple[str, Any]]:
        """All events so far as (topic, what is inside)."""
        found = []
        for one in self.store.events_after(0, 1000):
            document = json.loads(one.body)
            inside = {key for key in document if key.endswith("_event")}
            found.append((document["topic"], document[inside.pop()]))
        return found

    def topics(self) -> list[str]:
        return [topic for topic, _ in self.events()]
