"""The whole application on a memory store, asked as our server asks it: path in bytes, body as a stream."""

import base64
import io
import itertools
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from io import FileIO
from pathlib import Path
from tempfile import mkstemp
from typing import Any
from urllib.parse import unquote_to_bytes

import falcon.testing

from micromdm_py.errors import UpstreamFailed
from micromdm_py.http.app import AppRule, Services, create_app
from micromdm_py.http.client_certificate import ClientCertificates
from micromdm_py.http.dep import Dep
from micromdm_py.http.nano import NanoServices
from micromdm_py.http.permissions import KNOWN
from micromdm_py.http.proxy import ProxyHeaders, TrustedProxies
from micromdm_py.http.request import RequestLog
from micromdm_py.protocol.checkin import DeclarativeManagement
from micromdm_py.receivers import show_url
from micromdm_py.service.apps import Apps
from micromdm_py.service.blueprints import Blueprints
from micromdm_py.service.bulk import Bulk
from micromdm_py.service.ca import CertificateAuthority, ChallengeRule
from micromdm_py.service.checkin import CheckInService
from micromdm_py.service.command_records import CommandRecords
from micromdm_py.service.commands import Commands
from micromdm_py.service.connect import Connect
from micromdm_py.service.dep.accounts import Accounts
from micromdm_py.service.dep.proxy import DepProxy
from micromdm_py.service.dep.roster import Roster
from micromdm_py.service.dep.rules import DepRules
from micromdm_py.service.dep.tokens import DepTokens
from micromdm_py.service.devices import Devices
from micromdm_py.service.enroll import Challenges, Enroll, ProfileRule
from micromdm_py.service.feed import Feed
from micromdm_py.service.identity import AcceptanceRule, Identities
from micromdm_py.service.inventory import Inventory
from micromdm_py.service.nano import Nano
from micromdm_py.service.nano_certificate import EscrowUnlock, NanoCertificate
from micromdm_py.service.nano_migration import NanoMigration
from micromdm_py.service.organizations import OrganizationCommands
from micromdm_py.service.profiles import Profiles
from micromdm_py.service.push_certificate import PushCertificates
from micromdm_py.service.sessions import Sessions
from micromdm_py.service.signed_enrollment import SignedEnrollment
from micromdm_py.service.tokens import Tokens
from micromdm_py.service.users import Users
from micromdm_py.service.views import Views
from micromdm_py.service.waiting import LongPolls
from micromdm_py.service.webhooks import Webhooks
from micromdm_py.service.why import Why
from micromdm_py.simulator.depsim import DepService
from micromdm_py.storage.base import Store
from micromdm_py.storage.files import Files, StoredFile
from micromdm_py.storage.memory.store import MemoryStore
from micromdm_py.storage.records import BindingRule
from tests.fakes.clock import Clock
from tests.fakes.dep import URL as DEP_URL
from tests.fakes.dep import client_of
from tests.protocol.crypto_samples import rsa_key

API_KEY = "sec:ret"
BUILD = {name: "1" for name in "version branch revision go_version build_date build_user".split()}
RULE = AppRule(API_KEY, 1 << 16, tls=False, homepage=True, one_time_challenges=True, build=BUILD)
JSON = "application/json; charset=utf-8"


def basic(user: str = "micromdm", password: str = API_KEY, scheme: str = "Basic") -> str:
    """The value of an Authorization header."""
    return f"{scheme} {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """The text of an error in the API's form."""
        assert self.headers["content-type"] == JSON
        document = self.json()
        assert list(document) == ["error"]
        return str(document["error"])


class Push:
    """Stands for pushes on request."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int | None]] = []
        self.answer: str | Exception = "id-1"

    def __call__(self, api_id: str, expiration: int | None) -> str:
        self.asked.append((api_id, expiration))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def no_declarative(_message: DeclarativeManagement) -> bytes:
    raise UpstreamFailed("there is none")


class Bench:
    """An application, what it writes to its log, and how to ask it."""

    def __init__(
        self,
        store: Store | None = None,
        rule: AppRule = RULE,
        depsim: str = "",
        files: Files | None = None,
        **changes: object,
    ) -> None:
        self._files = files
        self.store = store or MemoryStore()
        self.clock, self.push, self.lines = Clock(), Push(), list[str]()
        self.unlocked: list[tuple[str, dict[str, str], dict[str, str]]] = []
        self.woken = list[None]()
        self.apple = DepService(("S1", "S2"), now=self.clock)
        self._accounts = Accounts(self.store, DEP_URL, depsim)
        self.pause: Callable[[float], object] = self.clock.move
        self.wait = LongPolls(
            2, pause=lambda seconds: self.pause(seconds), clock=lambda: self.clock().timestamp()
        )
        self._names = map("request-{}".format, itertools.count(1))
        log = RequestLog(self._names.__next__, self.lines.append)
        rule = replace(rule, **changes)  # type: ignore[arg-type]  # fields
        self._app = create_app(self._services(rule.api_key), rule, log)
        router: Any = self._app._router  # of http/routes.py, which falcon has no public way to
        self.routes: Mapping[str, object] = router.resources

    def _services(self, api_key: str) -> Services:
        store, now = self.store, self.clock
        numbers = itertools.count(1)

        def make_secret(size: int) -> str:
            return f"{next(numbers):0{size}}"

        tokens = Tokens(store, known=KNOWN, now=now, make_secret=make_secret)
        make_uuid = map("uuid-{}".format, itertools.count(1)).__next__
        authority = CertificateAuthority(
            store, ChallengeRule(), validity_days=365, now=now, random_bytes=bytes
        )
        identities = Identities(store, lambda: authority.certificate, AcceptanceRule(), BindingRule(), now)
        challenges = Challenges(store, random_bytes=bytes, now=now)
        told: Mapping[str, Any] = {
            "wants_events": False,
            "wake": _nothing,
            "now": now,
            "make_uuid": make_uuid,
        }
        certificates = PushCertificates(store, store, wake=_nothing, now=now)
        users = Users(store, make_uuid=make_uuid, hash_password=lambda text: f"hash of {text}".encode())
        nano = NanoServices(
            Nano(store, self.push, now=now, wake=_nothing),
            NanoCertificate(store, certificates),
            EscrowUnlock(store, self.unlock, slots=1),
            NanoMigration(store, users, wake=_nothing, now=now),
        )
        enroll = Enroll(store, ProfileRule("https://mdm.example.com"), challenges, make_uuid)
        blueprints = Blueprints(store, wake=_nothing, now=now, make_uuid=make_uuid)
        records = CommandRecords(store, self.wait, now=now)
        return Services(
            checkin=CheckInService(store, identities, no_declarative, blueprints, users, **told),
            profiles=Profiles(store, authority.sign),
            blueprints=blueprints,
            users=users,
            apps=Apps(self._files, "https://mdm.example.com"),
            connect=Connect(store, identities, wants_idle=False, **told),
            enroll=enroll,
            signed_enrollment=SignedEnrollment(enroll, (), lambda: authority.certificate),
            authority=authority,
            challenges=challenges,
            commands=Commands(store, strict=False, wake=_nothing, now=now, make_uuid=make_uuid),
            records=records,
            bulk=Bulk(store, strict=False, wake=_nothing, now=now, make_uuid=make_uuid),
            organization_commands=OrganizationCommands(
                store,
                records,
                slug="default",
                strict=False,
                wake=_nothing,
                now=now,
                make_uuid=make_uuid,
            ),
            devices=Devices(store, Roster(store), now),
            inventory=Inventory(store, Roster(store)),
            why=Why(store, now),
            push=self.push,
            push_certificates=certificates,
            nano=nano,
            dep=self._dep(),
            tokens=tokens,
            views=Views(store, now=now, show_url=show_url),
            sessions=Sessions(store, tokens, api_key, now=now, make_secret=make_secret),
            audit_log=store,
            quarantine=store,
            feed=Feed(store, self.wait),
            webhooks=Webhooks(store, wake=_nothing, now=now, make_uuid=make_uuid, show_url=show_url),
            now=now,
            client_certificates=ClientCertificates("", TrustedProxies(())),
            proxy_headers=ProxyHeaders(TrustedProxies(()), enabled=False),
            files=self._files,
            backup=self._backup,
        )

    def _backup(self) -> StoredFile:
        handle, name = mkstemp()
        Path(name).unlink()
        os.write(handle, b"the store")
        file = FileIO(handle, "r+")
        file.seek(0)
        return StoredFile(file, 9, 0)

    def _dep(self) -> Dep:
        store, now, roster = self.store, self.clock, Roster(self.store)
        told: Mapping[str, Any] = {"wake": lambda: self.woken.append(None), "now": now}
        return Dep(
            DepTokens(store, make_key=lambda: rsa_key("device"), **told),
            DepProxy(self._accounts, roster, client_of(self.apple, now), 2, now=now),
            DepRules(store, self._accounts, roster, **told),
        )

    def unlock(self, certificate: Any, query: Any, form: Any) -> tuple[int, str, bytes]:
        """Stands for Apple's unlock service."""
        self.unlocked.append((certificate.topic, dict(query), dict(form)))
        return 200, "text/plain", b"unlocked"

    def router_roots(self) -> list[Any]:
        """The tree of routes, as the router keeps it."""
        roots: list[Any] = self._app._router._roots
        return roots

    def ask(
        self,
        method: str,
        target: str,
        body: bytes = b"",
        *,
        key: str | None = basic(),
        chunked: bool = False,
        source: object = None,
        **headers: str,
    ) -> Answer:
        """Send a request; `key` is the Authorization header, `source` what to read the body from."""
        path, _, query = target.partition("?")
        environ = falcon.testing.create_environ(method=method, remote_addr="127.0.0.1")
        environ["PATH_INFO"] = unquote_to_bytes(path).decode("latin-1")
        environ["QUERY_STRING"], environ["RAW_URI"] = query, target
        environ["wsgi.input"] = source or io.BytesIO(body)
        environ.pop("CONTENT_LENGTH", None)
        if chunked:
            environ["HTTP_TRANSFER_ENCODING"] = "chunked"
        elif body or source:
            environ["CONTENT_LENGTH"] = str(len(body) or 1)
        if key is not None:
            environ["HTTP_AUTHORIZATION"] = key
        for name, value in headers.items():
            if name == "scheme":
                environ["wsgi.url_scheme"] = value
                continue
            environ["CONTENT_TYPE" if name == "content_type" else f"HTTP_{name.upper()}"] = value
        return self._send(environ)

    def _send(self, environ: dict[str, Any]) -> Answer:
        started = falcon.testing.StartResponseMock()
        answer = self._app(environ, started)
        pieces = b"".join(answer)
        if close := getattr(answer, "close", None):
            close()
        headers = {name.lower(): value for name, value in started.headers or ()}
        if pieces:
            pieces = pieces[: int(headers["content-length"])]  # as PEP 3333 tells the server
        assert len(headers) == len(list(started.headers or ()))
        return Answer(int(str(started.status).split()[0]), headers, pieces)


class Unreadable:
    """A body that must not be read."""

    def read(self, _size: int) -> bytes:
        raise AssertionError("the body was read")


def _nothing() -> None:
    pass
