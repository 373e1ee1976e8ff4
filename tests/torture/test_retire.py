"""`kms retire` killed and broken at every mutating system call (K-10, findings D5): a MEK is whole or gone, and gone for good.

The other half is what retires a MEK while somebody seals under it: `test_retire_beside.py`.
"""

from dataclasses import dataclass
from pathlib import Path

import pytest

from strongroom.errors import KeyNotFoundError
from strongroom.eventlog.events import key_events
from strongroom.kms.states import MekState
from strongroom.node.opening import Node
from strongroom.services.keys.keeper import PREVIOUS_STORE
from tests.conftest import Torture
from tests.support.backups import contents, publish
from tests.torture import harness, nodes
from tests.torture.harness import FAULTS, Lab, Outcome
from tests.torture.nodes import run

#: Of the cases of each test a run takes a third, by its seed; `make torture` takes all.
pytestmark = [pytest.mark.torture, pytest.mark.sampled(3)]
DATA = {"old": nodes.CANARY + b"x" * 300_000, "small": nodes.CANARY}


@dataclass(frozen=True)
class Before:
    """What the node had.

    Attributes:
        retired: The MEK that is to go.
        others: The MEKs that stay, the active one last.
    """

    retired: str
    others: tuple[str, ...]


def prepare(start: Path, *, outside: bool) -> Before:
    """Three MEKs: one that nothing in the store uses, one that an extract uses, and the active one.

    Args:
        start: Holds the node.
        outside: A file outside the store needs the first one: whoever retires it has to give the file up.
    """
    home = start / "node"
    run(home, "strongroom", "sites", "set-mode", "Default", "enforced")
    with nodes.opened(home) as node:
        meks = [node.envelope_keys.active_mek_id]
        publish(node, "old", DATA["old"])
        if outside:
            (start / "plain").write_bytes(b"given up")
    if outside:
        run(home, "strongroom", "encrypt", start / "plain", start / "given-up")
    for name in ("small", ""):
        run(home, "tsm", "security", "kms", "rotate")
        run(home, "strongroom", "extracts", "rewrap", "--site", "Default", "--wait")
        with nodes.opened(home) as node:
            meks.append(node.envelope_keys.active_mek_id)
            if name:
                publish(node, name, DATA[name])
    with nodes.opened(home) as node:
        assert (meks[0] in node.meks.usage().unused) is not outside
    return Before(meks[0], tuple(meks[1:]))


def _meks(node: Node) -> dict[str, MekState]:
    return {str(mek.id): mek.state for mek in node.kms_store.status().meks}


def _told(node: Node, event_id: str) -> list[object]:
    return [one["details"] for one in node.events.read() if one["id"] == event_id]


@FAULTS
@pytest.mark.parametrize("outside", [False, True], ids=["unused", "given up"])
def test_retiring(start: Path, few: Torture, faults: tuple[str, ...], *, outside: bool) -> None:
    """K-10: the MEK is there or gone, every other one opens, and what is gone is in no kept version of the store."""
    before = prepare(start, outside=outside)
    words = ("tsm", "security", "kms", "retire", before.retired, "--yes")
    lab = Lab(start, start.with_name("place"), words, {"STRONGROOM_HOME": "{place}/node"})
    home = lab.place / "node"

    def check(outcome: Outcome) -> None:
        nodes.check_opens(home)
        with nodes.opened(home) as node:
            meks = _meks(node)
            is_gone = before.retired not in meks
            assert is_gone or not outcome.succeeded
            assert tuple(mek for mek in meks if mek != before.retired) == before.others
            assert meks[before.others[-1]] is MekState.ENCRYPT_OR_DECRYPT
            assert list(meks.values()).count(MekState.ENCRYPT_OR_DECRYPT) == 1
            assert contents(node) == DATA
        if is_gone:
            with nodes.opened(home) as node, pytest.raises(KeyNotFoundError, match=before.retired):
                node.meks.retire(before.retired, "os:tester")
        else:
            run(home, *words)
        check_gone(home, before)
        nodes.check_whole(home)

    harness.torture(lab, few.choose(lab.points(*faults)), check)


def check_gone(home: Path, before: Before) -> None:
    """After a start: no kept store and no kept document holds the MEK, and the log has its end."""
    nodes.project(home)
    with nodes.opened(home) as node:
        assert node.kms_store.prove().is_ok
        document = node.configuration.document()
        assert PREVIOUS_STORE not in document.values
        assert node.coordinator.get("config/previous") is None
        assert tuple(_meks(node)) == before.others
        assert contents(node) == DATA
        assert node.meks.usage().missing == {}
        store, _ = node.kms_store.current()
        changed = _told(node, key_events.KMS_STORE_CHANGED)
        assert [one for one in changed if one["epoch"] == store.epoch], changed  # type: ignore[index]
