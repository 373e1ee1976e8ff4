"""A real server whose root fails at its start: it starts, says so, asks rarely, and recovers by itself (R10)."""

import http.client
import json
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from strongroom.kms.cache import PAUSE_S
from strongroom.roots.aws_connection import ATTEMPTS
from tests.support import clouds
from tests.support.clouds import ARN
from tests.support.fault_server import Fault, FaultServer
from tests.support.servers import TestNode, create_node, serving

pytestmark = pytest.mark.torture
KMS = ("tsm", "security", "kms")
LATEST_S = 60.0  # that it is ten seconds is shown by a clock of the test (outage.py)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[TestNode, FaultServer]]:
    node = create_node(tmp_path)
    with clouds.aws(node) as cloud:
        node.run(*KMS, "set-mode", "aws", "--aws-region", "us-west-2", "--key-arn", ARN)
        yield node, cloud


def ready(node: TestNode) -> int:
    """What a load balancer sees."""
    connection = http.client.HTTPConnection(urlsplit(node.url).netloc, timeout=60)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status
    finally:
        connection.close()


def test_a_server_starts_without_its_root_and_recovers_by_itself(
    served: tuple[TestNode, FaultServer],
) -> None:
    node, cloud = served
    with cloud.broken(Fault.RESET), serving(node, "--no-backgrounder"):
        cloud.calls.clear()
        assert ready(node) == 503
        assert node.run(*KMS, "status", check=False).code == 1
        node.run("tsm", "configuration", "get", "-k", "jdbc.password")
        cloud.calls.clear()
        began = time.monotonic()
        while time.monotonic() - began < PAUSE_S:
            assert ready(node) == 503
            time.sleep(0.1)
        # each time it asks, the SDK tries a few times by itself
        tries = 2 + (time.monotonic() - began) / PAUSE_S
        assert len(cloud.calls) <= ATTEMPTS * tries
        cloud.mend()
        mended = time.monotonic()
        while ready(node) != 200:
            assert time.monotonic() - mended < LATEST_S
            time.sleep(0.1)
        shown = json.loads(node.run(*KMS, "status", "--json").out)
        assert shown["status"] == "OK"
        assert shown["rmk"]["age_seconds"] <= time.monotonic() - mended + 1
        cloud.calls.clear()
        assert [ready(node) for _ in range(20)] == [200] * 20
        assert cloud.calls == []
