"""The software of nodes as entries (docs/format/nodes.md 8; matrix 45): said by each node itself, raised and never lowered."""

import json

import pytest

from strongroom.errors import FormatError, IntegrityError
from strongroom.ids import new_id
from strongroom.joining import node_keys, software
from strongroom.joining.software import InForce, NodeSoftware, Software

AT = "2026-11-30T20:00:00Z"
OLD = Software("0.9.12", frozenset({"repository-0004"}))
NEW = Software("0.10.0", frozenset({"repository-0004", "repository-0005"}))


def test_what_a_node_says_comes_back_and_nobody_else_says_it() -> None:
    """Matrix 45: another node's word, one that was changed, and one of another installation are refused."""
    keys = node_keys.make(new_id(), "node2")
    said = NodeSoftware("node2", NEW, AT)
    entry = said.signed(keys.installation_id, keys.signing)
    public = keys.public.signing
    assert software.parse(entry, keys.installation_id, "node2", public) == said
    other = node_keys.make(keys.installation_id, "node2")
    changed = entry.replace(b"0.10.0", b"0.11.0")
    refused = [
        (entry, keys.installation_id, "node2", other.public.signing),
        (entry, new_id(), "node2", public),
        (entry, keys.installation_id, "node3", public),
        (changed, keys.installation_id, "node2", public),
    ]
    for one in refused:
        with pytest.raises(IntegrityError):
            software.parse(*one)


@pytest.mark.parametrize(
    "changed",
    [
        {"version": "0.10"},
        {"version": "0.10.0rc1"},
        {"formats": ["Repository"]},
        {"formats": [f"f-{number}" for number in range(201)]},
        {"format": "strongroom-node-software-2"},
        {"more": "x"},
    ],
    ids=["two numbers", "a candidate", "capitals", "too many", "another form", "more"],
)
def test_an_entry_that_is_none_is_refused(changed: dict[str, object]) -> None:
    keys = node_keys.make(new_id(), "node2")
    said = NodeSoftware("node2", NEW, AT).signed(keys.installation_id, keys.signing)
    text = json.dumps({**json.loads(said), **changed}, sort_keys=True, separators=(",", ":"))
    with pytest.raises(FormatError):
        software.parse(text.encode(), keys.installation_id, "node2", keys.public.signing)


def test_what_counts_is_what_all_know_and_goes_one_way() -> None:
    """Matrix 45: versions are compared as numbers, and the release that goes back takes nothing with it."""
    first = InForce().raised([OLD, NEW])
    assert first == InForce("0.9.12", OLD.formats)
    second = first.raised([NEW, NEW])
    assert second == InForce("0.10.0", NEW.formats)
    assert second.raised([OLD, NEW]) == second
    assert software.parse_in_force(second.serialize()) == second
    with pytest.raises(FormatError):
        software.parse_in_force(InForce().serialize())


def test_what_a_release_may_not_do_is_said() -> None:
    counts = InForce("0.10.0", NEW.formats)
    assert NEW.words(counts) == "0.10.0"
    assert OLD.words(counts).startswith("0.9.12, too old to serve")
    assert OLD.words(InForce("0.10.0", OLD.formats)).startswith(
        "0.9.12, too old for the controller"
    )
    assert OLD.words(InForce()) == "0.9.12"
