"""A node whose keys run by a clock of the test, and what must hold of it while its root fails (R10)."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from strongroom.envelope.header import Placement
from strongroom.extracts.stored import StoredFile
from strongroom.ids import new_id
from strongroom.kms import cache
from strongroom.kms.cache import StoreCache
from strongroom.node import opening
from strongroom.node.opening import Node
from strongroom.roots.base import RootProvider, WrapRecord
from strongroom.services.keys.stored import STORE, ConfiguredStore
from tests.contract.roots.fault_matrix import Cell

HERE = Placement(new_id(), new_id())
CONTENT = b"an extract"
#: The defaults of `kms.rmk.keep_seconds` and `kms.rmk.offline_seconds`.
KEEP_S = OFFLINE_S = 3600.0
RETURN_S = 10.0


class Watched:
    """A node, the seconds of its keys, and when they asked the root."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.seconds = 0.0
        self.asked: list[float] = []
        self._find = node._providers.find
        sealed = ConfiguredStore(node.configuration, node.coordinator)
        node.kms_cache = StoreCache(
            sealed,
            self._found,
            monotonic=lambda: self.seconds,
            log=node._report,
            follows=node.kms_cache._follows,
            limits=node._key_limits,
        )

    def _found(self, wrap: WrapRecord) -> RootProvider:
        self.asked.append(self.seconds)
        return self._find(wrap)

    def read(self, stored: StoredFile) -> bytes:
        """Read an extract."""
        try:
            with self.node.vault.open(stored, HERE) as reader:
                return b"".join(reader.iterate(0, reader.size))
        finally:
            landed()

    def write(self) -> StoredFile:
        """Write one."""
        writer = self.node.vault.create(HERE, encrypted=True)
        writer.write(CONTENT)
        return writer.commit()

    def serves(self, stored: StoredFile) -> None:
        """Reads and writes work."""
        assert self.read(stored) == CONTENT
        assert self.read(self.write()) == CONTENT

    def is_closed(self, stored: StoredFile, cell: Cell) -> None:
        """Reads and writes fail by an error of ours that says why, and nothing is written."""
        before = set(self.node.files.list())
        works: list[Callable[[], object]] = [lambda: self.read(stored), self.write]
        for work in works:
            with pytest.raises(cell.error):
                work()
        assert set(self.node.files.list()) == before

    def is_red(self, words: tuple[str, ...]) -> None:
        """The status is red at once and says why; what needs no root goes on (K-07)."""
        status = self.node.kms_store.prove()
        assert not status.is_ok
        (root,) = status.roots
        assert all(word in f"{root.problem} / {root.hint}" for word in words)
        assert root.problem in status.problems[0]
        assert root.latency_ms is None
        assert not self.node.kms_store.last_status().is_ok
        assert self.node.configuration.get("jdbc.password", actor="os:tester")

    def asks_rarely(self, stored: StoredFile, cell: Cell) -> None:
        """Everybody asks for the keys again and again, and the root hears of it once in five seconds."""
        already = len(self.asked)
        for _ in range(16):
            self.seconds += 1
            for _ in range(2):
                with pytest.raises(cell.error):
                    self.read(stored)
        times = self.asked[already:]
        assert 1 <= len(times) <= 1 + 16 / cache.PAUSE_S
        assert all(later - earlier >= cache.PAUSE_S for earlier, later in pairwise(times))

    def comes_back(self, stored: StoredFile) -> None:
        """Ten seconds after the root's return everything works, and the status is green at once."""
        self.seconds += RETURN_S
        self.serves(stored)
        assert self.node.kms_store.prove().is_ok
        assert self.node.kms_store.last_status().is_ok


def landed() -> None:
    """Wait for whoever still asks the root, so that what comes next finds the answer."""
    for thread in threading.enumerate():
        if thread.name == cache.THREAD:
            thread.join(60)


@contextmanager
def watched(folder: Path) -> Iterator[Watched]:
    """The node in a folder, watched; its KMS store must be the same at the end."""
    node = opening.open_node(str(folder))
    try:
        before = node.configuration.document().values[STORE]
        yield Watched(node)
        assert node.configuration.document().values[STORE] == before
    finally:
        node.close()
