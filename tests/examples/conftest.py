"""One server for all examples that need no setting of their own."""

from collections.abc import Iterator

import pytest

from tests.examples.running import Server, serving


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    repo = tmp_path_factory.mktemp("repo")
    with serving(tmp_path_factory.mktemp("examples") / "store", "-filerepo", str(repo)) as started:
        yield started
