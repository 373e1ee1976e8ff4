"""A node that serves the REST API and its socket in this process, and both key services of `strongroom.client` for it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom.client import HttpKeyService, NodeKeyService, Password, SecretBytes
from strongroom.doors.control import server as control
from strongroom.runtime import running
from tests.support.web_client import ADMIN, LOCAL, PASSWORD, Served, serve

CREDENTIALS = Password(ADMIN, SecretBytes(PASSWORD.encode()))


@pytest.fixture
def served(node_dir: Path) -> Iterator[Served]:
    """It gives data keys over HTTP."""
    with serve(node_dir) as found:
        found.node.configuration.set("gateway.data_keys", "true", actor=LOCAL.actor)
        found.node.configuration.apply(actor=LOCAL.actor)
        with running.sole_server(found.node.paths), control.serving(found.node):
            yield found


@pytest.fixture(params=["http", "node"])
def keys(
    served: Served, request: pytest.FixtureRequest
) -> Iterator[HttpKeyService | NodeKeyService]:
    """Each key service."""
    if request.param == "node":
        yield NodeKeyService(served.node.paths.root)
        return
    with HttpKeyService(f"http://127.0.0.1:{served.port}", CREDENTIALS) as service:
        yield service
