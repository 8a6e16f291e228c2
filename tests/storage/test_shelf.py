"""Named documents: reading, listing, and changes that happen whole or not at all."""

import threading

import pytest

from micromdm_py.errors import MalformedField, NotFound
from micromdm_py.storage.base import Documents, Store


def put(store: Store, kind: str, **documents: bytes) -> None:
    def change(shelf: Documents) -> None:
        for name, body in documents.items():
            shelf.put(kind, name, body)

    store.change_documents(change)


def names(store: Store, kind: str, after: str = "", limit: int | None = None) -> list[str]:
    return [name for name, _ in store.documents(kind, after=after, limit=limit)]


def test_document_comes_back_as_it_was_kept(store: Store) -> None:
    put(store, "profile", a=b"\x00\xff", b=b"")
    assert store.document("profile", "a") == b"\x00\xff"
    assert store.documents("profile") == [("a", b"\x00\xff"), ("b", b"")]
    put(store, "profile", a=b"new")
    assert store.document("profile", "a") == b"new"


@pytest.mark.parametrize("name", ["missing", "", "x" * 1000, "\ud800", "?"])
def test_unknown_document_is_not_found(store: Store, name: str) -> None:
    put(store, "profile", a=b"1")
    put(store, "other", missing=b"1")
    with pytest.raises(NotFound, match="not found: profile"):
        store.document("profile", name)


def test_kinds_do_not_mix(store: Store) -> None:
    put(store, "user", a=b"1")
    put(store, "user-index", a=b"2", b=b"3")
    assert names(store, "user") == ["a"]
    assert names(store, "use") == []


def test_listing_goes_by_bytes_and_in_pages(store: Store) -> None:
    order = ["", "B", "a", "a\0", "a\0b", "aa", "é", "\uffff", "\U00010000"][1:]
    put(store, "k", **{name: name.encode() for name in reversed(order)})
    assert names(store, "k") == order
    paged, after = [], ""
    while page := names(store, "k", after, 3):
        paged, after = paged + page, page[-1]
    assert paged == order
    assert names(store, "k", "z" * 600) == ["é", "\uffff", "\U00010000"]
    assert names(store, "k", "a", 0) == []


@pytest.mark.parametrize("name", ["", "x" * 401, "é" * 201, "\ud800"])
def test_name_that_cannot_be_kept_is_refused(store: Store, name: str) -> None:
    with pytest.raises(MalformedField):
        put(store, "k", good=b"1", **{name: b"2"})
    assert names(store, "k") == []


def test_longest_name_is_kept(store: Store) -> None:
    put(store, "blueprint", **{"é" * 200: b"1"})
    assert names(store, "blueprint") == ["é" * 200]
    assert names(store, "blueprint", "é" * 200) == []


def test_change_sees_itself_and_returns_its_result(store: Store) -> None:
    put(store, "k", old=b"1")

    def change(shelf: Documents) -> list[bytes | None]:
        shelf.put("k", "new", b"2")
        shelf.remove("k", "old")
        return [shelf.get("k", "new"), shelf.get("k", "old"), shelf.get("j", "old")]

    assert store.change_documents(change) == [b"2", None, None]
    assert store.documents("k") == [("new", b"2")]


def test_discarding_takes_a_document_away_if_there_is_one(store: Store) -> None:
    put(store, "k", a=b"1", b=b"2")

    def change(shelf: Documents) -> None:
        shelf.put("k", "new", b"3")
        for name in ("a", "new", "never there", "x" * 1000):
            shelf.discard("k", name)

    store.change_documents(change)
    assert store.documents("k") == [("b", b"2")]


def test_change_scans_a_kind_with_what_it_changed(store: Store) -> None:
    put(store, "k", b=b"1", c=b"2", d=b"3")
    put(store, "ka", x=b"1")

    def change(shelf: Documents) -> list[tuple[str, bytes]]:
        shelf.put("k", "a", b"new")
        shelf.put("k", "d", b"other")
        shelf.put("j", "e", b"elsewhere")
        shelf.remove("k", "b")
        return shelf.scan("k")

    assert store.change_documents(change) == [("a", b"new"), ("c", b"2"), ("d", b"other")]


def test_change_scans_what_begins_with_a_text(store: Store) -> None:
    put(store, "k", **{name: b"" for name in ("A", "A:1", "A:2", "AA:1", "B:1", "é:1")})
    put(store, "l", **{"A:3": b""})

    def change(shelf: Documents) -> list[list[str]]:
        shelf.put("k", "A:0", b"")
        shelf.put("k", "B:0", b"")
        shelf.remove("k", "A:2")
        return [[name for name, _ in shelf.scan("k", prefix)] for prefix in ("A:", "é", "C", "A" * 600)]

    assert store.change_documents(change) == [["A:0", "A:1"], ["é:1"], [], []]


def test_change_that_raises_changes_nothing(store: Store) -> None:
    put(store, "k", a=b"1", b=b"2")

    def change(shelf: Documents) -> None:
        shelf.put("k", "a", b"changed")
        shelf.remove("k", "b")
        shelf.remove("k", "b")

    with pytest.raises(NotFound, match="not found: k b"):
        store.change_documents(change)
    assert store.documents("k") == [("a", b"1"), ("b", b"2")]


def test_changes_do_not_interleave(store: Store) -> None:
    put(store, "k", count=b"0")

    def change(shelf: Documents) -> None:
        shelf.put("k", "count", str(int(shelf.get("k", "count") or b"0") + 1).encode())

    threads = [
        threading.Thread(target=lambda: [store.change_documents(change) for _ in range(20)]) for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.document("k", "count") == b"100"
