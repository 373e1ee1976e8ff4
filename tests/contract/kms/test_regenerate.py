"""`regenerate-internal-tokens`: A-22, A-23, C-08, C-23, C-24, Q-04."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from strongroom.cli import dispatch
from strongroom.envelope.header import Placement
from strongroom.errors import ConflictError, KeyNotFoundError, StateError
from strongroom.eventlog.events import key_events, log_events, secret_events
from strongroom.ids import new_id
from strongroom.keystore.master_key import Keystore
from strongroom.keystore.replicas import FILE_NAME, KeystoreDirectory
from strongroom.kms.links import Known
from strongroom.node.opening import Node
from strongroom.repository.rows import CredentialRow
from strongroom.secrets import enc
from strongroom.secrets.generate import generated_names
from strongroom.services.keys.regenerate import RegenerateService
from strongroom.services.keys.regeneration import JOURNAL
from strongroom.services.secrets import rotate
from tests.support.stored_forms import differing_files

HERE = Placement(new_id(), new_id())
STEPS = [
    name
    for name in vars(RegenerateService)
    if name
    in {
        "_rotate_secrets",
        "_add_master_key",
        "_add_configuration_key",
        "_replace_values",
        "_project",
        "_retire_configuration_key",
        "_retire_master_keys",
    }
]


def quiet(sentence: str) -> None:
    del sentence


def details(record: Mapping[str, object]) -> Mapping[str, object]:
    found = record["details"]
    assert isinstance(found, Mapping)
    return found


def secrets_of(node: Node) -> dict[str, bytes]:
    values = node.configuration.document().values
    return {
        name: node.configuration.open_secret(name).reveal()
        for name, text in values.items()
        if enc.is_enc(text)
    }


def set_secret(node: Node, name: str, value: str) -> None:
    node.configuration.set(name, value, actor="os:tester")
    node.configuration.apply(actor="os:tester")


def check_all_new(node: Node, before: dict[str, bytes], old_key_id: str) -> None:
    after = secrets_of(node)
    assert after["ssl.key.passphrase"] == before["ssl.key.passphrase"] == b"entered by hand"
    # the fingerprint of the identity is on paper
    kept = {"ssl.key.passphrase", "installation.identity_key"}
    assert {name for name in before if before[name] == after[name]} == kept
    assert len(after["eventlog.signing_key"]) == 32, "the former key is gone"
    assert node.kms_store.status().is_ok
    assert node.coordinator.get(JOURNAL) is None
    assert len(node.keystore.load().aliases) == 1
    document = node.configuration.document()
    assert document.configuration_key_id != old_key_id
    keys = node.open_configuration_keys(document.installation_id)
    assert [record.id for record in keys.records] == [document.configuration_key_id]
    assert not differing_files(node.configuration)
    keys.verify()


def test_every_internal_key_is_new_and_entered_secrets_are_as_they_were(node: Node) -> None:
    """A-23, C-24."""
    set_secret(node, "ssl.key.passphrase", "entered by hand")
    before = secrets_of(node)
    document = node.configuration.document()
    status = node.kms_store.status()
    alias = node.keystore.load().newest
    header, dek = node.envelope_keys.new_envelope(HERE)

    said: list[str] = []
    done = node.regenerate.run("os:tester", said.append)

    assert generated_names() < before.keys()
    check_all_new(node, before, document.configuration_key_id)
    assert node.keystore.load().newest == done.alias != alias
    after = node.kms_store.status()
    assert after.rmk_id != status.rmk_id
    assert [mek.state.value for mek in after.meks] == ["decrypt-only", "encrypt or decrypt"]
    assert node.envelope_keys.open_envelope(header, HERE).dek == dek
    assert not done.resumed
    assert len(said) == 7
    assert said[-1].startswith("100% - ")


def test_the_event_log_tells_of_every_key_and_of_no_value(node: Node) -> None:
    """C-23."""
    done = node.regenerate.run("os:tester", quiet)
    records = list(node.events.read())
    told = {(record["id"], details(record).get("kind")) for record in records}
    for kind in ("master", "configuration", "rmk", "mek", "asset"):
        assert (key_events.KEY_GENERATED, kind) in told
    for kind in ("master", "configuration"):
        assert (key_events.KEY_REMOVED, kind) in told
    named = {
        details(record)["parameter"]
        for record in records
        if record["id"] == secret_events.SECRET_ENCRYPTED
        and details(record)["key_id"] == done.configuration_key_id
    }
    assert generated_names() <= named
    text = str(records)
    assert not [name for name, value in secrets_of(node).items() if value in text.encode()]


def test_the_event_log_gets_a_new_key_and_checkpoints_from_before_stay_good(
    node: Node, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """X7: the key was never renewed, not even after a leak."""
    words = ("--data-dir", str(node.paths.root), "events")
    assert dispatch.main("strongroom", [*words, "checkpoint"]) == 0
    kept = tmp_path / "kept"
    kept.write_text(capsys.readouterr().out)
    node.regenerate.run("os:tester", quiet)
    ids = [record["id"] for record in node.events.read()]
    assert ids.count(log_events.EVENT_LOG_REKEYED) == 1
    assert ids.index(log_events.EVENT_LOG_REKEYED) > ids.index(key_events.KMS_STORE_CHANGED)
    assert dispatch.main("strongroom", [*words, "verify", "--checkpoint", str(kept)]) == 0
    report = node.events.verify()
    assert (report.is_whole, report.unacknowledged) == (True, ())
    capsys.readouterr()
    assert dispatch.main("strongroom", [*words, "checkpoint"]) == 0
    assert capsys.readouterr().out.splitlines()[0] != kept.read_text().splitlines()[0]
    before = kept.read_bytes()
    kept.write_bytes(before.replace(before.splitlines()[3], b"A" * 43 + b"="))
    assert dispatch.main("strongroom", [*words, "verify", "--checkpoint", str(kept)]) == 20


def test_credentials_are_sealed_again_under_the_new_asset_key(node: Node) -> None:
    """C-08: the asset key is renewed with the others, and the old one goes."""
    content_id = new_id()
    key_id, sealed = node.assets.seal(b"hunter2", content_id=content_id)
    row = _credential(node, content_id, key_id, sealed)
    node.regenerate.run("os:tester", quiet)
    with node.repository.reading() as tx:
        (found,) = tx.credentials.list()
    assert found.asset_key_id != key_id
    assert found.id == row.id
    opened = node.assets.open_(found.asset_key_id, found.sealed, content_id=content_id)
    assert opened.reveal() == b"hunter2"
    with pytest.raises(KeyNotFoundError):
        node.assets.open_(key_id, sealed, content_id=content_id)


def _credential(node: Node, content_id: str, key_id: str, sealed: str) -> CredentialRow:
    from strongroom.repository.rows import ContentRow

    with node.repository.transaction() as tx:
        (site,) = tx.sites.list()
        (project,) = tx.projects.page(site.id).rows
        now = "2026-01-02T03:04:05Z"
        tx.contents.insert(
            ContentRow(
                id=content_id,
                site_id=site.id,
                project_id=project.id,
                owner_id=project.owner_id,
                kind="datasource",
                name="a",
                content_url="a",
                file_name="a.hyper",
                file_type="hyper",
                storage_key="",
                file_id="",
                mek_id="",
                plaintext_bytes=0,
                stored_bytes=0,
                state=0,
                has_extract=True,
                created_at=now,
                updated_at=now,
            )
        )
        return tx.credentials.insert(CredentialRow(new_id(), content_id, "u", sealed, key_id))


@pytest.mark.parametrize("step", range(len(STEPS)))
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_run_that_was_cut_is_finished_by_the_next(
    node: Node, step: int, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut before a step begins, and after its work but before the journal knows of it."""

    class CutError(Exception):
        pass

    set_secret(node, "ssl.key.passphrase", "entered by hand")
    before, old_key_id = secrets_of(node), node.configuration.document().configuration_key_id
    original = getattr(RegenerateService, STEPS[step])

    def cut(service: RegenerateService, *arguments: object) -> None:
        if moment == "after":
            original(service, *arguments)
        raise CutError

    with monkeypatch.context() as patched:
        patched.setattr(RegenerateService, STEPS[step], cut)
        with pytest.raises(CutError):
            node.regenerate.run("os:tester", quiet)
    assert node.kms_store.status().is_ok
    assert secrets_of(node)["ssl.key.passphrase"] == b"entered by hand"
    assert node.regenerate.run("os:tester", quiet).resumed
    check_all_new(node, before, old_key_id)


def test_a_removal_cut_between_two_replicas_is_finished_in_all(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old master key stayed in the replicas that the killed run had not come to."""

    class CutError(Exception):
        pass

    set_secret(node, "ssl.key.passphrase", "entered by hand")
    before, old_key_id = secrets_of(node), node.configuration.document().configuration_key_id
    removing = KeystoreDirectory.remove_alias

    def cut(directory: KeystoreDirectory, alias: str) -> Keystore:
        others = {path: path.read_bytes() for path in _replicas(directory)[1:]}
        removing(directory, alias)
        for path, data in others.items():
            path.write_bytes(data)
        raise CutError

    with monkeypatch.context() as patched:
        patched.setattr(KeystoreDirectory, "remove_alias", cut)
        with pytest.raises(CutError):
            node.regenerate.run("os:tester", quiet)
    assert node.regenerate.run("os:tester", quiet).resumed
    check_all_new(node, before, old_key_id)
    assert len({path.read_bytes() for path in _replicas(node.keystore)}) == 1


def _replicas(directory: KeystoreDirectory) -> list[Path]:
    return [folder / FILE_NAME for folder in directory.folders]


def test_pending_changes_stand_in_the_way(node: Node) -> None:
    node.configuration.set("gateway.timeout", "7", actor="os:tester")
    with pytest.raises(StateError, match="pending"):
        node.regenerate.run("os:tester", quiet)


def test_keys_that_are_not_in_order_stand_in_the_way(node: Node) -> None:
    marks = node._kms_ports.marks
    marks.write(Known(99, "0" * 64, bytes(32)))
    with pytest.raises(StateError, match="not in order"):
        node.regenerate.run("os:tester", quiet)
    assert node.coordinator.get(JOURNAL) is None


def test_no_key_goes_while_a_rotation_may_have_sealed_under_it(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A value that is sealed, and stands in no journal yet, must be one that can be opened."""
    old = node.configuration.document().configuration_key_id
    monkeypatch.setattr(rotate, "LOCK_WAIT_S", 0.0)
    with (
        node.coordinator.lock(rotate.LOCK, wait_s=0),
        pytest.raises(ConflictError, match=rotate.LOCK),
    ):
        node.regenerate.run("os:tester", quiet, ["keys"])
    assert old in key_ids(node)
    assert node.regenerate.run("os:tester", quiet).resumed
    assert old not in key_ids(node)


def key_ids(node: Node) -> set[str]:
    keys = node.open_configuration_keys(node.configuration.document().installation_id)
    return {record.id for record in keys.records}
