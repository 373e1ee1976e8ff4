"""Stores in moto, each test below a prefix of its own."""

from collections.abc import Iterator

import pytest

from strongroom.ids import new_id
from strongroom.objectstore.base import Bucket
from tests.support import object_stores
from tests.support.emulators import Aws
from tests.support.object_stores import Between


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    with object_stores.running("moto", tmp_path_factory.mktemp("moto")) as running:
        yield running


@pytest.fixture(scope="module", autouse=True)
def credentials(server: Aws) -> Iterator[None]:
    """In the environment for one module: what a session sets there, all later tests of the worker would have."""
    with pytest.MonkeyPatch.context() as patch:
        object_stores.credentials(server, patch)
        yield


@pytest.fixture
def prefix() -> str:
    return new_id()


@pytest.fixture
def bucket(server: Aws, prefix: str) -> Bucket:
    return object_stores.bucket(server.url, prefix)


@pytest.fixture
def between(server: Aws) -> Iterator[Between]:
    with object_stores.between(server) as standing:
        yield standing


@pytest.fixture
def through(between: Between, prefix: str) -> Bucket:
    """The same objects, through what stands between."""
    return object_stores.bucket(between.url, prefix)
