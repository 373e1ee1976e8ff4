"""Recovery on a node of this process, and roots that lie (docs/format/recovery.md 6; findings M4)."""

import shutil
from dataclasses import replace

import pytest

from strongroom.coordination.base import Change
from strongroom.crypto import age, rng
from strongroom.crypto.age import Identity
from strongroom.envelope.header import Placement
from strongroom.errors import (
    FormatError,
    IntegrityError,
    KeyNotFoundError,
    RootError,
    RootRefusedError,
    StateError,
    StrongroomError,
)
from strongroom.eventlog.events import key_events
from strongroom.kms import next_store
from strongroom.kms import store as kms_store
from strongroom.node import recover as recovering
from strongroom.node.opening import Node
from strongroom.roots import recipient
from strongroom.services.keys.stored import STORE
from strongroom.services.recovery import journal as recovery_journal
from strongroom.services.recovery.opener import RecoveredKeys
from strongroom.services.recovery.recover import RecoverService
from tests.support.lying_roots import LIES, lie_about_new_wraps

ACTOR = "os:tester"
HERE = Placement.standalone()


@pytest.fixture
def identity(whole: Node) -> Identity:
    found = age.new_identity()
    whole.roots.add(recipient.settings(found.recipient), ACTOR)
    return found


def quiet(_: str) -> None:
    pass


def service(node: Node) -> RecoverService:
    return recovering.recovery_of(node)


def event_ids(node: Node) -> list[str]:
    return [str(record["id"]) for record in node.events.read()]


def lose_keystore(node: Node) -> Node:
    """As on a machine that has everything else."""
    for place in node.keystore.folders:
        shutil.rmtree(place)
    shutil.rmtree(node.paths.keystore_password.parent)
    open_anew(node)
    return node


def open_anew(node: Node) -> None:
    """Forget what this process has opened."""
    for name in (
        "keystore",
        "configuration",
        "envelope_keys",
        "kms_store",
        "meks",
        "modes",
        "roots",
    ):
        assert hasattr(Node, name), name
        node.__dict__.pop(name, None)


def test_a_whole_node_is_left_as_it_is(whole: Node, identity: Identity) -> None:
    before = whole.configuration.document()
    assert service(whole).plan((identity,)) == ()
    assert not service(whole).recover((identity,), ACTOR, quiet).done
    assert whole.configuration.document() == before
    assert key_events.NODE_RECOVERED not in event_ids(whole)


def test_a_drill_is_noted_and_told(whole: Node, identity: Identity) -> None:
    drilled = service(whole).drill((identity,), ACTOR)
    assert (drilled.rmk_id, drilled.not_noted) == (whole.kms_store.status().rmk_id, "")
    assert drilled.configuration_keys == (whole.configuration.document().configuration_key_id,)
    assert key_events.RECOVERY_DRILLED in event_ids(whole)
    before = whole.configuration.document()
    service(whole).drill((identity,), ACTOR, note=False)
    assert whole.configuration.document() == before


@pytest.mark.parametrize("name", LIES)
def test_a_recovery_whose_new_root_lies_puts_nothing(
    whole: Node, identity: Identity, name: str
) -> None:
    """findings M4: the old store stays, wraps for the identity and all, and a later run finishes."""
    header, dek = whole.envelope_keys.new_envelope(HERE)
    lose_keystore(whole)
    opened = service(whole)._ports.opener.open((identity,))
    journal = service(whole)._begin(opened)
    service(whole)._keystore.renew(opened, ACTOR)
    open_anew(whole)
    journal = service(whole)._keys.add_key(journal, opened, ACTOR)
    before = whole.configuration.document()
    roots = lie_about_new_wraps(whole, LIES[name])
    with pytest.raises(StrongroomError):
        service(whole)._keys.replace_store(journal, opened, (identity,), ACTOR, quiet)
    assert roots.asked
    assert whole.configuration.document().values == before.values
    assert key_events.NODE_RECOVERED not in event_ids(whole)
    roots.honest_calls = 1000
    service(whole)._keys.replace_store(journal, opened, (identity,), ACTOR, quiet)
    assert whole.kms_store.status().is_ok
    assert whole.envelope_keys.open_envelope(header, HERE).dek == dek


def test_a_lost_keystore_is_made_anew_and_everything_opens(whole: Node, identity: Identity) -> None:
    header, dek = whole.envelope_keys.new_envelope(HERE)
    rmk_id = whole.kms_store.status().rmk_id
    lose_keystore(whole)
    done = service(whole).recover((identity,), ACTOR, quiet)
    assert (done.done, done.keystore_renewed, done.left) == (True, True, ())
    assert whole.kms_store.status().is_ok
    assert whole.kms_store.status().rmk_id == done.rmk_id != rmk_id
    assert whole.envelope_keys.open_envelope(header, HERE).dek == dek
    told = event_ids(whole)
    assert told.count(key_events.NODE_RECOVERED) == 1
    assert key_events.RMK_UNWRAPPED in told
    assert whole.coordinator.get(recovery_journal.JOURNAL) is None


def test_strangers_are_refused_before_anything_is_written(whole: Node, identity: Identity) -> None:
    before = whole.configuration.document()
    stranger = age.new_identity()
    for ask in (
        lambda: service(whole).plan((stranger,)),
        lambda: service(whole).drill((stranger,), ACTOR),
        lambda: service(whole).recover((stranger,), ACTOR, quiet),
    ):
        with pytest.raises(RootRefusedError, match="no recovery recipient"):
            ask()
    assert whole.configuration.document() == before
    assert whole.coordinator.get(recovery_journal.JOURNAL) is None


def test_a_node_without_recipients_cannot_be_recovered(whole: Node) -> None:
    with pytest.raises(StateError, match="no configuration key is wrapped"):
        service(whole).recover((age.new_identity(),), ACTOR, quiet)


def test_a_store_that_was_changed_is_not_believed(whole: Node, identity: Identity) -> None:
    """findings M4; recovery.md 6.1: the MAC is checked before anything is written."""
    store, raw = whole.kms_store.current()
    forged = kms_store.serialize(replace(store, mac=bytes(32)))
    assert forged != raw
    sealed = whole.configuration.seal_secret(STORE, forged)
    whole.configuration.compare_and_put(lambda old: old.with_values({STORE: sealed}))
    before = whole.configuration.document()
    with pytest.raises(IntegrityError):
        service(whole).recover((identity,), ACTOR, quiet)
    assert whole.configuration.document() == before


def test_a_recipient_that_gives_another_key_opens_nothing(
    whole: Node, identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """findings M4: whoever knows a public key can seal another key to it."""
    opener = service(whole)._ports.opener
    assert opener.open((identity,)).store.rmk.id == whole.kms_store.status().rmk_id

    class Liar:
        def unwrap(self, _: object) -> object:
            return rng.new_key()

    monkeypatch.setattr(type(opener), "provider", lambda *_: Liar())
    with pytest.raises(IntegrityError):
        opener.open_store(whole.kms_store.current()[0], (identity,))


def test_a_data_key_that_comes_back_different_ends_the_opening(
    whole: Node, identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """findings M4: the canary is asked before a recovery writes."""

    def fails(*_: object) -> None:
        raise IntegrityError

    monkeypatch.setattr(next_store, "check_canary", fails)
    with pytest.raises(IntegrityError):
        service(whole).plan((identity,))


def test_no_other_root_is_asked_in_a_recovery(whole: Node, identity: Identity) -> None:
    (local, _) = whole.kms_store.current()[0].wraps
    with pytest.raises(RootError, match="is not asked in a recovery"):
        service(whole)._ports.opener.provider(local, (identity,))


def test_a_key_that_was_not_opened_is_named() -> None:
    with pytest.raises(KeyNotFoundError, match="not wrapped for the recovery recipient"):
        RecoveredKeys({}).open("some-key")


@pytest.mark.parametrize("raw", [b"{", b"[]", b'{"keystore":true,"rmk_id":"x","v":1}'])
def test_a_damaged_journal_is_refused(whole: Node, identity: Identity, raw: bytes) -> None:
    whole.coordinator.put({recovery_journal.JOURNAL: Change(raw, 0)})
    before = whole.configuration.document()
    with pytest.raises(FormatError, match="journal of a change of keys"):
        service(whole).recover((identity,), ACTOR, quiet)
    assert whole.configuration.document() == before
