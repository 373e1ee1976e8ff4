"""The disks of servers of ZooKeeper are full (faults R8): one costs nothing, two the quorum; nothing that was told is lost."""

from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from strongroom.coordination.base import Change
from strongroom.coordination.zookeeper import looking
from strongroom.coordination.zookeeper.coordinator import ZookeeperCoordinator
from strongroom.errors import CoordinationError, OutcomeUnknown
from strongroom.ids import new_id
from tests.support.components.zookeeper_ensemble import Ensemble, running_ensemble
from tests.support.privileges import small_disk
from tests.support.waiting import in_the_end

pytestmark = pytest.mark.cluster
MEGABYTES = 24
VALUE = bytes(range(256)) * 256  # 64 KiB


@pytest.fixture
def disks(tmp_path: Path) -> Iterator[dict[int, Path]]:
    with ExitStack() as stack:
        yield {
            number: stack.enter_context(small_disk(tmp_path / f"disk{number}", MEGABYTES))
            for number in (1, 2)
        }


def fill(disk: Path) -> None:
    with (disk / "others").open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))


def put(coordinator: ZookeeperCoordinator, name: str, told: dict[str, bytes]) -> None:
    """Put a value of its own; what was told as done is noted."""
    value = name.encode() + VALUE
    coordinator.put({name: Change(value, coordinator.version(name))})
    told[name] = value


def stopped(ensemble: Ensemble, number: int) -> bool:
    """Whether a server says nothing any more: it ends where it cannot write its log."""
    return not ensemble.said(ensemble.servers[number - 1])


def test_full_disks_of_servers(disks: dict[int, Path], tmp_path: Path) -> None:
    told: dict[str, bytes] = {}
    root = f"/strongroom/{new_id()}"
    with (
        running_ensemble(disks) as ensemble,
        ensemble.coordinator(root, tmp_path) as coordinator,
    ):
        put(coordinator, "before", told)
        fill(disks[1])
        for number in range(100):
            put(coordinator, f"one/{number}", told)
            if stopped(ensemble, 1):
                break
        in_the_end(lambda: stopped(ensemble, 1))
        settings = ensemble.settings(root, tmp_path)
        assert looking.session(settings).id is not None, "two of three serve"
        fill(disks[2])
        with suppress(CoordinationError, OutcomeUnknown):
            for number in range(100):
                put(coordinator, f"two/{number}", told)
        in_the_end(lambda: stopped(ensemble, 2))
        with pytest.raises(CoordinationError):
            coordinator.get("before")
        for disk in disks.values():
            (disk / "others").unlink()
        for server in ensemble.servers[:2]:
            server.component.kill()
        ensemble.mend()
        found = {name: coordinator.get(name) for name in told}
        assert {name: one and one.value for name, one in found.items()} == told
        put(coordinator, "after", told)
