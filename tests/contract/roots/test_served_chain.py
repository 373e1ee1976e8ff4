"""R12: moves over five roots on a served node, by the real commands, while extracts are written and read.

Issue "a session", Must show 4: 0 failed reads, 0 failed writes, 0 lost extracts, no restart.
"""

import random
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from strongroom.node import opening
from strongroom.roots.settings import RootSettings
from strongroom.services.keys.keeper import PREVIOUS_STORE, ROOTS
from tests.contract.roots.commands import words_of
from tests.contract.roots.harness import RootLab
from tests.contract.roots.provider_pkcs11 import Pkcs11Lab
from tests.support.servers import TestNode, create_node, serving
from tests.support.web_client import Client

pytestmark = pytest.mark.interop

SITE = "chain"
MOVES = ("aws-moto", "azure", "openbao", "pkcs11", "local")
# the rest of the machine is for the moves: a reader that hardly paused computed more than all of them
_WRITER_S, _READER_S = 0.2, 0.1
#: The move before which a dry run is made, and during which a job runs.
REWRAPPED = "pkcs11"


@contextmanager
def rewrapping(node: TestNode) -> Iterator[None]:
    """A job that brings every extract to the present MEK, while that becomes another one; it must not leave any behind."""
    words = ("extracts", "rewrap", "--site", SITE, "--wait")
    done: list[int] = []

    def run() -> None:
        # the backgrounder is nicer than the server, and the traffic here leaves it what a busy machine has over
        done.append(node.run("strongroom", *words, check=False, limit=600).code)

    job = threading.Thread(target=run)
    job.start()
    try:
        yield
    finally:
        job.join()
    assert done == [0]


@dataclass
class Traffic:
    """A writer and a reader that pause for a moment only, and what they saw.

    Attributes:
        written: Id of each published extract → its content.
        reads: Downloads that were compared.
        failures: What went wrong, in words.
    """

    port: int
    written: dict[str, bytes] = field(default_factory=dict)
    reads: int = 0
    failures: list[str] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)

    def client(self) -> Client:
        client = Client(self.port)
        assert client.sign_in(site=SITE).status == 200
        return client

    def write(self) -> None:
        client, number = self.client(), 0
        while not self.stopping.wait(_WRITER_S):
            number += 1
            content = b"Hyper\x08\x00\x00\x01\x00\x02\x00" + b"extract %d " % number * 500
            reply = client.publish(f"extract {number}", content)
            if reply.status == 201:
                self.written[reply.find("datasource").get("id", "")] = content
            else:
                self.failures.append(f"write {number}: {reply.status} {reply.body!r}")

    def read(self) -> None:
        client = self.client()
        while not self.stopping.wait(_READER_S):
            known = list(self.written)
            # mostly old ones: their keys must come along through every move
            for item in random.sample(known, min(3, len(known))) + known[-1:]:
                self.compare(client, item)

    def compare(self, client: Client, item: str) -> None:
        reply = client.download(item)
        self.reads += 1
        if (reply.status, reply.body) != (200, self.written[item]):
            self.failures.append(f"read {item}: {reply.status} {reply.body[:200]!r}")

    @contextmanager
    def flowing(self) -> Iterator[None]:
        threads = [threading.Thread(target=work) for work in (self.write, self.read)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self.stopping.set()
            for thread in threads:
                thread.join()

    def waits_for(self, more: int) -> None:
        """Until so many further extracts were written and read."""
        goal, reads = len(self.written) + more, self.reads + more
        while (len(self.written) < goal or self.reads < reads) and not self.failures:
            self.stopping.wait(0.02)


@pytest.fixture
def roots(labs: Callable[[str], RootLab]) -> dict[str, RootSettings | None]:
    found: dict[str, RootSettings | None] = {"local": None}
    for name in MOVES:
        if name == "pkcs11":
            lab = labs(name)
            assert isinstance(lab, Pkcs11Lab)
            found[name] = lab.of("made by the move", create=True)
        elif name != "local":
            found[name] = labs(name).settings
    return found


def check_move(node: TestNode, settings: RootSettings | None, rmks: list[str]) -> None:
    """Right after a move: proved, one RMK that is new, one MEK that encrypts, nothing left of the old root."""
    status = node.run("tsm", "security", "kms", "status", "--json").json
    assert (status["status"], status["mode"]) == ("OK", settings.kind if settings else "local")
    assert status["rmk"]["id"] not in rmks
    rmks.append(status["rmk"]["id"])
    states = [mek["status"] for mek in status["meks"]]
    assert states == ["decrypt-only"] * (len(rmks) - 1) + ["encrypt or decrypt"]
    inside = opening.open_node(str(node.home))
    try:
        values = inside.configuration.document().values
        assert PREVIOUS_STORE not in values
        assert (ROOTS in values) is (settings is not None)
        assert inside.kms_store.root_settings() == ((settings.lasting,) if settings else ())
    finally:
        inside.close()


@pytest.mark.timeout(900)  # five moves under load, with two clients
def test_a_chain_of_moves_disturbs_nobody(
    labs: Callable[[str], RootLab],
    roots: dict[str, RootSettings | None],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    node = create_node(tmp_path)
    for name in MOVES:
        node.environment |= labs(name).environment
    node.run("strongroom", "sites", "create", SITE)
    node.run("strongroom", "sites", "set-mode", SITE, "enforced")
    rmks = [node.run("tsm", "security", "kms", "status", "--json").json["rmk"]["id"]]
    with serving(node):
        traffic = Traffic(urlsplit(node.url).port or 0)
        with traffic.flowing():
            traffic.waits_for(3)
            for name in MOVES:
                words = words_of(roots[name], tmp_path)
                if name == REWRAPPED:
                    node.run("tsm", "security", "kms", "set-mode", *words, "--dry-run")
                with rewrapping(node) if name == REWRAPPED else nullcontext():
                    node.run("tsm", "security", "kms", "set-mode", *words)
                traffic.waits_for(3)
                check_move(node, roots[name], rmks)
        assert traffic.failures == []
        # every extract there is, once more; then under the last MEK, which needs all others
        client = traffic.client()
        for item in traffic.written:
            traffic.compare(client, item)
        node.run("strongroom", "extracts", "rewrap", "--site", SITE, "--wait")
        for item in random.sample(list(traffic.written), 5):
            traffic.compare(client, item)
        assert traffic.failures == []
    usage = node.run("tsm", "security", "kms", "usage", "--json").json
    assert (usage["missing"], usage["unreadable"]) == ({}, [])
    in_use = {mek: use["extracts"] for mek, use in usage["meks"].items() if use["extracts"]}
    assert in_use == {usage["active"]: len(traffic.written)}
    node.run("strongroom", "events", "verify")
    with capsys.disabled():
        moves = " → ".join(("local", *(name.partition("-")[0] for name in MOVES)))
        figures = f"{len(traffic.written)} writes, {traffic.reads} reads, 0 failed"
        sys.stdout.write(f"\n{moves}: {len(MOVES)} moves, {figures}\n")
