"""The file by which a node that was off knows the others (docs/format/key-changes.md 3.4)."""

import pytest

from strongroom.errors import FormatError
from strongroom.joining import known_nodes, node_keys

KEYS = node_keys.make("6f1f5a86-41fc-4f0e-9d5a-6e1f2ad7f001", "node2").public
DATA = known_nodes.serialize({"node2": KEYS})


def test_the_file_comes_back_as_it_was() -> None:
    assert known_nodes.parse(DATA) == {"node2": KEYS}
    assert known_nodes.parse(known_nodes.serialize({})) == {}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"node2"', b'"two"'),
        (b"known-nodes-1", b"known-nodes-2"),
        (b'"signing_key":"', b'"signing_key":"AAAA'),
        (b'"sealing_key"', b'"sealing_kex"'),
        (b"\n", b""),
    ],
)
def test_a_damaged_file_is_refused(old: bytes, new: bytes) -> None:
    assert DATA.replace(old, new, 1) != DATA
    with pytest.raises(FormatError):
        known_nodes.parse(DATA.replace(old, new, 1))
