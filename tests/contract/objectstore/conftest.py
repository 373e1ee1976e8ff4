"""Stores of each kind, each test below a prefix of its own; tests of one kind run one after the other."""

from collections.abc import Iterator

import pytest

from strongroom.ids import new_id
from strongroom.objectstore.base import Bucket
from tests.support import object_stores, store_kinds
from tests.support.object_stores import Between
from tests.support.store_kinds import Kind, Server


@pytest.fixture(scope="session", params=store_kinds.KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    return store_kinds.KINDS[request.param]


@pytest.fixture(scope="session")
def server(kind: Kind, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with kind.running(tmp_path_factory.mktemp("store")) as running:
        yield running


@pytest.fixture(autouse=True)
def credentials(server: Server) -> Iterator[None]:
    """In the environment for one test: what a session sets there, all later tests of the worker would have."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        yield


@pytest.fixture
def prefix() -> str:
    return new_id()


@pytest.fixture
def bucket(kind: Kind, server: Server, prefix: str) -> Bucket:
    return kind.bucket(server.url, prefix)


@pytest.fixture
def between(kind: Kind, server: Server) -> Iterator[Between]:
    with object_stores.between(server) as standing:
        standing.signed_anew = kind.signed_anew
        yield standing


@pytest.fixture
def through(kind: Kind, between: Between, prefix: str) -> Bucket:
    """The same objects, through what stands between."""
    return kind.bucket(between.url, prefix)
