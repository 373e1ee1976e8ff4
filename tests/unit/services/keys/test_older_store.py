"""The KMS store of a node of format 1, brought to format 2: docs/format/kms-store.md; issue 10, parts D and I."""

import pytest

from strongroom.crypto import rng
from strongroom.envelope.header import Placement
from strongroom.errors import IntegrityError, RootRefusedError, StateError
from strongroom.eventlog.events import key_events
from strongroom.ids import new_id
from strongroom.kms import any_store
from strongroom.kms import store as kms_store
from strongroom.kms.links import Known
from strongroom.kms.store_1 import KmsStore1
from strongroom.node.opening import Node
from strongroom.roots.local import LocalRoot
from strongroom.services.keys.keeper import PREVIOUS_STORE
from strongroom.services.keys.older_store import OlderStore
from strongroom.services.keys.stored import STORE
from tests.support import older_stores

ACTOR = "os:tester"
HERE = Placement.standalone()


def put(node: Node, raw: bytes) -> None:
    sealed = node.configuration.seal_secret(STORE, raw)
    node.configuration.compare_and_put(lambda old: old.with_values({STORE: sealed}))


def made_older(node: Node, *former: bytes) -> bytes:
    """The node's store as a release before format 2 would have it, with the same keys; returns its bytes."""
    opened = node.kms_cache.opened()
    key_id = node.configuration.document().configuration_key_id
    wrap = older_stores.local_wrap(opened.rmk, node.configuration.open_key(key_id), key_id)
    store = opened.store
    bare = KmsStore1(
        store.epoch,
        store.installation_id,
        "local",
        store.rmk_id,
        older_stores.AT,
        (wrap,),
        (),
        former,
    )
    raw = older_stores.serialize(older_stores.seal_ring(bare, opened.ring, opened.rmk))
    put(node, raw)
    node._kms_ports.marks.write(Known(store.epoch, kms_store.digest(raw), b""))
    node.kms_cache.forget()
    return raw


def older(node: Node) -> OlderStore:
    return node.older_store


def told(node: Node) -> list[object]:
    return [r["details"] for r in node.events.read() if r["id"] == key_events.KMS_STORE_CHANGED]


def test_it_is_proved_and_held_as_it_lies(whole: Node) -> None:
    ring = whole.kms_cache.ring()
    raw = made_older(whole)
    found = older(whole)
    assert found.is_older
    found.check()
    held = found.held()
    assert (held.digest, held.ring) == (kms_store.digest(raw), ring)
    assert found.closed_stores() == {}
    assert found.root_settings() == ()
    assert whole.kms_store.stored() == raw


def test_it_is_brought_to_format_2_with_its_keys_and_that_may_be_repeated(whole: Node) -> None:
    header, dek = whole.envelope_keys.new_envelope(HERE)
    closed = older_stores.serialize(older_stores.first(rng.new_key(), new_id())[0])
    raw = made_older(whole, closed)
    older(whole).bring(ACTOR)
    store, present = whole.kms_store.current()
    assert (store.epoch, store.links[-1].digest) == (
        any_store.parse(raw).epoch + 1,
        kms_store.digest(raw),
    )
    assert whole.kms_store.closed_stores() == {any_store.reference(closed): closed}
    assert whole.envelope_keys.open_envelope(header, HERE).dek == dek
    assert whole.kms_store.status().is_ok
    assert PREVIOUS_STORE not in whole.configuration.document().values
    assert told(whole)[-1] == {"epoch": store.epoch, "sha256": kms_store.digest(present)}
    count = len(told(whole))
    older(whole).bring(ACTOR)
    assert whole.kms_store.current() == (store, present)
    assert len(told(whole)) == count
    with pytest.raises(StateError, match="any more"):
        older(whole).held()
    whole.meks.rotate(ACTOR)
    assert whole.kms_store.status().is_ok


def test_a_run_that_was_killed_behind_the_put_is_finished(
    whole: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = made_older(whole)
    before = len(told(whole))

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(OlderStore, "_mark", killed)
        with pytest.raises(KeyboardInterrupt):
            older(whole).bring(ACTOR)
    assert not older(whole).is_older
    assert whole.configuration.open_secret(PREVIOUS_STORE).reveal() == raw
    assert len(told(whole)) == before
    older(whole).bring(ACTOR)
    assert len(told(whole)) == before + 1
    assert whole.kms_store.status().is_ok
    assert PREVIOUS_STORE not in whole.configuration.document().values


def test_a_store_that_was_exchanged_is_refused(whole: Node) -> None:
    """R19: before anything is changed, and after a killed run, too."""
    old = made_older(whole)
    store = any_store.parse(old)
    whole._kms_ports.marks.write(Known(store.epoch, "0" * 64, b""))
    with pytest.raises(StateError, match="rolled back or replaced"):
        older(whole).check()
    with pytest.raises(IntegrityError, match="rolled back or replaced"):
        older(whole).bring(ACTOR)
    assert whole.kms_store.stored() == old
    whole._kms_ports.marks.write(Known(store.epoch, kms_store.digest(old), b""))
    older(whole).bring(ACTOR)
    whole._kms_ports.marks.write(Known(store.epoch, "0" * 64, b""))
    with pytest.raises(IntegrityError, match="rolled back or replaced"):
        older(whole).bring(ACTOR)


def test_a_newer_store_whose_maker_was_killed_is_told_first(whole: Node) -> None:
    raw = made_older(whole)
    whole._kms_ports.marks.write(Known(0, "0" * 64, b""))
    before = len(told(whole))
    older(whole).check()
    assert told(whole)[before:] == [
        {"epoch": any_store.parse(raw).epoch, "sha256": kms_store.digest(raw)}
    ]
    older(whole).bring(ACTOR)
    assert whole.kms_store.status().is_ok


def test_a_root_that_does_not_open_it_stops_it(
    whole: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = made_older(whole)

    def refuses(*_: object) -> None:
        raise RootRefusedError("disabled")

    monkeypatch.setattr(LocalRoot, "unwrap", refuses)
    with pytest.raises(StateError, match="disabled"):
        older(whole).check()
    with pytest.raises(RootRefusedError):
        older(whole).bring(ACTOR)
    assert whole.kms_store.stored() == raw
