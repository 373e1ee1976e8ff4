"""A node's word on a change of keys is its own (docs/format/key-changes.md 2)."""

import json

import pytest

from strongroom.canonical import from_base64, to_base64
from strongroom.coordination.floors import Point
from strongroom.errors import FormatError, IntegrityError
from strongroom.ids import new_id
from strongroom.joining import acknowledgements, node_keys
from strongroom.joining.acknowledgements import Acknowledgement

INSTALLATION = new_id()
WORD = Acknowledgement(
    new_id(), "ab" * 32, Point(3, bytes(32)), new_id(), "w", "", "2026-11-30T00:00:00Z"
)


def test_a_word_is_read_as_it_was_said_by_its_node_alone() -> None:
    """Not by another node, not in the name of one, not for another installation, not changed."""
    keys, others = (node_keys.make(INSTALLATION, one) for one in ("node2", "node3"))
    raw = WORD.signed(keys)
    assert acknowledgements.parse(raw, INSTALLATION, "node2", keys.public.signing) == WORD
    for node, public in (("node2", others.public), ("node3", others.public)):
        with pytest.raises(IntegrityError):
            acknowledgements.parse(raw, INSTALLATION, node, public.signing)
    with pytest.raises(FormatError, match="in the name of another"):
        acknowledgements.parse(raw, INSTALLATION, "node3", keys.public.signing)
    with pytest.raises(IntegrityError):
        acknowledgements.parse(raw, new_id(), "node2", keys.public.signing)
    fields = json.loads(raw)
    said = from_base64(fields["said"])
    assert said is not None
    fields["said"] = to_base64(said.replace(b'"wrap":"w"', b'"wrap":"v"'))
    changed = json.dumps(fields, separators=(",", ":"), sort_keys=True).encode()
    with pytest.raises(IntegrityError):
        acknowledgements.parse(changed, INSTALLATION, "node2", keys.public.signing)
