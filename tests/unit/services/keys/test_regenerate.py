"""Regeneration on a node of this process: what it may not remove, and in which order (A-22, A-23; findings M2, M4)."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from strongroom.configuration_keys.keys import ConfigurationKeys
from strongroom.coordination.base import Change
from strongroom.crypto import rng
from strongroom.errors import FormatError, IntegrityError, StateError
from strongroom.eventlog.events import key_events
from strongroom.ids import new_id
from strongroom.kms.links import Known
from strongroom.node.opening import Node
from strongroom.secrets.committed import ValueKey
from strongroom.services.keys import regeneration
from strongroom.services.keys.regenerate import RegenerateService
from strongroom.services.keys.regeneration import JOURNAL, Journal
from tests.support.rotation_lab import REDIS, Lab
from tests.support.rotation_lab import one as one_consumer

ACTOR = "os:tester"


def quiet(_: str) -> None:
    pass


def keys_of(node: Node) -> ConfigurationKeys:
    return node.open_configuration_keys(node.configuration.document().installation_id)


def key_ids(node: Node) -> set[str]:
    return {record.id for record in keys_of(node).load()}


def told(node: Node, event_id: str) -> list[Mapping[str, object]]:
    found = []
    for record in node.events.read():
        details = record["details"]
        assert isinstance(details, Mapping)
        if record["id"] == event_id:
            found.append(details)
    return found


def _with_a_rotation_that_was_cut(node: Node) -> Lab:
    lab, consumer = one_consumer(node)
    consumer.component.down = True
    (outcome,) = lab.service.rotate(ACTOR, [REDIS])
    assert outcome.state == "kept"
    consumer.component.down = False
    return lab


def test_a_configuration_key_that_a_journal_needs_stays(whole: Node) -> None:
    """findings M2: regenerate removed it, and the value that the component may have could never be opened."""
    old = whole.configuration.document().configuration_key_id
    lab = _with_a_rotation_that_was_cut(whole)
    (found,) = lab.service.journals.all()
    whole.regenerate.run(ACTOR, quiet, ["keys"])
    assert whole.configuration.document().configuration_key_id != old
    assert old in key_ids(whole)
    assert old not in {details.get("key_id") for details in told(whole, key_events.KEY_REMOVED)}
    again = lab.service
    assert len(again.candidates(REDIS)) >= 2, "new and old of the journal open"
    (outcome,) = again.rotate(ACTOR, [REDIS])
    assert outcome.state == "rotated"
    assert lab.consumers[0].component.valid == [lab.present(lab.consumers[0])]
    assert found.journal.key_ids == {old}
    whole.regenerate.run(ACTOR, quiet, ["keys"])
    assert old not in key_ids(whole), "nothing needs it any more"


def test_a_configuration_key_that_the_keystore_wraps_is_moved_before_its_master_key_goes(
    whole: Node,
) -> None:
    """A key that stays for a journal is opened by the new master key, once the old one is gone."""
    old = whole.configuration.document().configuration_key_id
    _with_a_rotation_that_was_cut(whole)
    done = whole.regenerate.run(ACTOR, quiet, ["keys"])
    assert whole.keystore.load().aliases == (done.alias,)
    keys = keys_of(whole)
    assert keys.used_aliases == {done.alias}
    assert keys.open(old)


def test_what_is_removed_was_told_before(whole: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """C-23: a run that is killed in between, and resumed, no longer sees what was removed."""

    class CutError(Exception):
        pass

    def cut(*_: object) -> None:
        raise CutError

    old = whole.configuration.document().configuration_key_id
    (alias,) = whole.keystore.load().aliases
    for owner, name in ((ConfigurationKeys, "remove"), (type(whole.keystore), "remove_alias")):
        with monkeypatch.context() as patched:
            patched.setattr(owner, name, cut)
            with pytest.raises(CutError):
                whole.regenerate.run(ACTOR, quiet, ["keys"])
    whole.regenerate.run(ACTOR, quiet)
    removed = [str(details) for details in told(whole, key_events.KEY_REMOVED)]
    assert any(old in text for text in removed)
    assert any(repr(alias) in text for text in removed)


def test_the_old_configuration_key_stays_until_the_store_is_proved(
    whole: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """kms-store.md 4.2: `settle` comes before the removal."""
    old = whole.configuration.document().configuration_key_id
    seen: list[bool] = []

    def settle(_: object) -> None:
        seen.append(old in key_ids(whole))
        raise StateError("does not prove")

    with monkeypatch.context() as patched:
        patched.setattr(type(whole.kms_store), "settle", settle)
        with pytest.raises(StateError, match="does not prove"):
            whole.regenerate.run(ACTOR, quiet, ["keys"])
    assert seen == [True]
    assert old in key_ids(whole)


def test_keys_that_are_not_in_order_are_not_regenerated(whole: Node) -> None:
    """Nothing is begun: there is no journal that every later run would have to finish."""
    whole._kms_ports.marks.write(Known(99, "0" * 64, bytes(32)))
    before = whole.configuration.document()
    with pytest.raises(StateError, match="not in order"):
        whole.regenerate.run(ACTOR, quiet, ["keys"])
    assert whole.coordinator.get(JOURNAL) is None
    assert whole.configuration.document() == before
    assert len(whole.keystore.load().aliases) == 1


def test_pending_changes_are_not_regenerated_over(whole: Node) -> None:
    whole.configuration.set("gateway.timeout", "7", actor=ACTOR)
    with pytest.raises(StateError, match="pending"):
        whole.regenerate.run(ACTOR, quiet, ["keys"])
    assert whole.coordinator.get(JOURNAL) is None
    assert len(whole.keystore.load().aliases) == 1


def test_a_killed_run_that_had_put_its_values_puts_no_others(
    whole: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the put and the journal: the next run makes no further RMK, and tells what was done."""
    put = RegenerateService._replace_values

    class CutError(Exception):
        pass

    def cut(service: RegenerateService, journal: Journal, actor: str) -> None:
        put(service, journal, actor)
        raise CutError

    with monkeypatch.context() as patched:
        patched.setattr(RegenerateService, "_replace_values", cut)
        with pytest.raises(CutError):
            whole.regenerate.run(ACTOR, quiet, ["keys"])
    rmk_id = whole.kms_store.status().rmk_id
    assert whole.regenerate.run(ACTOR, quiet).resumed
    assert whole.kms_store.status().rmk_id == rmk_id
    assert whole.kms_store.status().is_ok


def test_the_scope_of_a_journal_counts_not_what_is_asked_later(whole: Node) -> None:
    journal = Journal(0, "", "", "", "", whole.kms_store.point(), ("jdbc.password",))
    whole.coordinator.put({JOURNAL: Change(journal.serialize(), 0)})
    before = whole.kms_store.status().rmk_id
    done = whole.regenerate.run(ACTOR, quiet, ["keys"])
    assert (done.resumed, done.alias) == (True, "")
    assert whole.kms_store.status().rmk_id == before


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'{"step":0}', b"null", b'{"other":1}'])
def test_a_damaged_journal_is_refused(whole: Node, raw: bytes) -> None:
    whole.coordinator.put({regeneration.JOURNAL: Change(raw, 0)})
    before = whole.configuration.document()
    with pytest.raises(FormatError, match="journal of a change of keys"):
        whole.regenerate.run(ACTOR, quiet)
    assert whole.configuration.document() == before


def test_a_plan_changes_nothing_and_names_what_is_left(whole: Node) -> None:
    plan = whole.regenerate.plan(["keys"])
    assert (plan.resumes, plan.secrets, len(plan.steps)) == (False, (), 6)
    assert whole.coordinator.get(JOURNAL) is None
    key_id = whole.present_keys().present.active
    journal = Journal(4, "a", key_id, "o", "", whole.kms_store.point(), ("keys",))
    whole.coordinator.put({JOURNAL: Change(journal.serialize(), 0)})
    left = whole.regenerate.plan()
    assert (left.resumes, len(left.steps)) == (True, 2)


def test_a_journal_of_another_time_is_refused(whole: Node) -> None:
    """review X4 (f); entries.md 3.4: of another store, or of keys that are not the records'."""
    present, active = whole.kms_store.point(), whole.present_keys().present.active
    strange = {
        "KMS store of epoch 9": Journal(1, "a", active, "o", "", present._replace(number=9)),
        "the records have other keys": Journal(4, "a", new_id(), "o", "", present, ("keys",)),
    }
    for version, (why, journal) in enumerate(strange.items()):
        whole.coordinator.put({JOURNAL: Change(journal.serialize(), version)})
        with pytest.raises(IntegrityError, match=why):
            whole.regenerate.run(ACTOR, quiet)


def test_a_journal_goes_on_with_the_store(whole: Node) -> None:
    """entries.md 3.4: a put that changes the store while a journal is there writes the journal anew."""
    journal = Journal(0, "", "", "", "", whole.kms_store.point(), ("jdbc.password",))
    whole.coordinator.put({JOURNAL: Change(journal.serialize(), 0)})
    whole.meks.rotate(ACTOR)
    entry = whole.coordinator.get(JOURNAL)
    assert entry
    assert Journal.parse(entry.value) == replace(journal, store=whole.kms_store.point())
    assert whole.regenerate.run(ACTOR, quiet).resumed


def test_a_configuration_key_that_only_the_version_before_needs_is_in_use(whole: Node) -> None:
    """findings M3: the version that is kept is the way back, and has to open."""
    key_id = new_id()
    text = ValueKey(new_id(), key_id, rng.new_key()).seal(REDIS, b"a value")
    configuration = whole.configuration
    before = configuration.configuration_keys_in_use()
    configuration.compare_and_put(lambda old: old.with_values({REDIS: text}))
    configuration.compare_and_put(lambda old: old.with_values({REDIS: None}))
    assert configuration.configuration_keys_in_use() == before | {key_id}
    configuration.forget_previous()
    assert configuration.configuration_keys_in_use() == before
