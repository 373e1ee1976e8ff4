"""`tsm maintenance` and `strongroom backup verify`: A-24 to A-26, C-13, Q-07."""

import base64
import io
import json
import os
import re
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from strongroom.cli import dispatch
from strongroom.crypto import age
from strongroom.crypto.age import OpenWith
from strongroom.envelope.header import MAX_HEADER_BYTES
from strongroom.errors import ConflictError
from strongroom.eventlog.events import backup_events
from strongroom.filestore.blockfile import NewFile
from strongroom.ids import new_id
from strongroom.kms import store as kms_store
from strongroom.kms.states import MekState
from strongroom.node import backup, opening
from strongroom.node.opening import Node
from strongroom.services.backups.keys import BackupKeys, SealRequest, WrapRequest
from strongroom.services.backups.make import BackupRequest
from strongroom.services.content.items import placement_of
from strongroom.services.keys.stored import STORE
from tests.contract.cli.node.test_serve import served
from tests.support import backups
from tests.support.backups import State

Run = Callable[..., int]


@pytest.fixture
def maintenance(node_dir: Path) -> Run:
    """`tsm maintenance` on the node."""

    def run(*words: str | Path, home: Path = node_dir) -> int:
        return dispatch.main("tsm", ["maintenance", *map(str, words), "--data-dir", str(home)])

    return run


def verify(home: Path, *words: str | Path) -> int:
    return dispatch.main("strongroom", ["backup", "verify", *map(str, words), f"--data-dir={home}"])


@pytest.fixture
def identity(tmp_path: Path) -> tuple[str, Path]:
    """A recipient and the file of its identity."""
    made, path = age.new_identity(), tmp_path / "identity"
    path.write_bytes(made.text.reveal() + b"\n")
    return made.recipient, path


def test_a_backup_is_written_told_and_restored(
    source: Node, node_dir: Path, maintenance: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert maintenance("backup", "-f", "nightly", "-d", "-i", "a note") == 0
    shown = capsys.readouterr()
    (path,) = source.paths.backups.glob("*")
    assert re.fullmatch(r"nightly-\d{4}-\d\d-\d\d\.tsbak", path.name)
    assert path.stat().st_mode & 0o777 == 0o600
    assert f"Backup written to {path}" in shown.out
    assert "only the keystore of this installation opens the keys" in shown.err
    assert "in the backup as on the disk: 1 extract" in shown.err
    assert maintenance("restore", "-f", path.stem, "--ignore-prompt", "--json") == 0
    shown = capsys.readouterr()
    done = json.loads(shown.out)
    assert (done["extracts"], done["missing"], done["lost"]) == (3, {}, [])
    assert "its keys were opened by a MEK of this installation" in shown.err
    assert maintenance("restore", "-f", path, "--ignore-prompt") == 0
    assert "New RMK: " in capsys.readouterr().out


def test_names_and_places(
    node_dir: Path, maintenance: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("../x", "a/b", "", ".tsbak", ".hidden", "x" * 300):
        assert maintenance("backup", "-f", name) == 2
    assert maintenance("backup", "-f", "x", "-i", "two\nlines") == 2
    assert maintenance("backup", "-f", "x.tsbak", "--json") == 0
    capsys.readouterr()
    assert maintenance("backup", "-f", "x") == 6
    assert "exists already" in capsys.readouterr().err
    for name in ("y", "./x.tsbak", str(tmp_path)):
        assert maintenance("restore", "-f", name, "--ignore-prompt") == 5
    elsewhere = tmp_path / "elsewhere"
    node = opening.open_node(str(node_dir))
    node.configuration.set("basefilepath.backuprestore", str(elsewhere), actor="os:tester")
    node.configuration.apply(actor="os:tester")
    node.close()
    assert maintenance("backup", "-f", "x") == 0
    assert (elsewhere / "x.tsbak").is_file()
    assert elsewhere.stat().st_mode & 0o777 == 0o700


def test_whoever_does_not_agree_changes_nothing(
    source: Node, maintenance: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert maintenance("backup", "-f", "x") == 0
    before = State.of(source)
    for answer in ("n\n", "", "no\n"):
        monkeypatch.setattr("sys.stdin", io.StringIO(answer))
        assert maintenance("restore", "-f", "x") == 7
    assert State.of(source) == before
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert maintenance("restore", "-f", "x") == 0


def test_sealed_with_its_settings(
    source: Node,
    target: Node,
    maintenance: Run,
    identity: tuple[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """P9: one file for all; the configuration in it is an age file that tar takes out (C-13: a restore does not)."""
    recipient, file = identity
    assert maintenance("backup", "-f", "x", "--include-settings") == 2
    assert not list(source.paths.backups.glob("*"))
    sealed = ("--recipient", recipient, "--include-settings")
    assert maintenance("backup", "-f", "x", *sealed, "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["sealed"], said["settings"]) == (["recipient"], True)
    assert maintenance("backup", "-f", "x", *sealed) == 6
    path = source.paths.backups / "x.tsbak"
    with tarfile.open(path) as archive:
        found = archive.extractfile("settings.age")
        assert found is not None
        by = OpenWith(age.parse_identities(file.read_bytes()))
        text = age.open_sealed(found.read(), by).reveal()
    assert b"configKeys" in text
    home = target.paths.root
    document = target.configuration.document().values
    assert maintenance("restore", "-f", path, "--ignore-prompt", home=home) == 22
    assert "--identity" in capsys.readouterr().err
    opened = ("--identity", file, "--ignore-prompt")
    assert maintenance("restore", "-f", path, *opened, home=home) == 0
    assert "its keys were opened by what was given" in capsys.readouterr().err
    assert backups.contents(target) == backups.contents(source)
    after = target.configuration.document().values
    assert {key for key in after if after[key] != document.get(key)} == {STORE}


def test_shares_open_it(
    source: Node, target: Node, maintenance: Run, tmp_path: Path, node_dir: Path
) -> None:
    """M1: a recovery recipient of the store opens its backups, with no seal of their own."""
    kit = tmp_path / "kit"
    words = ["security", "kms", "roots", "add", "shares", "--threshold", "2", "--shares", "3"]
    assert dispatch.main("tsm", [*words, "--output", str(kit), f"--data-dir={node_dir}"]) == 0
    assert maintenance("backup", "-f", "x") == 0
    path, home = source.paths.backups / "x.tsbak", target.paths.root
    shares = sorted(one for one in kit.iterdir() if "share" in one.name)
    one, two = shares[0], shares[2]
    restore = ("restore", "-f", path, "--ignore-prompt")
    assert maintenance(*restore, "--share", one, home=home) == 2
    assert maintenance(*restore, "--share", one, "--share", two, home=home) == 0
    assert backups.contents(target) == backups.contents(source)
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff")
    assert maintenance(*restore, "--share", binary, home=home) == 2


def test_a_backup_while_the_server_works_and_no_restore(
    source: Node, node_dir: Path, maintenance: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """A-24, R17: keys are used by the process that holds them; a restore under load is refused."""
    wanted = backups.contents(source)
    with served(node_dir, "--no-backgrounder"):
        assert maintenance("backup", "-f", "x") == 0
        recipient = age.new_identity().recipient
        assert maintenance("backup", "-f", "y", "--recipient", recipient) == 0
        capsys.readouterr()
        assert maintenance("restore", "-f", "x", "--ignore-prompt") == 7
        assert "then tsm stop" in capsys.readouterr().err
    assert maintenance("restore", "-f", "x", "--ignore-prompt") == 0
    assert backups.contents(source) == wanted


def test_a_passphrase_goes_over_the_socket_and_opens_it_elsewhere(
    source: Node,
    node_dir: Path,
    maintenance: Run,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The one test with a passphrase: age makes each use of one cost a second."""
    phrase = tmp_path / "phrase"
    phrase.write_text("a passphrase\n")
    with served(node_dir, "--no-backgrounder"):
        assert maintenance("backup", "-f", "x", "--passphrase-file", phrase) == 0
    path = source.paths.backups / "x.tsbak"
    assert verify(tmp_path / "nowhere", path, "--drill", "--passphrase-file", phrase) == 0
    assert "opened by what was given; origin not proved" in capsys.readouterr().out


def test_a_drill_ends_with_a_receipt(
    source: Node, node_dir: Path, maintenance: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert maintenance("backup", "-f", "x") == 0
    before = State.of(source)
    capsys.readouterr()
    assert verify(node_dir, "x", "--drill", "--json") == 0
    receipt = json.loads(capsys.readouterr().out)
    assert receipt["authenticated"]
    assert (receipt["encrypted"], receipt["plain"], receipt["opened"]) == (2, 1, 2)
    assert (receipt["bodies"], receipt["body_bytes"]) == (2, 256 * 3000)
    assert receipt["rows"]["contents"] == 3
    assert receipt["by_mek"] == {source.kms_store.status().meks[0].id: 2}
    after = State.of(source)
    assert after.events == before.events + 1
    assert list(source.events.read())[-1]["id"] == backup_events.BACKUP_VERIFIED
    after.events = before.events
    assert after == before
    assert not source.paths.repository.parent.joinpath(".drill").exists()
    assert verify(node_dir, "x", "--drill") == 0
    shown = capsys.readouterr().out
    assert "Opened: 2; read whole: 2" in shown
    assert "(local), 1 MEK\n" in shown


def test_anywhere_else_the_digests_are_checked_and_an_identity_opens(
    source: Node,
    maintenance: Run,
    identity: tuple[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipient, file = identity
    assert maintenance("backup", "-f", "x", "--recipient", recipient) == 0
    nowhere, path = tmp_path / "nowhere", source.paths.backups / "x.tsbak"
    capsys.readouterr()
    monkeypatch.chdir(path.parent)
    assert verify(nowhere, "x.tsbak") == 22  # digests alone are anybody's
    shown = capsys.readouterr()
    assert "Authenticated: no" in shown.out
    assert "it was not authenticated" in shown.err
    assert verify(nowhere, "x.tsbak", "--digests-only") == 0
    assert "Authenticated: no" in capsys.readouterr().out
    assert verify(nowhere, "x.tsbak", "--digests-only", "--drill") == 2
    assert verify(nowhere, "y.tsbak") == 5
    assert verify(nowhere, path, "--drill") == 22
    assert verify(nowhere, path, "--drill", "--identity", file, "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["opened_by"], said["authenticated"]) == ("what was given", False)
    assert verify(nowhere, path, "--identity", file) == 0
    assert "opened by what was given; origin not proved" in capsys.readouterr().out
    pinned = ("--identity", file, "--manifest")
    assert verify(nowhere, path, *pinned, said["manifest"]) == 0
    assert "Authenticated: yes, by the digest of --manifest" in capsys.readouterr().out
    assert verify(nowhere, path, *pinned, "00" * 32) == 20
    wrong = tmp_path / "wrong"
    wrong.write_bytes(age.new_identity().text.reveal())
    assert verify(nowhere, path, "--identity", wrong) == 22


def test_what_is_lost_and_what_is_damaged_is_told(
    source: Node, node_dir: Path, maintenance: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """A backup of a hurt node is made all the same; drill and restore say what does not open, and end with 1."""
    lost = backups.publish(source, "lost", b"x")
    hurt = backups.publish(source, "hurt", b"y")
    torn = backups.publish(source, "torn", bytes(600_000))
    lost_path = Path(source.files.place_of(lost.storage_key))
    saved = lost_path.rename(source.paths.root / "saved")
    raw = bytearray(Path(source.files.place_of(hurt.storage_key)).read_bytes())
    raw[:MAX_HEADER_BYTES] = bytes(MAX_HEADER_BYTES)
    Path(source.files.place_of(hurt.storage_key)).write_bytes(raw)
    place = Path(source.files.place_of(torn.storage_key))
    place.write_bytes(place.read_bytes()[:-1] + b"\0")
    assert maintenance("backup", "-f", "x") == 1
    told = capsys.readouterr().err
    assert f"the file {lost.storage_key} was lost" in told
    assert f"opens {hurt.storage_key}" in told
    assert verify(node_dir, "x", "--digests-only") == 1
    assert lost.storage_key in capsys.readouterr().out
    assert verify(node_dir, "x", "--drill") == 1
    told = capsys.readouterr().out
    assert lost.id in told
    assert hurt.id in told
    assert torn.id in told
    assert maintenance("restore", "-f", "x", "--ignore-prompt") == 1
    told = capsys.readouterr().err
    assert f"lost before the backup was made: {lost.id}" in told
    assert f"cannot be read: {hurt.id}" in told
    saved.rename(lost_path)
    assert maintenance("restore", "-f", "x", "--ignore-prompt", "--json") == 1
    out, told = capsys.readouterr()
    assert f"not in the backup, but its file is still here: {lost.id}" in told
    done = json.loads(out)
    assert (done["kept"], done["lost"], list(done["missing"])) == ([lost.id], [], [hurt.id])
    with source.stored_files.open(lost, placement_of(lost)) as reader:
        assert b"".join(reader.iterate()) == b"x"


def test_without_keys_the_command_says_what_that_means(
    source: Node, target: Node, maintenance: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """Q-07: `--without-extract-keys`."""
    assert maintenance("backup", "-f", "x") == 0
    path, home = source.paths.backups / "x.tsbak", target.paths.root
    capsys.readouterr()
    restore = ("restore", "-f", path, "--ignore-prompt", "--without-extract-keys")
    assert maintenance(*restore, home=home) == 0
    told = capsys.readouterr().err
    assert "nobody can tell whether it is genuine" in told
    assert told.count("cannot be read:") == 2
    assert "1 embedded credential cannot be opened" in told
    assert MekState.UNAVAILABLE in {mek.state for mek in target.kms_store.status().meks}
    assert maintenance(*restore, home=home) == 0  # once more changes no KMS store
    assert len(target.kms_store.current()[0].former) == 1


def test_a_token_that_was_revoked_since_is_told(
    source: Node, node_dir: Path, maintenance: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["tokens", "create", "script", "--user", "admin", f"--data-dir={node_dir}"]
    assert dispatch.main("strongroom", words) == 0
    assert maintenance("backup", "-f", "x") == 0
    with source.repository.transaction() as tx:
        for token_id in tx.rows.ids("tokens"):
            tx.tokens.delete(token_id)
    assert maintenance("restore", "-f", "x", "--ignore-prompt") == 0
    assert "revoked since, and so again: 1 access token" in capsys.readouterr().err


def test_a_credential_of_the_root_is_read_from_a_file(
    source: Node, maintenance: Run, tmp_path: Path
) -> None:
    assert maintenance("backup", "-f", "x") == 0
    empty, pin = tmp_path / "empty", tmp_path / "pin"
    empty.write_text("\n")
    pin.write_text("1234\n")
    restore = ("restore", "-f", "x", "--ignore-prompt", "--root-credential-file")
    assert maintenance(*restore, empty) == 2
    assert maintenance(*restore, pin) == 0


def test_no_room_is_told_before_anything_is_written(
    source: Node,
    maintenance: Run,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert maintenance("backup", "-f", "x") == 0
    before = State.of(source)

    class Usage:
        free = 1000

    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage)
    assert maintenance("backup", "-f", "y") == 41
    assert maintenance("restore", "-f", "x", "--ignore-prompt") == 41
    assert "--override-disk-space-check" in capsys.readouterr().err
    assert State.of(source) == before
    assert maintenance("backup", "-f", "y", "--override-disk-space-check") == 0
    over = ("--override-disk-space-check", "--ignore-prompt")
    assert maintenance("restore", "-f", "y", *over) == 0


def test_what_was_written_is_read_back(
    source: Node, maintenance: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that lies is found out at once, unless that is not wanted."""
    real = NewFile.write_at

    def lie(self: NewFile, offset: int, data: bytes | memoryview) -> None:
        spoilt = bytes(data).replace(b"plain bytes", b"other bytes")
        real(self, offset, spoilt)

    monkeypatch.setattr(NewFile, "write_at", lie)
    assert maintenance("backup", "-f", "x") == 41
    assert not list(source.paths.backups.glob("*"))
    assert maintenance("backup", "-f", "x", "--skip-verification", "--skip-compression") == 0


def test_only_one_backup_at_a_time(source: Node, maintenance: Run) -> None:
    with source.coordinator.lock("backup", wait_s=0):
        assert maintenance("backup", "-f", "x") == 6


def test_a_restore_takes_a_pipe_for_no_file(maintenance: Run, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.tsbak"
    os.mkfifo(pipe)
    assert maintenance("restore", "-f", pipe, "--ignore-prompt") == 5


def test_keys_that_change_between_the_steps_are_taken_anew(source: Node, tmp_path: Path) -> None:
    """A rotation between wrapping and sealing gives one whole backup of the new keys."""
    keys = BackupKeys(source.kms_store, source.assets, source.identity)
    real, turns = keys.seal, iter([True, False])

    def seal(wanted: SealRequest) -> object:
        if next(turns):
            source.meks.rotate("os:tester")
        return real(wanted)

    keys.seal = seal  # type: ignore[assignment,method-assign]
    request = BackupRequest(tmp_path / "b.tsbak", "os:tester")
    made = backup.backups(source, keys).make(request, backups.silent)
    assert made.manifest.rmk_id == source.kms_store.status().rmk_id
    assert backups.restore(source, made.path).missing == {}


def test_a_lost_asset_key_stops_a_backup(source: Node, tmp_path: Path) -> None:
    keys = BackupKeys(source.kms_store, source.assets, source.identity)
    digest = kms_store.digest(source.kms_store.current()[1])
    with pytest.raises(ConflictError, match="keys were changed"):
        keys.wrap(new_id(), WrapRequest(digest, (new_id(),)), backups.NOBODY)
    with pytest.raises(ConflictError, match="keys were changed"):
        keys.wrap(new_id(), WrapRequest("00" * 32, ()), backups.NOBODY)


def test_no_secret_is_printed(
    source: Node, maintenance: Run, capsys: pytest.CaptureFixture[str], identity: tuple[str, Path]
) -> None:
    """S1: keys stay where they are, whatever is said."""
    recipient, file = identity
    assert maintenance("backup", "-f", "x", "--recipient", recipient, "--json") == 0
    assert maintenance("restore", "-f", "x", "--ignore-prompt", "--identity", file, "--json") == 0
    shown = capsys.readouterr()
    said = shown.out + shown.err
    for secret in [
        source.kms_cache.opened().rmk.material,
        *(m.material for m in source.kms_cache.opened().ring),
    ]:
        raw = secret.reveal()
        assert raw.hex() not in said
        assert base64.b64encode(raw).decode() not in said
