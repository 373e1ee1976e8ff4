"""Backup and restore on real nodes: A-24 to A-26, C-13, Q-07, Q-08, P9, R17."""

import base64
import tarfile
from pathlib import Path

import pytest

from strongroom.access.permissions import Subject
from strongroom.backup.open_backup import OpenBackup
from strongroom.crypto import age
from strongroom.crypto.age import OpenWith, SealTo
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import (
    AuthenticationError,
    ConflictError,
    KeyNotFoundError,
    StateError,
    UsageError,
)
from strongroom.eventlog.events import backup_events
from strongroom.filestore.blockfile import OpenedFile
from strongroom.kms.states import MekState
from strongroom.node import backup
from strongroom.node.opening import Node
from strongroom.runtime import running
from strongroom.services.backups.keys import BackupKeys
from strongroom.services.backups.make import BackupRequest
from strongroom.services.content.items import placement_of
from strongroom.services.jobs.one import stored_file
from tests.support import backups
from tests.support.backups import State


def test_a_backup_comes_back_on_the_same_node(source: Node, tmp_path: Path) -> None:
    """A-26: new RMK, new MEK that encrypts, the others decrypt-only; C-13: the configuration stays."""
    before, wanted = source.kms_store.status(), backups.contents(source)
    made = backups.make(source, tmp_path / "b.tsbak")
    assert (made.extracts, made.plain, made.unreadable) == (3, 1, ())
    backups.publish(source, "later", b"published after the backup")
    parameter = source.configuration.open_secret("jdbc.password").reveal()
    done = backups.restore(source, made.path)
    assert backups.contents(source) == wanted
    assert backups.credentials(source) == {b"embedded secret"}
    after = source.kms_store.status()
    assert after.is_ok
    assert after.rmk_id == done.rmk_id != before.rmk_id
    states = {mek.id: mek.state for mek in after.meks}
    assert states[before.meks[0].id] is MekState.DECRYPT_ONLY
    assert states[done.mek_id] is MekState.ENCRYPT_OR_DECRYPT
    assert source.configuration.open_secret("jdbc.password").reveal() == parameter
    assert done.missing == {}
    told = [str(record["id"]) for record in source.events.read()]
    assert backup_events.BACKUP_MADE in told
    assert backup_events.RESTORE in told
    with source.repository.reading() as tx:
        assert tx.intents.list() == []
        assert backups.files(source) == tx.contents.storage_keys()


def test_a_sealed_backup_comes_back_on_a_fresh_machine(
    source: Node, target: Node, tmp_path: Path
) -> None:
    """A-25: another installation, another keystore; P9."""
    wanted, identity = backups.contents(source), age.new_identity()
    made = backups.make(source, tmp_path / "b.tsbak", SealTo((identity.recipient,)))
    before = target.kms_store.status()
    with pytest.raises(KeyNotFoundError, match="nothing here opens the keys"):
        backups.restore(target, made.path)
    for _ in range(2):  # the second restore is harmless
        done = backups.restore(target, made.path, OpenWith((identity,)))
        assert backups.contents(target) == wanted
        assert backups.credentials(target) == {b"embedded secret"}
        status = target.kms_store.status()
        assert status.is_ok
        active = [mek for mek in status.meks if mek.state is MekState.ENCRYPT_OR_DECRYPT]
        assert [mek.id for mek in active] == [done.mek_id]
        assert status.rmk_id not in {before.rmk_id, made.manifest.rmk_id}
    assert backups.files(target) == {
        key for key in backups.files(target) if not key.startswith(".")
    }
    # from now on it opens by the MEK that came in
    assert backups.restore(target, made.path).opened_by == "a MEK of this installation"


def test_a_refused_restore_changes_nothing(source: Node, target: Node, tmp_path: Path) -> None:
    """Q-07: the keys are tried before the first change."""
    made = backups.make(source, tmp_path / "b.tsbak")
    backups.publish(target, "own", b"of the target")
    before = State.of(target)
    with pytest.raises(KeyNotFoundError):
        backups.restore(target, made.path)
    assert State.of(target) == before


def test_without_keys_extracts_are_listed_and_not_lost(
    source: Node, target: Node, tmp_path: Path
) -> None:
    """Q-07; the store is kept closed, and its MEKs show as unavailable until a root opens it."""
    identity = age.new_identity()
    made = backups.make(source, tmp_path / "b.tsbak", SealTo((identity.recipient,)))
    done = backups.restore(target, made.path, without_keys=True)
    assert len(done.missing) == 2
    assert done.credentials_dropped == 1
    usage = target.meks.usage()
    assert {use.extracts for use in usage.missing.values()} == {2}
    status = target.kms_store.status()
    assert {mek.id for mek in status.meks if mek.state is MekState.UNAVAILABLE} == set(
        made.manifest.mek_ids
    )
    backups.restore(target, made.path, OpenWith((identity,)))
    assert backups.contents(target) == backups.contents(source)
    left = target.kms_store.status().meks
    assert MekState.UNAVAILABLE not in {mek.state for mek in left}


def test_rotation_and_regeneration_between(source: Node, tmp_path: Path) -> None:
    """R17: the configuration key that wrapped the backup's RMK is gone; a MEK of the ring still opens it."""
    wanted = backups.contents(source)
    made = backups.make(source, tmp_path / "b.tsbak")
    source.meks.rotate("os:tester")
    source.regenerate.run("os:tester", lambda _: None)
    assert backups.restore(source, made.path).opened_by == "a MEK of this installation"
    assert backups.contents(source) == wanted
    assert backups.credentials(source) == {b"embedded secret"}


def test_sessions_go_and_revoked_tokens_stay_revoked(source: Node, tmp_path: Path) -> None:
    local = Subject.local("os:tester")
    with source.repository.reading() as tx:
        admin = tx.users.find_by_name("admin")
    assert admin is not None
    kept, _ = source.tokens.create(local, admin.id, "kept")
    revoked, _ = source.tokens.create(local, admin.id, "revoked")
    session, _ = source.auth.sign_in("admin", SecretBytes(b"correct horse battery"), "")
    made = backups.make(source, tmp_path / "b.tsbak")
    source.tokens.revoke(local, revoked.id)
    source.auth.identify(session)
    assert backups.restore(source, made.path).tokens_dropped == 1
    assert [token.id for token in source.tokens.list(local)] == [kept.id]
    with pytest.raises(AuthenticationError):
        source.auth.identify(session)


def test_a_backup_is_never_written_over(source: Node, tmp_path: Path) -> None:
    made = backups.make(source, tmp_path / "b.tsbak")
    was = made.path.read_bytes()
    with pytest.raises(ConflictError, match="exists already"):
        backups.make(source, made.path)
    assert made.path.read_bytes() == was


def test_settings_need_a_seal(source: Node, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="sealed only"):
        backups.make(source, tmp_path / "b.tsbak", settings=b"sealed")
    assert not (tmp_path / "b.tsbak").exists()


def test_a_mek_is_not_retired_while_a_backup_runs(source: Node, tmp_path: Path) -> None:
    """Usage and retire count backup pins."""

    source.meks.rotate("os:tester")
    unused = source.kms_store.status().meks[0].id
    with source.repository.reading() as tx:
        for row in list(tx.contents.list_for_site(tx.sites.page().rows[0].id)):
            if row.file_id:
                with source.repository.transaction() as writing:
                    changed = source.vault.rewrap(stored_file(row), placement_of(row))
                    writing.contents.update(row.id, mek_id=changed.mek_id)
    refused = []

    def during(name: str, total: int) -> None:
        del total
        if name == "backup":
            with pytest.raises(StateError, match="cannot be retired"):
                source.meks.retire(unused, "os:tester")
            refused.append(name)

    keys = BackupKeys(source.kms_store, source.assets, source.identity)
    request = BackupRequest(tmp_path / "b.tsbak", "os:tester")
    backup.backups(source, keys).make(request, during)
    assert refused
    source.meks.retire(unused, "os:tester")


def test_what_goes_while_a_backup_runs_is_in_it_all_the_same(source: Node, tmp_path: Path) -> None:
    """Pinned: deletion and replacement lose nothing; a rotation meanwhile is taken in."""

    wanted = backups.contents(source)

    def during(name: str, total: int) -> None:
        del total
        if name == "backup":
            source.meks.rotate("os:tester")
            with source.repository.transaction() as tx:
                for row in tx.contents.list_for_site(tx.sites.page().rows[0].id):
                    tx.contents.delete(row.id)
                    source.files.delete(row.storage_key)

    keys = BackupKeys(source.kms_store, source.assets, source.identity)
    request = BackupRequest(tmp_path / "b.tsbak", "os:tester")
    made = backup.backups(source, keys).make(request, during)
    assert backups.contents(source) == {}
    assert backups.files(source) == set()
    assert made.manifest.rmk_id == source.kms_store.status().rmk_id
    backups.restore(source, made.path)
    assert backups.contents(source) == wanted


def test_no_key_is_in_it_in_plain(source: Node, tmp_path: Path) -> None:
    """A-24: neither the RMK nor a MEK nor an asset key, raw or in base64 or hexadecimal."""

    identity = age.new_identity()
    made = backups.make(source, tmp_path / "b.tsbak", SealTo((identity.recipient,)))
    opened, data = source.kms_cache.opened(), made.path.read_bytes()
    secrets = [opened.rmk.material, *(mek.material for mek in opened.ring), identity.text]
    secrets += [key.material for key in source.assets.ring().keys]
    for secret in secrets:
        raw = secret.reveal()
        for form in (raw, base64.b64encode(raw), raw.hex().encode()):
            assert form not in data


def test_two_restores_or_a_served_node_are_refused(source: Node, tmp_path: Path) -> None:

    made = backups.make(source, tmp_path / "b.tsbak")
    before = State.of(source)
    with running.sole_server(source.paths), pytest.raises(StateError, match="replaces"):
        backups.restore(source, made.path)
    assert State.of(source) == before


def test_it_is_a_tar_that_tar_lists(source: Node, tmp_path: Path) -> None:

    made = backups.make(source, tmp_path / "b.tsbak")
    with tarfile.open(made.path) as listed:
        names = listed.getnames()
    with OpenedFile(made.path) as file:
        said = OpenBackup.check(file).manifest
    assert names == [*(one.name for one in said.entries), "manifest.json", "seal.json"]
