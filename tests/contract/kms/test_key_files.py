"""Every replica of the key files, bad in every way: the pair that opens the configuration wins (findings K7, T7).

Generated over the services' folders and over what may have happened to a file; the other files are as they should be.
"""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom.cli import dispatch
from strongroom.configuration_keys.record_files import FILE_NAME as RECORDS
from strongroom.crypto import age, rng
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import KeystoreError, StorageError
from strongroom.eventlog.events import key_events
from strongroom.keystore import kept, pkcs12
from strongroom.keystore.pkcs12 import SecretKeyEntry
from strongroom.keystore.replicas import FILE_NAME as KEYSTORE
from strongroom.node import create, opening
from strongroom.node.opening import Node
from strongroom.roots import recipient
from strongroom.runtime.processes import SERVICES
from tests.contract.kms.harms import (
    HARMS,
    RECORD_HARMS,
    Before,
    contents_of,
    keystores,
    password_of,
    put,
    records_of,
)

ACTOR = "os:tester"


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Before:
    root = tmp_path_factory.mktemp("key-files") / "node"
    create.create_node(str(root), "ada", SecretBytes(b"correct horse battery"))
    node = opening.open_node(str(root))
    node.roots.add(recipient.settings(age.new_identity().recipient), ACTOR)
    old = contents_of(node.keystore.primary), contents_of(records_of(node)[0])
    amid: list[bytes] = []

    def look(sentence: str) -> None:
        if "removing the old configuration key" in sentence:
            amid.extend([contents_of(node.keystore.primary), contents_of(records_of(node)[0])])

    node.regenerate.run(ACTOR, look, ["keys"])
    node.close()
    return Before(root, *old, *amid)


@pytest.fixture
def node(before: Before, tmp_path: Path) -> Iterator[Node]:
    root = tmp_path / "node"
    shutil.copytree(before.root, root, symlinks=True)
    node = opening.open_node(str(root))
    yield node
    node.close()


def _bad(node: Node) -> list[Path]:
    return [one.path for one in node.key_files.verify() if one.condition != "intact"]


def _check_whole(node: Node) -> None:
    """Everything opens, by whichever replica; and another process sees it too."""
    assert _bad(node) == []
    again = opening.open_node(str(node.paths.root))
    try:
        assert again.kms_store.status().is_ok
        assert again.configuration.get("redis.password", actor=ACTOR)
        assert [state.problem for state in again.roots.list() if state.problem] == []
        assert again.events.verify().breaks == ()
    finally:
        again.close()


def _check_repaired(node: Node, harmed: Path, data: bytes | None, good: bytes) -> None:
    repaired = node.key_files.repair(ACTOR)
    assert harmed in repaired.written
    assert contents_of(harmed) == good
    assert harmed.stat().st_mode & 0o7777 == 0o600
    assert harmed.is_file()
    assert not harmed.is_symlink()
    if data is not None:
        (copy,) = repaired.kept
        assert copy.parent == harmed.parent
        assert contents_of(copy) == data
        assert copy.stat().st_mode & 0o077 == 0
    last = list(node.events.read())[-1]
    assert last["id"] == key_events.KEYSTORE_REPAIRED
    _check_whole(node)
    assert node.key_files.repair(ACTOR).written == ()


def _contents(path: Path) -> bytes | None:
    return contents_of(path) if path.is_file() else None


@pytest.mark.crossed
@pytest.mark.parametrize("position", range(len(SERVICES)))
@pytest.mark.parametrize("harm", HARMS)
def test_a_keystore_that_does_not_belong_is_found_and_replaced_and_kept(
    node: Node, before: Before, harm: str, position: int
) -> None:
    """findings K7: at the first place too, where commands read."""
    path, good = keystores(node)[position], contents_of(keystores(node)[position])
    HARMS[harm](node, before, path)
    data = _contents(path)
    assert path in _bad(node)
    _check_repaired(node, path, data, good)


@pytest.mark.parametrize("position", [0, len(SERVICES) - 1])
@pytest.mark.parametrize("harm", RECORD_HARMS)
def test_records_that_do_not_belong_are_found_and_replaced_and_kept(
    node: Node, before: Before, harm: str, position: int
) -> None:
    """findings K7: `verify` and `repair` answer for the records as well."""
    path, good = records_of(node)[position], contents_of(records_of(node)[position])
    RECORD_HARMS[harm](node, before, path)
    data = _contents(path)
    assert _bad(node) == [path]
    _check_repaired(node, path, data, good)


@pytest.mark.parametrize(
    "harm", sorted(HARMS.keys() - {"missing folder"})
)  # it takes the records too
@pytest.mark.parametrize("position", [0, 1, len(SERVICES) - 1])
def test_one_good_keystore_is_enough(node: Node, before: Before, harm: str, position: int) -> None:
    """findings K7: all the others are bad in the same way; the majority says nothing."""
    good = contents_of(keystores(node)[position])
    others = [path for at, path in enumerate(keystores(node)) if at != position]
    harmed = [path for path in others if path.is_file()]
    entries = node.keystore.load()  # what harms read, before the first is harmed
    for path in harmed:
        node.keystore.load = lambda: entries  # type: ignore[method-assign]
        HARMS[harm](node, before, path)
    del node.keystore.load
    repaired = node.key_files.repair(ACTOR)
    assert {contents_of(path) for path in keystores(node)} == {good}
    assert set(repaired.written) == set(others)
    _check_whole(node)


def test_keystore_and_records_are_judged_together(node: Node, before: Before) -> None:
    """findings K7: an older keystore with the older records beside it opens itself, and not the configuration."""
    paths = [*keystores(node), *records_of(node)]
    good = {path: contents_of(path) for path in paths}
    for position in range(len(SERVICES) - 1):
        put(keystores(node)[position], before.keystore)
        put(records_of(node)[position], before.records)
    # the last folder has the keystore, another one than that the records
    put(records_of(node)[-1], before.records)
    put(records_of(node)[2], good[records_of(node)[2]])
    node.key_files.repair(ACTOR)
    assert {path: contents_of(path) for path in paths} == good
    _check_whole(node)


@pytest.mark.crossed
@pytest.mark.parametrize("position", range(len(SERVICES)))
@pytest.mark.parametrize("stale", ["records", "keystore", "both"])
def test_what_a_regeneration_removed_does_not_come_back(
    node: Node, before: Before, stale: str, position: int
) -> None:
    """findings K7: one folder has files from amid a regeneration again, with more keys than the good ones have."""
    paths = [*keystores(node), *records_of(node)]
    good = {path: contents_of(path) for path in paths}
    harmed = []
    if stale != "records":
        harmed.append(keystores(node)[position])
        put(harmed[-1], before.keystore_amid)
    if stale != "keystore":
        harmed.append(records_of(node)[position])
        put(harmed[-1], before.records_amid)
    assert _bad(node) == harmed
    assert set(node.key_files.repair(ACTOR).written) == set(harmed)
    assert {path: contents_of(path) for path in paths} == good
    _check_whole(node)
    assert node.keystore.load().aliases == ("master-key-2",)
    again = opening.open_node(str(node.paths.root))
    again.regenerate.run(ACTOR, lambda _: None, ["keys"])  # opens every record, and rewraps it
    again.close()


@pytest.mark.parametrize("position", range(len(SERVICES)))
def test_records_that_nothing_opens_lose_although_most_folders_have_them(
    node: Node, before: Before, position: int
) -> None:
    """findings K7: they open what is named, and no rewrap would get past them."""
    good = contents_of(records_of(node)[position])
    for at, path in enumerate(records_of(node)):
        if at != position:
            put(path, before.records_amid)
    node.key_files.repair(ACTOR)
    assert {contents_of(path) for path in records_of(node)} == {good}
    _check_whole(node)


def test_a_regeneration_that_was_cut_keeps_the_configuration_key_that_its_journal_names(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """findings K7: nothing is sealed under it yet, and most folders do not have it; the next step needs it."""
    old = contents_of(records_of(node)[0])

    def cut(*_: object) -> None:
        raise StorageError("cut")

    monkeypatch.setattr(node.regenerate, "_replace_values", cut)
    with pytest.raises(StorageError, match="cut"):
        node.regenerate.run(ACTOR, lambda _: None, ["keys"])
    monkeypatch.undo()
    new = contents_of(records_of(node)[0])
    assert old != new
    for path in records_of(node)[:-1]:
        put(path, old)
    node.key_files.repair(ACTOR)
    assert {contents_of(path) for path in records_of(node)} == {new}
    node.regenerate.run(ACTOR, lambda _: None, ["keys"])
    _check_whole(node)


@pytest.mark.parametrize("harm", sorted(HARMS.keys() - {"mode 0644", "link", "missing folder"}))
def test_nothing_is_changed_if_no_replica_opens_the_configuration(
    node: Node, before: Before, harm: str
) -> None:
    """findings K7: the sentence says which key does not open, and what to do; every file is as it was."""
    entries = node.keystore.load()
    node.keystore.load = lambda: entries  # type: ignore[method-assign]
    for path in keystores(node):
        HARMS[harm](node, before, path)
    del node.keystore.load
    found = _snapshot(node)
    with pytest.raises(KeystoreError, match="nothing was changed") as refused:
        node.key_files.repair(ACTOR)
    assert refused.value.hint
    assert _snapshot(node) == found
    assert set(keystores(node)) <= set(_bad(node))
    if harm == "changed alias":
        assert "under the alias 'another' instead of 'master-key-2'" in refused.value.message
        assert "keytool -changealias" in refused.value.hint


def _snapshot(node: Node) -> dict[str, bytes | None]:
    config = node.paths.config
    return {str(path.relative_to(config)): _contents(path) for path in sorted(config.rglob("*"))}


def test_a_regeneration_that_was_cut_keeps_the_master_key_that_its_journal_names(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """findings K7: a keystore from before its first step opens the configuration too; the journal decides."""
    old = contents_of(node.keystore.primary)
    regenerate = node.regenerate

    def cut(*_: object) -> None:
        raise StorageError("cut")

    monkeypatch.setattr(regenerate, "_add_configuration_key", cut)
    with pytest.raises(StorageError, match="cut"):
        regenerate.run(ACTOR, lambda _: None, ["keys"])
    monkeypatch.undo()
    new = contents_of(node.keystore.primary)
    assert old != new
    for path in keystores(node)[:-1]:
        put(path, old)
    node.key_files.repair(ACTOR)
    assert {contents_of(path) for path in keystores(node)} == {new}
    regenerate.run(ACTOR, lambda _: None, ["keys"])
    _check_whole(node)


def test_the_copy_for_recovery_is_verified_and_repaired_and_kept(node: Node) -> None:
    """findings K7: the siblings beside the replicas."""
    path = node.paths.recovery_records
    good = contents_of(path)
    for data in (b"", b"garbage", good[:-5]):
        put(path, data)
        assert _bad(node) == [path]
        repaired = node.key_files.repair(ACTOR)
        assert contents_of(path) == good
        assert [contents_of(copy) for copy in repaired.kept] == [data]
    path.unlink()
    assert _bad(node) == [path]
    node.key_files.repair(ACTOR)
    assert contents_of(path) == good


@pytest.mark.parametrize(
    ("harm", "condition"),
    [("missing", "missing"), ("mode 0644", "unusable"), ("empty", "unusable")],
)
def test_the_password_is_verified(node: Node, before: Before, harm: str, condition: str) -> None:
    path = node.paths.keystore_password
    HARMS[harm](node, before, path)
    (row,) = [one for one in node.key_files.verify() if one.path == path]
    assert row.condition == condition
    assert set(keystores(node)) <= set(_bad(node))
    found = _snapshot(node)
    with pytest.raises(KeystoreError):
        node.key_files.repair(ACTOR)
    assert _snapshot(node) == found


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b""], ids=["lf", "crlf", "none"])
@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"], ids=["plain", "bom"])
def test_a_password_that_an_editor_saved_opens(node: Node, start: bytes, end: bytes) -> None:
    """findings T7: it ended in 33."""
    path = node.paths.keystore_password
    put(path, start + contents_of(path).strip() + end)
    _check_whole(node)


def test_what_is_kept_is_kept_once(node: Node, before: Before) -> None:
    """findings K7: a repair that is killed and run again leaves one copy, two contents leave two."""
    path, now = node.keystore.primary, node.clock.now()
    put(path, before.keystore)
    first = kept.keep(path, now)
    assert first is not None
    assert kept.keep(path, now) == first
    put(path, b"something else")
    second = kept.keep(path, now)
    assert second is not None
    assert second != first
    assert (contents_of(first), contents_of(second)) == (before.keystore, b"something else")


def test_the_commands_say_what_they_do(
    node: Node, before: Before, capsys: pytest.CaptureFixture[str]
) -> None:
    """findings K7: the copies are named."""
    words = ["security", "keystore"]
    where = ["--data-dir", str(node.paths.root)]
    put(node.keystore.primary, before.keystore)
    assert dispatch.main("tsm", [*words, "verify", *where]) == 1
    shown = capsys.readouterr().out
    primary = node.keystore.primary.relative_to(node.paths.root)
    row = next(line for line in shown.splitlines() if str(primary) in line)
    assert row.split()[:2] == ["different", str(primary)]
    assert "it has no 'master-key-2'" in row
    assert dispatch.main("tsm", [*words, "repair", *where]) == 0
    said = capsys.readouterr()
    assert said.out == f"repaired {node.keystore.primary}\n"
    (copy,) = node.keystore.primary.parent.glob(f"{KEYSTORE}.replaced-*")
    assert f"kept what was replaced: {copy}" in said.err
    assert dispatch.main("tsm", [*words, "verify", *where]) == 0
    assert dispatch.main("tsm", [*words, "repair", *where]) == 0
    assert "Every replica is intact" in capsys.readouterr().out


# ---- the siblings: whatever else writes over a key file ------------------------------------------


def test_a_change_of_the_keystore_keeps_a_replica_with_a_key_that_it_does_not_know(
    node: Node,
) -> None:
    """findings K7: `regenerate-internal-tokens` brings every replica to the primary's keys."""
    stray = SecretKeyEntry("stray", rng.new_key(), node.clock.now())
    path = keystores(node)[3]
    put(path, pkcs12.serialize([stray], password_of(node)))
    data = contents_of(path)
    put(records_of(node)[4], b"garbage")
    node.regenerate.run(ACTOR, lambda _: None, ["keys"])
    (copy,) = path.parent.glob(f"{KEYSTORE}.replaced-*")
    assert contents_of(copy) == data
    (copy,) = records_of(node)[4].parent.glob(f"{RECORDS}.replaced-*")
    assert contents_of(copy) == b"garbage"
    others = [
        folder for folder in node.keystore.folders if folder not in {path.parent, copy.parent}
    ]
    assert [list(folder.glob("*.replaced-*")) for folder in others] == [[]] * len(others)
    _check_whole(node)


# ---- the real keytool ----------------------------------------------------------------------------


def _keytool(node: Node, *words: str | Path, option: str = "-storepass:file") -> None:
    ran = subprocess.run(
        ["keytool", *words, option, node.paths.keystore_password],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.table
@pytest.mark.interop
@pytest.mark.parametrize("legacy", [[], ["-J-Dkeystore.pkcs12.legacy"]], ids=["now", "jdk8"])
@pytest.mark.parametrize("position", [0, 1, len(SERVICES) - 1])
def test_a_replica_that_keytool_saved_anew_is_intact(
    node: Node, position: int, legacy: list[str]
) -> None:
    """findings T7: the keys are the same, the bytes are not."""
    path = keystores(node)[position]
    other = path.with_name("other.jks")
    password = node.paths.keystore_password
    stores: list[str | Path] = [
        "-srckeystore",
        path,
        "-destkeystore",
        other,
        "-deststoretype",
        "PKCS12",
    ]
    _keytool(
        node, *legacy, "-importkeystore", "-noprompt", *stores, "-srcstorepass:file", password,
        option="-deststorepass:file",
    )  # fmt: skip
    data = contents_of(other)
    other.unlink()
    assert data != contents_of(path)
    put(path, data)
    _check_whole(node)
    assert node.key_files.repair(ACTOR) == ((), ())
    assert contents_of(path) == data
    node.regenerate.run(ACTOR, lambda _: None, ["keys"])
    _check_whole(node)


@pytest.mark.interop
def test_a_new_password_on_every_replica_is_green(node: Node) -> None:
    """findings T7: `keytool -storepasswd`, then the password file."""
    new = node.paths.root / "new"
    put(new, b"a new password of the operator\n")
    for path in keystores(node):
        _keytool(node, "-storepasswd", "-keystore", path, "-new:file", new)
        path.chmod(0o600)
    assert set(keystores(node)) <= set(_bad(node))
    put(node.paths.keystore_password, contents_of(new))
    assert len({contents_of(path) for path in keystores(node)}) == len(SERVICES)
    _check_whole(node)
    assert node.key_files.repair(ACTOR) == ((), ())


@pytest.mark.interop
@pytest.mark.parametrize("position", [0, len(SERVICES) - 1])
def test_an_alias_that_keytool_changed_is_repaired_from_another_replica(
    node: Node, position: int
) -> None:
    """findings K7: the example."""
    path, good = keystores(node)[position], contents_of(keystores(node)[position])
    _keytool(
        node, "-changealias", "-keystore", path, "-alias", "master-key-2", "-destalias", "mine"
    )
    path.chmod(0o600)
    data = contents_of(path)
    assert _bad(node) == [path]
    _check_repaired(node, path, data, good)


@pytest.mark.interop
def test_the_alias_is_given_back_as_the_message_says(node: Node) -> None:
    """findings K7: the command of the hint, as it stands there."""
    for path in keystores(node):
        _keytool(
            node, "-changealias", "-keystore", path, "-alias", "master-key-2", "-destalias", "mine"
        )
        path.chmod(0o600)
    with pytest.raises(KeystoreError, match="under the alias 'mine'") as refused:
        node.key_files.repair(ACTOR)
    change, chmod = refused.value.hint.split("'")[1:4:2]
    for command in (change, chmod):
        subprocess.run(["sh", "-c", command], check=True, capture_output=True, timeout=60)
    node.key_files.repair(ACTOR)
    _check_whole(node)
