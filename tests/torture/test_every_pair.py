"""Every move between two kinds of roots there is, each once: a round over all 42 ordered pairs (R12).

A sample is a piece of the round, from a seeded place.
"""

from itertools import pairwise
from pathlib import Path

import pytest

from strongroom.envelope.header import Placement
from strongroom.extracts.stored import StoredFile
from strongroom.ids import new_id
from strongroom.kms.states import MekState
from strongroom.node.opening import Node
from tests.conftest import Torture
from tests.torture import nodes, root_moves
from tests.torture.root_moves import Labs

pytestmark = pytest.mark.torture

KINDS = ("local", "aws-moto", "azure", "openbao", "pkcs11", "gcp", "tpm")
HERE = Placement(new_id(), new_id())
_SAMPLE = 4


def every_pair(kinds: tuple[str, ...]) -> list[str]:
    """A closed walk from the first kind, which goes from each kind to each other one once (Hierholzer's)."""
    left = {kind: [other for other in kinds if other != kind] for kind in kinds}
    walk: list[str] = []
    path = [kinds[0]]
    while path:
        if left[path[-1]]:
            path.append(left[path[-1]].pop())
        else:
            walk.append(path.pop())
    return walk[::-1]


def test_the_round_has_every_pair_once() -> None:
    found = list(pairwise(every_pair(KINDS)))
    assert len(found) == len(set(found)) == len(KINDS) * (len(KINDS) - 1)
    assert all(before != after for before, after in found)


def write(node: Node, written: dict[StoredFile, bytes]) -> None:
    content = f"extract {len(written)}".encode()
    writer = node.vault.create(HERE, encrypted=True)
    writer.write(content)
    written[writer.commit()] = content


def check(node: Node, written: dict[StoredFile, bytes]) -> None:
    """Every extract of every mode before is read."""
    for stored, content in written.items():
        with node.vault.open(stored, HERE) as reader:
            assert b"".join(reader.iterate()) == content


def test_every_pair_of_kinds(
    labs: Labs,
    fresh_node: Path,
    tmp_path: Path,
    torture: Torture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In each mode one extract is written; all are read after each move, by the process that moved and by a new one."""
    walk = every_pair(KINDS)
    if not torture.whole:
        start = torture.seed % (len(walk) - _SAMPLE)
        walk = walk[start : start + _SAMPLE + 1]
    root_moves.start_roots(labs, sorted({*walk}), monkeypatch)
    home = nodes.copy(fresh_node, tmp_path / "start") / "node"
    written: dict[StoredFile, bytes] = {}
    rmks: set[str] = set()
    for name in walk:
        settings = root_moves.settings_of(labs, name)
        with nodes.opened(home) as node:
            node.modes.set_mode(settings, "os:tester")
            check(node, written)
            write(node, written)
            root_moves.check_settings(node, settings)
        with nodes.opened(home) as node:
            check(node, written)
            status = node.kms_store.status()
            assert (status.is_ok, status.mode) == (True, settings.kind if settings else "local")
            states = [mek.state for mek in status.meks]
            assert states.count(MekState.ENCRYPT_OR_DECRYPT) == 1
            assert status.rmk_id not in rmks
            rmks.add(status.rmk_id)
    with nodes.opened(home) as node:
        assert node.events.verify().breaks == ()
