"""Two nodes with extracts in one object store, and the workers of both as processes of their own."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from strongroom.jobs.model import JobKind
from strongroom.node.opening import Node
from strongroom.repository.rows import ContentRow, JobRow
from tests.support.web_client import Client, Served

LIMIT_S = 120.0
"""For what takes a second session, a sweep and the work, on a machine that is busy."""
EXTRACTS = 16
ACTOR = "os:tests"
HEAD = b"Hyper\x08\x00\x00\x01\x00\x02\x00"


def wait_for(is_true: Callable[[], object], what: str) -> None:
    """Wait until something is so."""
    end = time.monotonic() + LIMIT_S
    while not is_true():
        assert time.monotonic() < end, what
        time.sleep(0.1)


@dataclass
class WorkerProcess:
    """The process that works on a node's jobs, without a server that keeps it."""

    process: "subprocess.Popen[bytes]"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def pause(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def wake(self) -> None:
        self.process.send_signal(signal.SIGCONT)


@contextmanager
def working(home: Path, place: int = 0) -> Iterator[WorkerProcess]:
    """A worker in one of the places of a node, until the end of the block."""
    module = [sys.executable, "-m", "strongroom.backgrounder.worker"]
    with subprocess.Popen(
        [*module, "--data-dir", str(home), "--place", str(place)],
        stdin=subprocess.PIPE,
        env={**os.environ, "STRONGROOM_HOME": str(home)},
    ) as process:
        worker = WorkerProcess(process)
        try:
            yield worker
        finally:
            worker.wake()
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()


@dataclass
class Site:
    """A site with extracts that are not encrypted as yet.

    Attributes:
        client: A client on the site.
        published: SHA-256 of each extract, by its id.
    """

    node: Node
    site_id: str
    client: Client
    published: dict[str, str]

    def rows(self) -> list[ContentRow]:
        with self.node.repository.reading() as tx:
            return tx.contents.list_for_site(self.site_id)

    def encrypted(self) -> int:
        return sum(bool(row.file_id) for row in self.rows())

    def encrypt(self) -> JobRow:
        return self.node.jobs.enqueue(JobKind.ENCRYPT, self.site_id, ACTOR)

    def check_whole(self, client: Client) -> None:
        """Every extract is encrypted, has the bytes that were published, and nothing else is in the store."""
        assert self.encrypted() == len(self.published)
        for item, digest in self.published.items():
            assert hashlib.sha256(client.download(item).body).hexdigest() == digest
        # whoever woke removes what it was writing when it notices
        wait_for(self._nothing_is_left, "something is left")

    def _nothing_is_left(self) -> bool:
        with self.node.repository.reading() as tx:
            named, intents = tx.contents.storage_keys(), tx.intents.list()
        return set(self.node.files.list()) == named and not intents


def filled(served: Served, client: Client, name: str, count: int = EXTRACTS) -> Site:
    """The extracts of a site; work on them is slow enough to be met in its middle."""
    for key, value in (("bytes_per_second", "200000"), ("concurrency", "1")):
        served.node.configuration.set(f"backgrounder.extracts.{key}", value, actor=ACTOR)
    served.node.configuration.apply(actor=ACTOR)
    published = {}
    for number in range(count):
        content = HEAD + os.urandom(20_000 + number)
        item = client.publish(f"extract {number}", content).find("datasource").attrib["id"]
        published[item] = hashlib.sha256(content).hexdigest()
    return Site(served.node, served.node.sites.find(name).id, client, published)


def times_done(since: Mapping[Node, int], *nodes: Node) -> dict[str, int]:
    """How often each extract was encrypted, by the event logs of the nodes behind so many events of each."""
    times: dict[str, int] = {}
    for node in nodes:
        for event in list(node.events.read())[since[node] :]:
            if event["id"] == "EXTRACT_ENCRYPTED":
                item = str(event["details"]["extract_id"])  # type: ignore[index]
                times[item] = times.get(item, 0) + 1
    return times
