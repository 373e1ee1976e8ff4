"""Ten thousand calls of the Vault door, with kills and with a disk that is full: events and calls are the same number.

Issue 13, must show 4. Whoever was answered has exactly one event; whoever was asking when the server was killed has one
or none. Each worker has a key of its own, so that its calls can be told from those of others.
"""

import http.client
import json
import random
import shutil
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.conftest import Torture
from tests.support import privileges
from tests.support.servers import TestNode, create_node
from tests.support.vault_door import VaultDoor, b64, served_vault

pytestmark = pytest.mark.torture
WHOLE, SAMPLE = (10_000, 12), (600, 1)
"""Calls and kills."""
WORKERS = 8


@dataclass
class Worker:
    """A client with a key of its own: what it asked for, and what was answered, by operation."""

    name: str
    chance: random.Random
    answered: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def work(self, url: str, token: str, calls: int, is_over: Callable[[], bool]) -> None:
        """Ask until that is enough, or the server is gone."""
        to = urlsplit(url)
        with closing(http.client.HTTPConnection(to.hostname or "", to.port, timeout=60)) as line:
            self._work(line, token, calls, is_over)

    def _work(
        self,
        connection: http.client.HTTPConnection,
        token: str,
        calls: int,
        is_over: Callable[[], bool],
    ) -> None:
        while calls > 0 and not is_over():
            calls -= 1
            operation, path, given = self._next()
            try:
                connection.request(
                    "POST", f"/v1/{path}", json.dumps(given), {"X-Vault-Token": token}
                )
                answer = connection.getresponse()
                body = answer.read()
            except (OSError, http.client.HTTPException):
                self.lost[operation] += 1
                return
            if answer.status == 503:
                self.refused[operation] += 1
                continue
            wanted = (400, True) if operation == "refused" else (200, False)
            if (answer.status, b"ciphertext" in body and b"errors" in body) != wanted:
                self.wrong.append(f"{operation}: {answer.status} {body[:300]!r}")
            self.answered[operation] += 1

    def _next(self) -> tuple[str, str, dict[str, object]]:
        value = b64(self.chance.randbytes(20))
        if self.chance.random() < 0.01:
            return "rotate", f"transit/keys/{self.name}/rotate", {}
        operation, path, body = self.chance.choice(_USES)
        return operation, f"transit/{path}/{self.name}", dict.fromkeys(body, value)


_USES = (
    ("encrypt", "encrypt", ("plaintext",)),
    ("encrypt", "encrypt", ("plaintext", "associated_data")),
    ("hmac", "hmac", ("input",)),
    ("make a data key, revealed", "datakey/plaintext", ()),
    ("make a data key, wrapped", "datakey/wrapped", ("associated_data",)),
    ("refused", "decrypt", ("ciphertext",)),
)
"""Operations as events name them, paths, and the members of their bodies."""


def counted(door: VaultDoor, name: str) -> Counter[str]:
    """The events of a worker, by operation."""
    found: Counter[str] = Counter()
    for one in door.events():
        details = one["details"]
        if details.get("key") == f"transit/{name}" and not details["operation"].startswith(
            "create"
        ):
            found[details["operation"]] += 1
        elif str(details.get("what", "")).endswith(f"/{name}"):
            found["refused"] += 1
    return found


def check(door: VaultDoor, workers: list[Worker]) -> None:
    """Each answer has its event; a refusal for want of room may have one, as what was cut by a kill."""
    for worker in workers:
        assert worker.wrong == []
        events = counted(door, worker.name)
        for operation in {*events, *worker.answered}:
            least = worker.answered[operation]
            most = least + worker.lost[operation] + worker.refused[operation]
            assert least <= events[operation] <= most, (worker, operation, events)


@pytest.fixture
def node(tmp_path: Path) -> TestNode:
    return create_node(tmp_path)


def crowd(door: VaultDoor, seed: int) -> list[Worker]:
    workers = [Worker(f"w{number}", random.Random(seed + number)) for number in range(WORKERS)]
    for worker in workers:
        assert door.call("POST", f"transit/keys/{worker.name}").status == 200
    return workers


@contextmanager
def at_work(door: VaultDoor, workers: list[Worker], calls: int) -> Iterator[list[threading.Thread]]:
    over = threading.Event()
    threads = [
        threading.Thread(target=one.work, args=(door.url, door.root, calls, over.is_set))
        for one in workers
    ]
    for thread in threads:
        thread.start()
    try:
        yield threads
    finally:
        for thread in threads:
            thread.join()


def test_ten_thousand_mixed_calls_with_kills(
    node: TestNode, torture: Torture, record_property: Callable[[str, object], None]
) -> None:
    root = node.run("strongroom", "access", "token", "create", "--policy", "root").last_word
    chance = random.Random(torture.seed)
    workers: list[Worker] = []
    wanted, kills = WHOLE if torture.whole else SAMPLE
    each = wanted // WORKERS // (kills + 1) + 1
    for turn in range(kills + 1):
        with served_vault(node) as door:
            door.root = root
            workers = workers or crowd(door, torture.seed)
            asked = sum(sum((one.answered + one.lost).values()) for one in workers)
            calls = each if turn < kills else (wanted - asked) // WORKERS + 1
            with at_work(door, workers, calls) as threads:
                if turn < kills:
                    threads[0].join(chance.uniform(0.05, 1.5))
                    door.process.send_signal(signal.SIGKILL)
                    door.process.wait()
            if turn == kills:
                check(door, workers)
    asked = sum(sum((one.answered + one.lost).values()) for one in workers)
    assert asked >= wanted
    cut = sum(sum(one.lost.values()) for one in workers)
    record_property("torture", f"{asked} calls, {cut} of them cut by {kills} kills")
    # 24: whole, and a killed writer left lines that the next one signed
    assert node.run("strongroom", "events", "verify", check=False).code in {0, 24}


def test_a_full_disk_under_the_log(node: TestNode) -> None:
    """A file system of a megabyte: no answer without its event, and all goes on when there is room."""
    root = node.run("strongroom", "access", "token", "create", "--policy", "root").last_word
    events = node.home / "tabsvc" / "events"
    aside = events.with_name("aside")
    shutil.copytree(events, aside)
    privileges.mount_small_disk(events, 1)
    try:
        shutil.copytree(aside, events, dirs_exist_ok=True)
        with served_vault(node) as door:
            door.root = root
            workers = crowd(door, 1)
            with at_work(door, workers, 500):
                pass
            assert sum(sum(one.refused.values()) for one in workers) > 0
            value = {"input": b64(b"x")}
            assert door.call("POST", "transit/hmac/w0", value).status == 503
            privileges.do("mount", "-o", "remount,size=8m", events, needs="a system that remounts")
            assert door.call("POST", "transit/hmac/w0", value).status == 200
            workers[0].answered["hmac"] += 1
            check(door, workers)
    finally:
        privileges.unmount(events)
