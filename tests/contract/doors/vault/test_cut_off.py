"""Calls that a maintenance cuts off: the node has drained when the event of each is durable, and each leaves one (ADR 61)."""

import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest

from strongroom.doors.http.gate import Gate
from strongroom.eventlog.base import Event
from strongroom.node import opening
from strongroom.service_keys.model import KeyKind
from strongroom.services.service_keys.keys import own
from tests.support.vault_door import b64
from tests.support.vault_edges import BY, edge, request
from tests.support.waiting import in_the_end

LIMIT_S = 60
USED = "SERVICE_KEY_USED"


class SlowDisk:
    """Holds back each append of the log until it is let go."""

    def __init__(self, append: Callable[[Sequence[Event]], None]) -> None:
        self._append = append
        self.is_asked, self.goes_on = threading.Event(), threading.Event()

    def append(self, events: Sequence[Event]) -> None:
        self.is_asked.set()
        assert self.goes_on.wait(LIMIT_S)
        self._append(events)


@pytest.mark.parametrize("more", ["", "X-Not-Known: 1\r\n"], ids=["short way", "usual way"])
def test_a_call_that_is_cut_off_counts_until_its_event_is_durable(
    more: str, pristine_node: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Path(copytree(pristine_node, tmp_path / "node"))
    gate = Gate()
    with closing(opening.open_node(str(home))) as node:
        node.service_keys.create(BY, own("k"), KeyKind.AES256_GCM)
        disk = SlowDisk(node.events.append)
        monkeypatch.setattr(node.events, "append", disk.append)
        disk.goes_on.set()
        with edge(node, gate=gate) as door, door.line() as line:
            disk.goes_on.clear()
            disk.is_asked.clear()
            line.send(request("transit/encrypt/k", {"plaintext": b64(b"x")}, door.root, more=more))
            assert disk.is_asked.wait(LIMIT_S)
            gate.close()
            assert gate.cut() == 1
            said = line.read()
            # the client is told, or its connection is closed; the thread waits for the disk
            assert said is None or said.status == 503
            assert gate.under_way == 1
            disk.goes_on.set()
            in_the_end(lambda: not gate.under_way)
            assert [_name(one) for one in door.events(USED)] == ["transit/k"]


def _name(event: dict[str, Any]) -> str:
    return str(event["details"]["key"])
