"""What was replaced or retired lies nowhere in the data directory any more, once the keys are green (crypto review X19).

Copies of the directory, backups, and logs and snapshots of a coordination service elsewhere keep it: SECURITY.md says so.
"""

from pathlib import Path

import pytest

from strongroom.config import versions
from strongroom.kms import store as kms_store
from strongroom.node import opening
from strongroom.node.opening import Node
from strongroom.services.keys.keeper import PREVIOUS_STORE
from strongroom.services.keys.stored import STORE

ACTOR = "os:tester"
_PIECE = 64


def sealed(node: Node) -> str:
    """The KMS store as its encrypted text; each sealing has a salt of its own."""
    return node.configuration.document().values[STORE]


def files_with(home: Path, text: str) -> list[str]:
    """The files that hold a piece from the midst of a text, in whatever state their pages are."""
    middle = len(text) // 2
    piece = text[middle : middle + _PIECE].encode()
    assert len(piece) == _PIECE
    found = [path for path in home.rglob("*") if path.is_file() and piece in path.read_bytes()]
    return sorted(str(path.relative_to(home)) for path in found)


@pytest.mark.parametrize("is_open", [False, True], ids=["after the command", "beside a server"])
def test_a_retired_mek_is_in_no_file_of_the_node(node: Node, is_open: bool) -> None:
    """The store with that MEK was in free pages and in the write-ahead log of the database, under keys that still count."""
    home = node.paths.root
    server = opening.open_node(str(home)) if is_open else None
    if server is not None:
        assert server.configuration.document()
    first = sealed(node)
    assert files_with(home, first), "it is there as long as it counts"
    old = node.kms_cache.opened().ring.active.id
    node.meks.rotate(ACTOR)
    second = sealed(node)
    node.meks.retire(old, ACTOR)
    document = node.configuration.document()
    assert PREVIOUS_STORE not in document.values
    assert node.coordinator.get(versions.PREVIOUS) is None
    present = kms_store.parse(node.kms_store.stored())
    assert old not in {mek.id for mek in present.meks}
    if server is not None:
        assert server.configuration.document() == document
    node.close()
    for text in (first, second):
        assert files_with(home, text) == []
    assert files_with(home, document.values[STORE])
    if server is not None:
        server.close()
