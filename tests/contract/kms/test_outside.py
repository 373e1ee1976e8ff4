"""What is under a MEK and not in the store: counted from the event log, said, and asked about (findings D5)."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from strongroom.access.permissions import Subject
from strongroom.cli import dispatch
from strongroom.crypto import age
from strongroom.crypto.age import SealTo
from strongroom.errors import StateError
from strongroom.eventlog.events import backup_events, extract_events, key_events
from strongroom.node import opening
from strongroom.node.opening import Node
from strongroom.services.backups import checks
from strongroom.services.files.one import Output
from strongroom.services.keys import history as mek_history
from strongroom.services.keys.history import Outside
from tests.support import backups

ACTOR = "os:tester"
Run = Callable[..., int]


@pytest.fixture
def run(node_dir: Path) -> Run:
    def run(*words: str | Path) -> int:
        return dispatch.main("tsm", [*map(str, words), "--data-dir", str(node_dir)])

    return run


def _sealed(node: Node, folder: Path, *names: str) -> list[str]:
    for name in names:
        (folder / name).write_bytes(b"the content of " + name.encode())
        target = str(folder / f"{name}.sealed")
        node.standalone_files.encrypt(str(folder / name), Output(target), actor=ACTOR)
    return [str(folder / f"{name}.sealed") for name in names]


def _usage(run: Run, capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    capsys.readouterr()
    run("security", "kms", "usage", "--json")
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


def test_a_file_that_was_sealed_outside_is_not_lost_without_a_word(
    node: Node,
    run: Run,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """findings D5: the example; usage said "unused", retire asked nothing, and the file was lost."""
    old = node.envelope_keys.active_mek_id
    (sealed,) = _sealed(node, tmp_path, "f")
    node.meks.rotate(ACTOR)
    usage = _usage(run, capsys)
    assert usage["unused"] == []
    assert usage["outside"] == {old: {"files": 1, "backups": 0}}
    assert run("security", "kms", "usage") == 0
    shown = capsys.readouterr()
    assert "unused here" in shown.out
    assert f"MEK {old}: by the event log, at least 1 file outside the store" in shown.err
    monkeypatch.setattr(
        "strongroom.cli.terminal.streams.ask", lambda _: ""
    )  # the end of standard input
    assert run("security", "kms", "retire", old) == 7
    said = capsys.readouterr().err
    assert "at least 1 file outside the store" in said
    assert "strongroom rewrap" in said
    assert "nothing was changed" in said
    node.standalone_files.verify(sealed)
    with pytest.raises(StateError, match="at least 1 file outside the store"):
        node.meks.retire(old, ACTOR)  # by whichever way it is asked
    node.standalone_files.rewrap([sealed], actor=ACTOR)
    assert _usage(run, capsys)["unused"] == [old]
    assert run("security", "kms", "retire", old) == 0
    node.standalone_files.verify(sealed)


@pytest.mark.parametrize("answer", ["y", "yes"])
def test_who_answers_or_says_yes_gives_it_up(
    node: Node, run: Run, tmp_path: Path, answer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """findings D5"""
    first, second = node.envelope_keys.active_mek_id, ""
    _sealed(node, tmp_path, "f")
    node.meks.rotate(ACTOR)
    second = node.envelope_keys.active_mek_id
    _sealed(node, tmp_path, "g", "h")
    node.meks.rotate(ACTOR)
    monkeypatch.setattr("strongroom.cli.terminal.streams.ask", lambda _: answer)
    assert run("security", "kms", "retire", first) == 0
    monkeypatch.setattr("strongroom.cli.terminal.streams.ask", lambda _: "n")
    assert run("security", "kms", "retire", second) == 7
    assert run("security", "kms", "retire", second, "--yes") == 0


def test_more_than_was_shown_is_not_given_up(node: Node, tmp_path: Path) -> None:
    """findings D5: somebody sealed another file while the question stood."""
    old = node.envelope_keys.active_mek_id
    _sealed(node, tmp_path, "f", "g")
    node.meks.rotate(ACTOR)
    with pytest.raises(StateError, match="at least 2 files"):
        node.meks.retire(old, ACTOR, gives_up=Outside(files=1))
    node.meks.retire(old, ACTOR, gives_up=Outside(files=2))


@pytest.mark.parametrize("archived", [False, True], ids=["log", "archive"])
@pytest.mark.parametrize("way", ["one", "many", "pipe", "client"])
def test_every_way_of_sealing_counts(
    node: Node, tmp_path: Path, way: str, *, archived: bool
) -> None:
    """findings D5: archived logs too."""
    old = node.envelope_keys.active_mek_id
    if way == "many":
        (tmp_path / "f").write_bytes(b"x")
        node.standalone_files.encrypt_many(
            [(str(tmp_path / "f"), str(tmp_path / "f.sealed"))], actor=ACTOR
        )
    elif way == "one":
        _sealed(node, tmp_path, "f")
    elif way == "client":
        node.data_key_desk.generate(Subject.local(ACTOR))
    else:
        node.events.append([extract_events.file_encrypted(ACTOR, "ab" * 16, old, size=1)])
    if archived:
        node.events.archive(ACTOR, "the tests")
    node.meks.rotate(ACTOR)
    assert node.meks.usage().outside == {old: Outside(files=1)}


def test_backups_of_local_mode_that_open_by_the_mek_alone_count(node: Node, tmp_path: Path) -> None:
    """findings D5, its sibling: after the retirement such a backup opens nowhere."""
    old = node.envelope_keys.active_mek_id
    backups.make(node, tmp_path / "sealed", SealTo((age.new_identity().recipient,), None))
    node.meks.rotate(ACTOR)
    assert node.meks.usage().outside == {}
    middle = node.envelope_keys.active_mek_id
    backups.make(node, tmp_path / "bare")
    node.meks.rotate(ACTOR)
    assert node.meks.usage().outside == {middle: Outside(backups=1)}
    with pytest.raises(
        StateError, match="at least 1 backup of local mode whose keys were not sealed"
    ):
        node.meks.retire(middle, ACTOR)
    node.meks.retire(old, ACTOR)


def test_a_damaged_line_and_events_of_others_are_passed_over() -> None:
    history: list[dict[str, object]] = [
        {"id": extract_events.FILE_ENCRYPTED, "details": None},
        {"id": key_events.KEY_GENERATED, "details": {"kind": "rmk", "key_id": "r"}},
        {"id": key_events.KEY_GENERATED, "details": {"kind": "mek", "key_id": "m"}},
        {"id": key_events.KMS_MODE_CHANGED, "details": {"after": "aws"}},
        {"id": key_events.KEY_GENERATED, "details": {"kind": "mek", "key_id": "without an rmk"}},
        {"id": backup_events.BACKUP_MADE, "details": {"rmk_id": "unknown", "sealed": ""}},
        {
            "id": extract_events.FILE_REWRAPPED,
            "details": {"file_id": "f", "before": "x", "after": "m"},
        },
        {"id": key_events.KMS_MODE_CHANGED, "details": {"after": "local"}},
        {"id": backup_events.BACKUP_MADE, "details": {"rmk_id": "r", "sealed": "age"}},
        {"id": backup_events.BACKUP_MADE, "details": {"rmk_id": "r", "sealed": ""}},
    ]
    assert mek_history.outside(history) == {"m": Outside(1, 1)}


def _generated(number: int) -> list[dict[str, object]]:
    return [
        {"id": key_events.KEY_GENERATED, "details": {"kind": kind, "key_id": f"{kind}{number}"}}
        for kind in ("rmk", "mek")
    ]


def _made(**details: str) -> dict[str, object]:
    return {"id": backup_events.BACKUP_MADE, "details": {"sealed": "", **details}}


def test_a_backup_counts_for_the_mek_that_its_event_names_in_either_way() -> None:
    """findings D5: older events name the RMK alone, and both may be told after a rotation or a change of the mode."""
    aws: dict[str, object] = {"id": key_events.KMS_MODE_CHANGED, "details": {"after": "aws"}}
    start = [*_generated(1), *_generated(2)]
    assert mek_history.outside([*start, _made(rmk_id="rmk1")]) == {"mek1": Outside(0, 1)}
    after = [*_generated(1), aws, *_generated(2)]
    assert mek_history.outside([*after, _made(rmk_id="rmk1")]) == {"mek1": Outside(0, 1)}
    assert mek_history.outside([*after, _made(rmk_id="rmk2")]) == {}
    now = _made(rmk_id="rmk1", mek_id="mek1")
    assert mek_history.outside([*after, now]) == {"mek1": Outside(0, 1)}
    assert mek_history.outside([now]) == {"mek1": Outside(0, 1)}
    assert mek_history.outside([*after, _made(rmk_id="rmk2", mek_id="mek2")]) == {}


def test_a_backup_of_which_nobody_can_tell_may_need_any_mek_that_was_there(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """findings D5: the log begins later than the keys."""
    old = node.envelope_keys.active_mek_id
    history = [_made(rmk_id="unknown"), *_generated(2)]
    found = mek_history.outside(history)
    assert found == {mek_history.ANY: Outside(0, 1), "mek2": Outside()}
    monkeypatch.setattr(node.meks, "_count_outside", lambda: found)
    node.meks.rotate(ACTOR)
    new = node.envelope_keys.active_mek_id
    assert node.meks.usage().outside == {old: Outside(0, 1), new: Outside(0, 1)}
    with pytest.raises(StateError, match="at least 1 backup"):
        node.meks.retire(old, ACTOR)
    found = mek_history.outside([_made(rmk_id="unknown"), *_generated(2)])
    told = {**found, old: found["mek2"]}  # it came later than that backup
    monkeypatch.setattr(node.meks, "_count_outside", lambda: told)
    node.meks.retire(old, ACTOR)


def test_a_rotation_while_a_backup_is_read_back_does_not_shift_it(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """findings D5: the backup was counted for the new MEK, and the one that opens it was retired without a word."""
    old = node.envelope_keys.active_mek_id
    real = checks.is_as_written

    def verify(path: Path, stage: checks.Stage) -> None:
        node.meks.rotate(ACTOR)
        real(path, stage)

    monkeypatch.setattr(checks, "is_as_written", verify)
    made = backups.make(node, tmp_path / "bare")
    assert (made.mek_id, node.envelope_keys.active_mek_id != old) == (old, True)
    details = list(node.events.read())[-1]["details"]
    assert isinstance(details, dict)
    assert (details["mek_id"], details["rmk_id"]) == (old, made.manifest.rmk_id)
    assert node.meks.usage().outside == {old: Outside(backups=1)}
    with pytest.raises(StateError, match="at least 1 backup"):
        node.meks.retire(old, ACTOR)


def test_an_unknown_mek_and_the_one_that_encrypts_are_refused_without_a_question(
    node: Node, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _sealed(node, tmp_path, "f")

    def ask(_: str) -> str:
        raise AssertionError("nothing is to be asked")

    monkeypatch.setattr("strongroom.cli.terminal.streams.ask", ask)
    assert run("security", "kms", "retire", node.envelope_keys.active_mek_id) == 7
    assert run("security", "kms", "retire", "00000000-0000-4000-8000-000000000000") == 22
    opening.open_node(str(node.paths.root)).close()
