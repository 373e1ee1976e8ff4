"""What rarely happens to a backup, and still must come out right."""

import os
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from strongroom import canonical
from strongroom.backup import archive, manifest, opening
from strongroom.backup.archive import BytesSource
from strongroom.backup.open_backup import OpenBackup, open_header
from strongroom.crypto import age, rng
from strongroom.crypto.age import OpenWith, SealTo
from strongroom.crypto.secret import SecretBytes
from strongroom.envelope.reader import read_header
from strongroom.errors import (
    ConflictError,
    FormatError,
    IntegrityError,
    StateError,
    StorageError,
    StrongroomError,
)
from strongroom.filestore.blockfile import OpenedFile
from strongroom.filestore.pins import FOLDER, Pins
from strongroom.ids import InstallationId, MekId, RmkId, new_id
from strongroom.kms import store as kms_store
from strongroom.kms.keyring import KeyRing
from strongroom.kms.states import MekState
from strongroom.kms.store_1 import KmsStore1, WrappedMek
from strongroom.node import backup as node_backups
from strongroom.node import backup_roots
from strongroom.node.opening import Node
from strongroom.repository import portable
from strongroom.repository.revision import REVISION
from strongroom.repository.rows import IntentRow
from strongroom.roots import recipient
from strongroom.roots.base import WrapRecord
from strongroom.roots.settings import RootSettings
from strongroom.services.backups import checks, verify
from strongroom.services.backups import make as making
from strongroom.services.backups.keys import BackupKeys
from strongroom.services.backups.make import BackupRequest
from strongroom.services.backups.restore import RestoreRequest
from tests.contract.test_file_modes import loose
from tests.support import backups, older_stores
from tests.support.archives import Memory
from tests.support.backups import State
from tests.support.rows import NOW


def test_a_start_lets_go_of_what_dead_processes_kept(source: Node) -> None:
    assert not node_backups.tidy(source)
    source.files.keep()
    mek_id = source.kms_store.status().meks[0].id
    with source.repository.transaction() as tx:
        tx.intents.insert(IntentRow(f"backup/x/{mek_id}", "", mek_id, "backup", NOW))
    parent = source.paths.repository.parent
    dead, alive = parent / ".drill-999999999", node_backups.drill_folder(source)
    for folder in (dead, alive, parent / ".restore"):
        folder.mkdir()
    with source.coordinator.lock("backup", wait_s=0):
        assert node_backups.tidy(source)  # what lives is left alone
    assert (source.paths.extracts / FOLDER).exists()
    assert node_backups.tidy(source)
    assert [path.name for path in parent.glob(".*")] == [alive.name]
    with source.repository.reading() as tx:
        assert tx.intents.list() == []
    assert not (source.paths.extracts / FOLDER).exists()


def test_files_that_go_faster_than_they_are_pinned(
    source: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each time another one is missing: the backup gives up in words, and keeps nothing."""
    monkeypatch.setattr(Pins, "add", lambda *_: [new_id()])
    with pytest.raises(StateError, match="faster than they could be pinned"):
        backups.make(source, tmp_path / "b.tsbak")
    assert list(tmp_path.glob("*.tsbak")) == []
    assert not (source.paths.extracts / FOLDER).exists()


@pytest.mark.parametrize(
    ("module", "bounds"),
    [
        (archive, {"MAX_ENTRIES": 17}),
        (portable, {"MAX_LINE_BYTES": 400}),
        (manifest, {"MAX_KEY_BYTES": 40}),
        (manifest, {"_BASE_BYTES": 1000, "_EACH_BYTES": 0}),
    ],
    ids=["entries", "row", "key", "manifest"],
)
def test_what_its_own_reader_would_refuse_is_not_written(
    source: Node,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    module: ModuleType,
    bounds: dict[str, int],
) -> None:
    """docs/format/backup.md 1.3, 3.2, 4.4: one set of bounds for both."""
    row = backups.publish(source, "more", b"")
    with source.repository.transaction() as tx:
        tx.contents.update(row.id, attributes={"x": "x" * (2 << 20)})
    data = backups.make(source, tmp_path / "a.tsbak").path.read_bytes()
    OpenBackup.check(BytesSource(data)).examine_rows()
    for name, bound in bounds.items():
        monkeypatch.setattr(module, name, bound)
    with pytest.raises(FormatError):
        OpenBackup.check(BytesSource(data)).examine_rows()
    with pytest.raises(StateError) as caught:
        backups.make(source, tmp_path / "b.tsbak")
    assert re.search(f"more than.* {max(bounds.values())}", caught.value.message)
    assert caught.value.hint
    assert [path.name for path in tmp_path.glob("*.tsbak")] == ["a.tsbak"]
    assert not (source.paths.extracts / FOLDER).exists()


@pytest.mark.parametrize("known", [True, False], ids=["known", "not known"])
def test_what_is_read_back_comes_from_the_disk(
    source: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    """The system drops its copy of what was just written before the first byte is read back."""
    path, told, seen = tmp_path / "b.tsbak", [], []
    advise = os.posix_fadvise

    def note(fd: int, *rest: int) -> None:
        told.append((os.fstat(fd).st_ino, *rest))
        advise(fd, *rest)

    def look(name: str, total: int) -> None:
        del total
        if name == "verify":
            seen.extend(told)

    if known:
        monkeypatch.setattr(os, "posix_fadvise", note)
    else:
        monkeypatch.delattr(os, "posix_fadvise")
    service = node_backups.backups(
        source, BackupKeys(source.kms_store, source.assets, source.identity)
    )
    service.make(BackupRequest(path, "os:tester"), look)
    whole = (path.stat().st_ino, 0, 0, os.POSIX_FADV_DONTNEED)
    assert seen == ([whole] if known else [])


def test_keys_that_never_rest_end_a_backup(source: Node, tmp_path: Path) -> None:
    keys = BackupKeys(source.kms_store, source.assets, source.identity)

    class Restless:
        wrap = keys.wrap

        def seal(self, _: object) -> object:
            raise ConflictError("the keys were changed while the backup was made")

    service = node_backups.backups(source, Restless())  # type: ignore[arg-type]
    with pytest.raises(ConflictError, match="keys were changed"):
        service.make(BackupRequest(tmp_path / "b.tsbak", "os:tester"), backups.silent)
    assert list(tmp_path.glob("*.tsbak")) == []


def test_a_rewrap_and_a_retirement_while_a_file_is_copied(
    source: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A header that names a key made and retired meanwhile: run again, and never a backup that does not open."""
    real, calls = checks.meks_of, []

    def first_strange(key: str, file: OpenedFile) -> frozenset[str] | None:
        if key.endswith(".sealed"):
            calls.append(key)
        return frozenset({new_id()}) if len(calls) == 1 else real(key, file)

    monkeypatch.setattr(checks, "meks_of", first_strange)
    with pytest.raises(ConflictError, match="retired while the backup was made"):
        backups.make(source, tmp_path / "b.tsbak")
    assert list(tmp_path.glob("*.tsbak")) == []


def test_a_header_opens_for_its_row_only(source: Node, tmp_path: Path) -> None:
    """S9: the file, the site and the extract are the row's."""
    made = backups.make(source, tmp_path / "b.tsbak")
    backup = OpenBackup.check(BytesSource(made.path.read_bytes()))
    found, ring = backup.examine_rows(), source.kms_cache.opened().ring
    row = next(row for row in found.extracts.values() if row["file_id"])
    header = read_header(backup.extract(row["storage_key"]))
    assert open_header(header, row, ring)
    for wrong in ({"site_id": new_id()}, {"id": new_id()}):
        with pytest.raises(IntegrityError, match="belongs to"):
            open_header(header, {**row, **wrong}, ring)
    with pytest.raises(IntegrityError):
        open_header(header, {**row, "file_id": "00" * 16}, ring)


def test_a_recovery_recipient_opens_it_where_there_is_no_node(source: Node, tmp_path: Path) -> None:
    identity = age.new_identity()
    settings = recipient.settings(identity.recipient, label="kept apart")
    source.roots.add(settings, "os:tester")
    made = backups.make(source, tmp_path / "b.tsbak")
    backup = OpenBackup.check(BytesSource(made.path.read_bytes()))
    means = node_backups.means(None, OpenWith((identity,)), None)
    opened = opening.open_keys(backup, means)
    assert opened.by == f"the recovery recipient {identity.recipient}"
    strange = node_backups.means(None, OpenWith((age.new_identity(),)), None)
    with pytest.raises(opening.NOT_OPENED, match="nothing here opens") as caught:
        opening.open_keys(backup, strange)
    assert "--identity" in caught.value.hint


def test_a_root_that_is_built_where_there_is_no_node() -> None:
    means = node_backups.means(None, backups.NOTHING, None)
    with pytest.raises(StateError, match="no root of the kind"):
        means.build(RootSettings("unknown", "x"))


def test_a_drill_tells_a_size_that_is_not_the_rows(
    source: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = backups.make(source, tmp_path / "b.tsbak")
    backup = OpenBackup.check(BytesSource(made.path.read_bytes()))
    opened = opening.open_keys(backup, node_backups.means(source, backups.NOTHING, None))
    receipt = verify.receipt_of(backup, made.path, made.size, opened, source.clock)
    monkeypatch.setattr("strongroom.envelope.spans.drain", lambda *_, **__: 1)
    verify.drill(backup, opened, tmp_path / "trial", receipt, backups.silent)
    assert set(receipt.unreadable.values()) == {"its size is not what its row says"}
    assert not receipt.is_good
    assert not (tmp_path / "trial").exists()


def test_a_disk_that_refuses_leaves_what_was_there(
    source: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failure after the first change: rows and files are as before, staged files go."""
    made = backups.make(source, tmp_path / "b.tsbak")
    wanted, before = backups.contents(source), State.of(source)

    def refuse(*_: object, **__: object) -> None:
        raise StorageError("the disk is full")

    monkeypatch.setattr("strongroom.repository.portable.PortableRows._insert", refuse)
    monkeypatch.setattr(
        "strongroom.services.backups.restore.RestoreService._try_rows", lambda *_: None
    )
    with pytest.raises(StorageError, match="the disk is full"):
        backups.restore(source, made.path)
    monkeypatch.undo()
    after = State.of(source)
    assert (after.rows, after.files) == (before.rows, before.files)
    assert backups.contents(source) == wanted
    assert source.kms_store.status().is_ok


def test_a_key_store_that_would_be_too_large_is_refused_first(
    source: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = backups.make(source, tmp_path / "b.tsbak")
    before = State.of(source)
    monkeypatch.setattr(kms_store, "MAX_MEKS", 1)
    with pytest.raises(StateError, match="would have 2 MEKs"):
        backups.restore(source, made.path)
    monkeypatch.undo()
    assert State.of(source) == before


def test_two_keys_of_one_id_stop_a_restore(
    source: Node, target: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Q-08: same id, other key: one of the two is corrupt, and nothing is changed."""
    identity = age.new_identity()
    made = backups.make(source, tmp_path / "b.tsbak", SealTo((identity.recipient,)))
    backups.restore(target, made.path, OpenWith((identity,)))
    before = State.of(target)
    backup = OpenBackup.check(BytesSource(made.path.read_bytes()))
    means = node_backups.means(None, OpenWith((identity,)), None)
    opened = opening.open_keys(backup, means)
    other = replace(opened.keys.ring.active, material=rng.new_key())
    keys = replace(opened.keys, ring=KeyRing((other,)))
    monkeypatch.setattr(opening, "open_keys", lambda *_: opening.Opened(keys, "a forgery"))
    with pytest.raises(ConflictError, match="two different keys"):
        backups.restore(target, made.path)
    assert State.of(target) == before


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077], ids=oct)
def test_everything_has_its_mode(source: Node, umask: int) -> None:
    """S2: the file, its folder and what is written beside."""

    def look(name: str, total: int) -> None:
        del name, total
        assert loose(source.paths.root) == []

    keys, path = (
        BackupKeys(source.kms_store, source.assets, source.identity),
        source.paths.backups / "deep" / "b.tsbak",
    )
    before = os.umask(umask)
    try:
        service = node_backups.backups(source, keys)
        made = service.make(BackupRequest(path, "os:tester"), look)
        backups.restore(source, made.path)
        look("", 0)
    finally:
        os.umask(before)
    assert path.is_file()


def test_the_end_of_a_backup_is_manifest_and_seal(source: Node, tmp_path: Path) -> None:
    raw = backups.make(source, tmp_path / "b.tsbak").path.read_bytes()
    last = archive.scan(BytesSource(raw))[-1]
    cut = raw[: last.offset - archive.BLOCK] + bytes(2 * archive.BLOCK)
    with pytest.raises(FormatError, match="does not end with manifest and seal"):
        OpenBackup.check(BytesSource(cut))


def test_the_seal_names_the_rmk_of_the_store(source: Node, tmp_path: Path) -> None:
    """docs/format/backup.md 4.3: it is compared before any key is open."""
    raw = backups.make(source, tmp_path / "b.tsbak").path.read_bytes()
    entry = archive.scan(BytesSource(raw))[-1]
    seal = manifest.parse_seal(raw[entry.offset : entry.offset + entry.size])
    forged = replace(seal, rmk_id=new_id()).serialize()
    assert len(forged) == entry.size
    changed = raw[: entry.offset] + forged + raw[entry.offset + entry.size :]
    OpenBackup.check(BytesSource(raw))
    with pytest.raises(FormatError, match="seal is of another backup"):
        OpenBackup.check(BytesSource(changed))


def test_progress_counts_the_bytes_of_each_stage(source: Node, tmp_path: Path) -> None:
    totals: dict[str, int] = {}
    done: Counter[str] = Counter()

    def stage(name: str, total: int) -> Callable[[int], None]:
        totals[name] = total
        return lambda count: done.update({name: count})

    keys = BackupKeys(source.kms_store, source.assets, source.identity)
    request = BackupRequest(tmp_path / "b.tsbak", "os:tester")
    made = node_backups.backups(source, keys).make(request, stage)
    with OpenedFile(made.path) as file, node_backups.alone(source):
        backup = OpenBackup.check(file, stage("check", file.size))
        means = node_backups.means(source, backups.NOTHING, None)
        asked = RestoreRequest("os:tester", "b.tsbak")
        node_backups.restores(source).restore(backup, means, asked, stage)
    assert done["restore"] == totals["restore"] == backup.extract_bytes > 0
    for name, padding in (("backup", 64 << 10), ("verify", 64 << 10), ("check", 64 << 10)):
        assert abs(done[name] - totals[name]) < padding, name


def forged(kind: str, root_key_id: str, options: dict[str, str]) -> OpenBackup:
    """What anybody can make without any key: digests are right, the root is theirs."""
    now, backup_id = NOW, new_id()
    installation, rmk_id, wrap_id, mek_id = (new_id() for _ in range(4))
    context = {"installation": installation, "rmk": rmk_id, "wrap": wrap_id}
    wrap = WrapRecord(
        wrap_id, kind, "indirect", f"{root_key_id}/x", "", b"x", b"", context, now, now
    )
    mek = WrappedMek(MekId(mek_id), MekState.ENCRYPT_OR_DECRYPT, now, now, None, b"y" * 60)
    store = KmsStore1(
        1, InstallationId(installation), kind, RmkId(rmk_id), now, (wrap,), (mek,), (), b"z" * 32
    )
    named = {"kind": kind, "root_key_id": root_key_id, "options": options, "secrets": []}
    memory = Memory()
    writer = archive.ArchiveWriter(memory)
    writer.add_bytes(archive.MARK, manifest.mark(backup_id))
    for name in portable.NAMES:
        writer.add_bytes(f"repository/{name}.jsonl", b"")
    writer.add_bytes("keys/store.json", older_stores.serialize(store))
    writer.add_bytes("keys/roots.json", canonical.dumps({"v": 1, "roots": [named]}))
    writer.add_bytes("keys/assets", b"a" * 40)
    writer.add_bytes("keys/mek", b"b" * 76)
    said = manifest.Manifest(
        backup_id, now, "", "1", installation, REVISION, kind, rmk_id, 1, (mek_id,), (),
        manifest.listed(writer.entries),
    )  # fmt: skip
    raw, seal = backups.forged(said, manifest.Seal("", rmk_id, "00" * 32))
    writer.add_bytes("manifest.json", raw)
    writer.add_bytes("seal.json", seal)
    writer.finish()
    return OpenBackup.check(BytesSource(bytes(memory.data)))


@pytest.mark.parametrize("use_backup_roots", [False, True])
@pytest.mark.parametrize("with_node", [False, True])
def test_a_forged_backup_runs_nothing_of_its_choice(
    source: Node, tmp_path: Path, use_backup_roots: bool, with_node: bool
) -> None:
    """A TCTI `cmd:` is a command, and nothing vouches for a backup before its keys are open."""
    proof = tmp_path / "ran"
    tcti = f"cmd:touch {proof}"
    backup = forged("tpm", f"tpm:{tcti}", {"tcti": tcti})
    node = source if with_node else None
    means = node_backups.means(node, backups.NOTHING, None, use_backup_roots=use_backup_roots)
    with pytest.raises(opening.NOT_OPENED) as caught:
        opening.open_keys(backup, means)
    assert not proof.exists()
    if use_backup_roots:
        assert "would choose what runs here" in caught.value.message
        assert opening.trusted_roots(backup, means) == ()
    else:
        assert "'tpm' 'tpm:cmd:touch" in caught.value.message
        assert "--use-backup-roots" in caught.value.hint


ARN = "arn:aws:kms:eu-west-1:111122223333:key/12345678-1234-1234-1234-123456789012"
GCP_KEY = "projects/p/locations/l/keyRings/r/cryptoKeys/k"
BAO_URL = "https://bao.example.org:8200"


@pytest.mark.parametrize(
    "root",
    [
        RootSettings("aws", ARN, {"region": "eu-west-1"}),
        RootSettings(
            "azure",
            "https://v.vault.azure.net/keys/k",
            {"vault": "https://v.vault.azure.net", "key": "k", "client_id": "c"},
        ),
        RootSettings(
            "openbao",
            f"{BAO_URL}/v1/transit/keys/k",
            {"address": BAO_URL, "key": "k", "mount": "transit"},
            {"token": SecretBytes(b"t")},
        ),
        RootSettings("gcp", GCP_KEY, {"endpoint": "https://x.p.googleapis.com"}),
        RootSettings("tpm", "tpm:device:/dev/tpmrm0", {"tcti": "device:/dev/tpmrm0"}),
        RootSettings("tpm", "tpm:swtpm:path=/run/t", {"tcti": "swtpm:path=/run/t"}),
    ],
)
def test_proper_settings_of_a_backup_are_made_anew(root: RootSettings) -> None:
    assert backup_roots.checked(root) == root
    with pytest.raises(StrongroomError):
        backup_roots.checked(replace(root, root_key_id="another", options={}))


@pytest.mark.parametrize(
    "root",
    [
        RootSettings("pkcs11", "pkcs11:token=t", {"module": "/tmp/x.so", "token": "t", "key": "k"}),
        RootSettings("tpm", "tpm:pcap:cmd:id", {"tcti": "pcap:cmd:id"}),
        RootSettings("tpm", "tpm:device:/tmp/x", {"tcti": "device:/tmp/x"}),
        RootSettings("aws", ARN, {"region": "us-east-1"}),
        RootSettings("gcp", GCP_KEY, {"endpoint": "http://stranger.example"}),
        RootSettings(
            "azure",
            "https://v.vault.azure.net/keys/k",
            {"vault": "https://other.example", "key": "k"},
        ),
        RootSettings("unknown", "x"),
    ],
)
def test_settings_of_a_backup_that_are_refused(root: RootSettings) -> None:
    with pytest.raises(StrongroomError):
        backup_roots.checked(root)


def test_a_backup_that_anybody_sealed_to_us_has_no_origin(
    source: Node, target: Node, tmp_path: Path
) -> None:
    """Whoever knows the recipient makes one; our own opens by the MEK as well, which nobody else has."""
    identity = age.new_identity()
    made = backups.make(source, tmp_path / "b.tsbak", SealTo((identity.recipient,)))
    backup = OpenBackup.check(BytesSource(made.path.read_bytes()))
    given = OpenWith((identity,))
    for node, origin in ((None, ""), (target, ""), (source, "a MEK of this installation")):
        opened = opening.open_keys(backup, node_backups.means(node, given, None))
        assert (opened.by, opened.origin) == ("what was given", origin)


def test_a_start_is_not_stopped_by_what_cannot_be_tidied(
    source: Node, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    source.files.keep()

    def fail(*_: object) -> None:
        raise StorageError("the disk refuses")

    monkeypatch.setattr(making.BackupService, "recover", fail)
    assert not node_backups.tidy(source), "nothing else was left"
    assert "the disk refuses" in caplog.text
