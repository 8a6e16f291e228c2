"""``micromdm export-nanomdm`` as a program, in front of something that takes messages as NanoMDM does."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from micromdm_py.protocol.plist import loads
from tests.cli.program import micromdm
from tests.migration.samples import SAMPLE, delivery


class NanoMdm:
    """Takes check-ins at /migration and commands at /v1/enqueue; refuses those of the ids in `refused`."""

    def __init__(self) -> None:
        outer = self
        self.taken: list[tuple[str, str]] = []
        self.refused: set[str] = set()
        self.queued: list[tuple[str, str]] = []

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_PUT(self) -> None:  # the name is the base class's
                body = loads(self.rfile.read(int(self.headers["Content-Length"])))
                ids = [str(body[key]) for key in ("UDID", "EnrollmentID", "UserID") if key in body]
                right = self.headers["Authorization"] == "Basic bmFub21kbTpzZWNyZXQ="  # nanomdm:secret
                command = self.path.startswith("/v1/enqueue/")
                status = 401 if not right else 404 if self.path != "/migration" and not command else 200
                if status == 200 and not outer.refused.isdisjoint(ids):
                    status = 500
                if status == 200 and command:
                    outer.queued.append((self.path, str(body["CommandUUID"])))
                elif status == 200:
                    outer.taken.append((str(body["MessageType"]), ":".join(ids)))
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/migration"
        self.thread = threading.Thread(target=self.server.serve_forever)


@pytest.fixture
def nanomdm() -> Iterator[NanoMdm]:
    server = NanoMdm()
    server.thread.start()
    yield server
    server.server.shutdown()
    server.thread.join()
    server.server.server_close()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store")
    micromdm("import-micromdm", "-from", str(SAMPLE), "-config-path", str(folder))
    return folder


def sends(store: Path, url: str, *words: str, key: str = "secret") -> tuple[int, str]:
    done = micromdm(
        "export-nanomdm", "-config-path", str(store), "-nano-migrate-to", url, "-nano-api-key", key, *words
    )
    return done.returncode, done.stdout + done.stderr


def test_every_enrollment_that_can_be_pushed_is_sent(store: Path, nanomdm: NanoMdm) -> None:
    status, out = sends(store, nanomdm.url)
    assert status == 0, out
    assert "enrollments sent: 6 device, 2 user, 1 user enrollment; 0 messages refused" in out
    kinds = [kind for kind, _ in nanomdm.taken]
    assert kinds.count("Authenticate") == 7
    assert kinds.count("TokenUpdate") == 9
    assert kinds[-2:] == ["TokenUpdate"] * 2
    assert "fakePushMagic" not in out


def test_a_refused_message_is_named_and_the_rest_goes_on(store: Path, nanomdm: NanoMdm) -> None:
    nanomdm.refused = {"38E33F96-0EFC-4DAA-9747-8A0C657EBAE7"}
    status, out = sends(store, nanomdm.url)
    assert status == 1
    assert "refused with 500: Authenticate of 38E33F96-0EFC-4DAA-9747-8A0C657EBAE7" in out
    assert [kind for kind, _ in nanomdm.taken].count("Authenticate") == 6


def test_what_stops_everything_is_said_once(store: Path, nanomdm: NanoMdm) -> None:
    assert "the API key is not the server's" in sends(store, nanomdm.url, key="wrong")[1]
    assert "start NanoMDM with -migration" in sends(store, nanomdm.url + "/x")[1]
    status, out = sends(store, "http://127.0.0.1:1/migration")
    assert (status, out.count("\n")) == (1, 1)
    assert "-ca-file" in sends(store, nanomdm.url, "-ca-file", str(store / "nowhere.pem"))[1]
    assert "must supply" in sends(store, "ftp://nano.example.com")[1]
    assert nanomdm.taken == []


def test_queues_go_along_if_asked_for(store: Path, nanomdm: NanoMdm) -> None:
    status, out = sends(store, nanomdm.url)
    assert "commands wait in queues, which do not move" in out
    assert nanomdm.queued == []
    url = nanomdm.url.replace("migration", "v1/enqueue")
    status, out = sends(store, nanomdm.url, "-nano-enqueue-to", url)
    assert status == 0, out
    assert f"commands sent: {len(nanomdm.queued)}; 0 messages refused" in out
    busy = "/v1/enqueue/DCCBBCAA-ADCC-49DA-9A76-B50ECE37EC16?nopush=1"
    waiting = delivery()["DCCBBCAA-ADCC-49DA-9A76-B50ECE37EC16"]["delivered"]
    assert [uuid for path, uuid in nanomdm.queued if path == busy] == [one["command_uuid"] for one in waiting]
    assert "-nano-enqueue-to must begin" in sends(store, nanomdm.url, "-nano-enqueue-to", "nano")[1]
