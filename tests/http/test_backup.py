"""/boltbackup."""

from tests.http.bench import Bench


def test_the_store_comes_as_a_file() -> None:
    answer = Bench().ask("GET", "/boltbackup")
    assert (answer.status, answer.body) == (200, b"the store")
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"] == 'attachment; filename="micromdm.db"'
    assert answer.headers["content-length"] == "9"


def test_nobody_gets_it_without_credentials() -> None:
    answer = Bench().ask("GET", "/boltbackup", key=None)
    assert (answer.status, answer.body) == (401, b"Authorization Required\n")
    assert answer.headers["www-authenticate"] == 'Basic realm="micromdm"'
    assert Bench(api_key="").ask("GET", "/boltbackup").status == 404


def test_only_get_fetches_it() -> None:
    for method in ("POST", "PUT", "DELETE", "HEAD"):
        assert Bench().ask(method, "/boltbackup").status == 405


def test_fetching_it_is_in_the_audit_log() -> None:
    bench = Bench()
    bench.ask("GET", "/boltbackup")
    (entry,) = bench.store.audit_entries().entries
    assert entry.action == "server.backup.make"
