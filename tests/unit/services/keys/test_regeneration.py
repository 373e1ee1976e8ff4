"""The journal of a regeneration, and which newer master key it explains (docs/format/entries.md 3.4)."""

from dataclasses import replace
from datetime import timedelta

import pytest

from strongroom.coordination.floors import Point
from strongroom.coordination.proving import ProvingLoader
from strongroom.crypto import rng
from strongroom.errors import FormatError, IntegrityError
from strongroom.ids import new_id
from strongroom.node.opening import Node
from strongroom.services.keys import regeneration, store_journals
from strongroom.services.keys.regeneration import Journal

ACTOR = "os:tester"
STORE = Point(3, bytes(32))
SINGLE = Journal(1, "master-key-2", new_id(), new_id(), new_id(), STORE, ("keys",))


def test_a_journal_comes_back_from_its_bytes_with_and_without_its_attempt() -> None:
    assert Journal.parse(SINGLE.serialize()) == SINGLE
    assert b"generation" not in SINGLE.serialize()
    of_cluster = replace(SINGLE, node="node2", generation=4097)
    assert Journal.parse(of_cluster.serialize()) == of_cluster


@pytest.mark.parametrize("members", [{"node": "node2"}, {"node": "node2", "generation": 0}])
def test_half_an_attempt_is_refused(members: dict[str, object]) -> None:
    found = store_journals.KIND.loads(SINGLE.serialize())
    plain = {name: found.value(name) for name in found.names}
    with pytest.raises(FormatError, match="journal of a change of keys"):
        Journal.parse(store_journals.KIND.dumps({**plain, **members}))


def _leave_over(node: Node) -> str:
    """A newer master key, as an attempt leaves it that another node finished."""
    alias, later = "master-key-7", node.clock.now() + timedelta(days=1)
    node.keystore.add_alias(alias, rng.new_key(), created_at=later)
    assert node.keystore.load().newest == alias
    return alias


def test_a_master_key_that_nothing_names_keeps_no_node_from_its_records(whole: Node) -> None:
    """docs/format/configuration-keys.md 4.4 (b): the anchor says that no later records were in force."""
    digest, alias = whole.present_keys().proved.digest, _leave_over(whole)
    assert whole.present_keys().proved.digest == digest
    assert whole.regenerate.run(ACTOR, lambda _: None, ["keys"]).alias not in {"", alias}
    assert alias not in whole.keystore.load().aliases


def test_records_of_before_are_refused_beside_a_newer_master_key(whole: Node) -> None:
    """(b) is no way back: the anchor knows later ones."""
    keys = whole.present_keys()
    before, active = keys.path.read_bytes(), keys.present.active
    _leave_over(whole)
    whole.present_keys().advance(2049, active, "")
    whole.configuration.set("gateway.https.port", "9443", actor=ACTOR)
    for folder in whole.keystore.folders:
        (folder / keys.path.name).write_bytes(before)
    with pytest.raises(IntegrityError):
        _ = whole.present_keys().proved


def test_the_anchor_explains_a_newer_master_key_for_the_records_in_force_alone(whole: Node) -> None:
    """4.4 (b)."""
    keys = whole.authority.present()
    entries = ProvingLoader(whole.entry_store, keys)
    assert regeneration.explains_newer(entries, keys)
    assert regeneration.explains_newer(entries, keys._replace(generation=keys.generation + 1))
    assert not regeneration.explains_newer(entries, keys._replace(digest=bytes(32)))
    before = keys._replace(generation=keys.generation - 1)
    assert not regeneration.explains_newer(entries, before)
