"""A MEK that is retired between the moment when it sealed a file outside the store and the event that tells of it (findings D5).

The key is taken before the event that a retirement counts can be written: the file was reported as made, and nothing opened it.
Here the keys are rotated and the MEK retired right before the event; the enumeration over all moments is in
`tests/torture/test_retire_beside.py`.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from strongroom.errors import ConflictError, StrongroomError
from strongroom.eventlog.base import Event
from strongroom.eventlog.events import extract_events
from strongroom.filestore.blockfile import LockedHeader
from strongroom.node import opening
from strongroom.node.opening import Node
from strongroom.services.files import one
from strongroom.services.files.many import Outputs
from strongroom.services.files.one import Output

ACTOR = "os:tester"
Seal = Callable[[Node, Path], StrongroomError | None]


@pytest.fixture
def other(node: Node) -> Iterator[Node]:
    """Another process's, as far as keys go."""
    opened = opening.open_node(str(node.paths.root))
    yield opened
    opened.close()


def _before_the_event(
    node: Node, patch: pytest.MonkeyPatch, action: Callable[[], None], kind: str
) -> None:
    """Do something once, when an event of this kind is about to be written."""
    append, done = node.events.append, list[bool]()

    def appended(new: list[Event]) -> None:
        if not done and any(one.id == kind for one in new):
            done.append(True)
            action()
        append(new)

    patch.setattr(node.events, "append", appended)


def _one(node: Node, folder: Path) -> StrongroomError | None:
    try:
        node.standalone_files.encrypt(
            str(folder / "a"), Output(str(folder / "a.sealed")), actor=ACTOR
        )
    except StrongroomError as error:
        return error
    return None


def _many(node: Node, folder: Path) -> StrongroomError | None:
    pairs = [(str(folder / name), str(folder / f"{name}.sealed")) for name in ("a", "b")]
    done = node.standalone_files.encrypt_many(pairs, actor=ACTOR, outputs=Outputs())
    assert len({one.error is None for one in done}) == 1
    return done[0].error


def _pipe(node: Node, folder: Path) -> StrongroomError | None:
    read, write = os.pipe()
    os.write(write, b"content of a pipe")
    os.close(write)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(one, "_STDIN", read)
        try:
            node.standalone_files.encrypt("-", Output(str(folder / "a.sealed")), actor=ACTOR)
        except StrongroomError as error:
            return error
        finally:
            os.close(read)
    return None


WAYS: dict[str, Seal] = {"one": _one, "many": _many, "pipe": _pipe}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "outside"
    made.mkdir()
    for name in ("a", "b"):
        (made / name).write_bytes(b"content of " + name.encode())
    return made


@pytest.mark.parametrize("way", WAYS)
def test_a_file_whose_key_went_is_not_made(
    node: Node, other: Node, folder: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """findings D5: it says so and leaves nothing; run again, it seals under the MEK that encrypts now."""
    old = node.envelope_keys.active_mek_id

    def retire() -> None:
        other.meks.rotate(ACTOR)
        other.meks.retire(old, ACTOR)

    _before_the_event(node, monkeypatch, retire, extract_events.FILE_ENCRYPTED)
    error = WAYS[way](node, folder)
    assert isinstance(error, ConflictError)
    assert error.message.startswith(f"MEK {old} was retired while ")
    assert "again" in error.hint
    assert {path.name for path in folder.iterdir()} == {"a", "b"}
    assert WAYS[way](node, folder) is None
    node.standalone_files.verify(str(folder / "a.sealed"))


@pytest.mark.parametrize("way", WAYS)
def test_a_file_whose_key_only_decrypts_by_then_is_counted(
    node: Node, other: Node, folder: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """findings D5: a rotation alone harms nobody, and the retirement behind it is asked about."""
    old = node.envelope_keys.active_mek_id
    _before_the_event(node, monkeypatch, lambda: _rotate(other), extract_events.FILE_ENCRYPTED)
    assert WAYS[way](node, folder) is None
    node.standalone_files.verify(str(folder / "a.sealed"))
    with pytest.raises(StrongroomError, match="outside the store"):
        other.meks.retire(old, ACTOR)


def _rotate(node: Node) -> None:
    node.meks.rotate(ACTOR)


def test_a_file_that_is_rewrapped_under_a_key_that_went_stays_as_it_was(
    node: Node, other: Node, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """findings D5: the log says again what the file needs, and the MEK that opens it is kept."""
    assert _one(node, folder) is None
    old = node.envelope_keys.active_mek_id
    node.meks.rotate(ACTOR)
    new = node.envelope_keys.active_mek_id

    def retire() -> None:
        other.meks.rotate(ACTOR)
        other.meks.retire(new, ACTOR)

    _before_the_event(node, monkeypatch, retire, extract_events.FILE_REWRAPPED)
    sealed = str(folder / "a.sealed")
    (done,) = node.standalone_files.rewrap([sealed], actor=ACTOR)
    assert not done.changed
    assert isinstance(done.error, ConflictError)
    node.standalone_files.verify(sealed)
    with pytest.raises(StrongroomError, match="at least 1 file outside the store"):
        other.meks.retire(old, ACTOR)
    (again,) = node.standalone_files.rewrap([sealed], actor=ACTOR)
    assert again.changed
    other.meks.retire(old, ACTOR)
    node.standalone_files.verify(sealed)


def test_what_the_log_says_of_a_rewrap_is_the_key_in_the_file(
    node: Node, other: Node, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """findings D5: a rotation meanwhile, and the event named a MEK that the file never had."""
    assert _one(node, folder) is None
    node.meks.rotate(ACTOR)
    new = node.envelope_keys.active_mek_id
    sync = LockedHeader.sync

    def rotate_then_sync(page: LockedHeader) -> None:
        monkeypatch.setattr(LockedHeader, "sync", sync)
        _rotate(other)
        page.sync()

    monkeypatch.setattr(LockedHeader, "sync", rotate_then_sync)
    (done,) = node.standalone_files.rewrap([str(folder / "a.sealed")], actor=ACTOR)
    assert done.changed
    (told,) = [
        one["details"] for one in node.events.read() if one["id"] == extract_events.FILE_REWRAPPED
    ]
    assert told["after"] == new  # type: ignore[index]
    with pytest.raises(StrongroomError, match="outside the store"):
        other.meks.retire(new, ACTOR)


def test_a_rewrap_that_is_cut_has_told_before_the_old_key_is_overwritten(
    node: Node, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """findings D5: the event came last, and a kill before it left a file whose MEK nobody counted."""
    assert _one(node, folder) is None
    node.meks.rotate(ACTOR)
    sealed = folder / "a.sealed"
    seen: list[bytes] = []
    _before_the_event(
        node, monkeypatch, lambda: seen.append(sealed.read_bytes()), extract_events.FILE_REWRAPPED
    )
    node.standalone_files.rewrap([str(sealed)], actor=ACTOR)
    sealed.write_bytes(seen[0])  # as a kill at the event would have left it
    old, new = (str(mek.id) for mek in node.kms_store.status().meks)
    inspected = one.inspect_file(str(sealed)).to_json()["slots"]
    assert {slot["mek_id"] for slot in inspected} == {old, new}  # type: ignore[attr-defined]
