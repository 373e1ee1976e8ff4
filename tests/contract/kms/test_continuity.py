"""A KMS store that does not follow from the one before it: docs/format/kms-store.md 6; issue 10, part D; review X5, X12."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from strongroom.cli import dispatch
from strongroom.envelope.header import Placement
from strongroom.errors import IntegrityError, RootRefusedError, StrongroomError
from strongroom.eventlog.events import key_events
from strongroom.ids import InstallationId, new_id
from strongroom.kms import next_store
from strongroom.kms import store as kms_store
from strongroom.kms.links import Reason
from strongroom.kms.next_store import NextStore, RootSet
from strongroom.kms.store import Predecessor
from strongroom.node import opening
from strongroom.node.opening import Node
from strongroom.roots.settings import RootSettings
from strongroom.services.keys.stored import STORE
from tests.support.memory_root import Outside

ACTOR = "os:tester"
HERE = Placement.standalone()
BAO = RootSettings("openbao", "https://bao.example/transit/keys/one")


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch) -> Outside:
    found = Outside()
    found.stand_in(monkeypatch)
    return found


def put(node: Node, raw: bytes) -> None:
    """As whoever has the configuration key and writes the coordination database does."""
    sealed = node.configuration.seal_secret(STORE, raw)
    node.configuration.compare_and_put(lambda old: old.with_values({STORE: sealed}))


def own_store(node: Node) -> NextStore:
    """A store of the forger: his RMK, his MEK, local mode, and the next epoch; he has the configuration key alone."""
    present, raw = node.kms_store.current()
    document = node.configuration.document()
    roots = RootSet("local", node.local_root(document.configuration_key_id))
    own = next_store.initial(InstallationId(document.installation_id), roots, node.clock.now())
    before = Predecessor(present.epoch, raw, own.rmk, present.links)
    return replace(own, store=kms_store.succeeding(own.store, own.ring, own.rmk, before))


def declared(node: Node) -> NextStore:
    """The same, but it says itself that nothing opened the store before it."""
    own, (present, raw) = own_store(node), node.kms_store.current()
    before = Predecessor(present.epoch, raw, None, present.links)
    made = kms_store.succeeding(own.store, own.ring, own.rmk, before, Reason.ABANDONED)
    return replace(own, store=made)


def unconnected(node: Node) -> NextStore:
    """The same, of a later epoch, from stores that were never here."""
    own = own_store(node)
    for _ in range(3):
        before = Predecessor(own.store.epoch, b"elsewhere", own.rmk)
        own = replace(own, store=kms_store.succeeding(own.store, own.ring, own.rmk, before))
    return own


FORGED: dict[str, tuple[Callable[[Node], NextStore], str]] = {
    "signed by the forger": (own_store, "somebody without them has put it there"),
    "without a signature": (declared, "nobody here has accepted"),
    "from elsewhere": (unconnected, "does not lead back"),
}


@pytest.mark.parametrize("is_external", [False, True], ids=["local", "outside"])
@pytest.mark.parametrize("name", FORGED)
def test_a_store_of_whoever_has_the_configuration_key_alone_is_refused(
    node: Node, outside: Outside, tmp_path: Path, name: str, is_external: bool
) -> None:
    """X5: Status OK, exit 0, and the forger opened the next file; a node with a root outside became local."""
    forge, words = FORGED[name]
    if is_external:
        node.modes.set_mode(BAO, ACTOR)
    node.meks.rotate(ACTOR)
    made = forge(node)
    put(node, made.raw)
    again = opening.open_node(str(node.paths.root))
    seen = [record["id"] for record in again.events.read()]
    assert any(words in problem for problem in again.kms_store.status().problems)
    with pytest.raises(IntegrityError, match="was seen before"):
        again.envelope_keys.new_envelope(HERE)
    with pytest.raises(IntegrityError, match="was seen before"):
        again.meks.rotate(ACTOR)
    assert [record["id"] for record in again.events.read()] == seen
    again.close()
    file = tmp_path / "plain"
    file.write_bytes(b"a secret")
    home = f"--data-dir={node.paths.root}"
    assert dispatch.main("strongroom", ["encrypt", str(file), str(tmp_path / "out"), home]) == 20
    assert not (tmp_path / "out").exists()


def test_a_process_that_runs_on_does_not_take_it_either(node: Node) -> None:
    """X5: it has the keys of the store before in memory, and reads a new store as soon as it is there."""
    header, dek = node.envelope_keys.new_envelope(HERE)
    put(node, own_store(node).raw)
    for use in (
        lambda: node.envelope_keys.new_envelope(HERE),
        lambda: node.envelope_keys.open_envelope(header, HERE),
    ):
        with pytest.raises(IntegrityError, match="was seen before"):
            use()
    assert dek


def test_an_administrator_may_accept_it_by_epoch_and_digest(node: Node) -> None:
    """6.5: an event names both, and whoever runs goes on from there."""
    made = declared(node)
    put(node, made.raw)
    again = opening.open_node(str(node.paths.root))
    digest = kms_store.digest(made.raw)
    again.kms_store.accept_epoch(made.store.epoch, digest, ACTOR)
    last = list(again.events.read())[-1]
    wanted = {"epoch": made.store.epoch, "sha256": digest}
    assert (last["id"], last["details"]) == (key_events.KMS_EPOCH_ACCEPTED, wanted)
    assert again.kms_store.status().is_ok
    again.close()
    node.envelope_keys.new_envelope(HERE)


def test_an_older_store_that_was_accepted_serves_in_a_process_that_has_seen_a_newer_one(
    node: Node,
) -> None:
    """6.5; R19: a coordination database that was put back on purpose, beside a server that runs on."""
    old = node.kms_store.current()[1]
    node.meks.rotate(ACTOR)
    node.envelope_keys.new_envelope(HERE)
    put(node, old)
    with pytest.raises(IntegrityError, match="was rolled back or replaced"):
        node.envelope_keys.new_envelope(HERE)
    other = opening.open_node(str(node.paths.root))
    other.kms_store.accept_epoch(1, kms_store.digest(old), ACTOR)
    other.close()
    node.envelope_keys.new_envelope(HERE)


def test_a_store_that_was_missed_in_between_is_followed(node: Node) -> None:
    """6.4: a process that slept through two rotations asks nobody."""
    node.envelope_keys.new_envelope(HERE)
    other = opening.open_node(str(node.paths.root))
    other.meks.rotate(ACTOR)
    other.meks.rotate(ACTOR)
    active = other.kms_cache.ring().active.id
    other.close()
    header, _ = node.envelope_keys.new_envelope(HERE)
    assert header.mek_ids == {active}


def test_a_store_left_behind_is_said_openly_and_the_node_goes_on(
    node: Node, outside: Outside
) -> None:
    """6.3: `--abandon-external-keys` breaks the chain by an event of its own, with the digests of both stores."""
    node.modes.set_mode(BAO, ACTOR)
    before = kms_store.digest(node.kms_store.current()[1])
    node.kms_cache.forget()
    outside.failure = RootRefusedError("the key was deleted")
    node.modes.set_mode(None, ACTOR, abandon=True)
    store, raw = node.kms_store.current()
    (told,) = [r for r in node.events.read() if r["id"] == key_events.KMS_STORE_ABANDONED]
    wanted = {"epoch": store.epoch, "before": before, "after": kms_store.digest(raw)}
    assert told["details"] == wanted
    assert store.links[-1].reason is Reason.ABANDONED
    assert node.kms_store.status().is_ok


def test_a_wrap_of_another_store_is_refused_before_any_root_is_asked(
    node: Node, outside: Outside
) -> None:
    """X12: a wrap's context was not compared, so the binding was whatever the record said."""
    node.modes.set_mode(BAO, ACTOR)
    store, raw = node.kms_store.current()
    text = raw.decode()
    for name in (store.installation_id, store.rmk_id, store.wraps[0].id):
        pairs = text.index('"context":{')
        at = text.index(f'"{name}"', pairs)
        put(node, f'{text[:at]}"{new_id()}"{text[at + 38 :]}'.encode())
        again = opening.open_node(str(node.paths.root))
        calls = outside.calls
        with pytest.raises(StrongroomError, match="belongs to another store"):
            again.envelope_keys.new_envelope(HERE)
        assert outside.calls == calls
        again.close()
