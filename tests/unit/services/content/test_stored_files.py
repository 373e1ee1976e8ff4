"""Files are announced before they are there, encrypted or not (findings M2)."""

import pytest

from strongroom.envelope.header import Placement
from strongroom.errors import StorageError
from strongroom.ids import new_id
from strongroom.node.opening import Node
from strongroom.repository.rows import DELETE_INTENT, IntentRow
from strongroom.services.content.stored_files import PUBLISH

HERE = Placement(new_id(), new_id())


def intents(node: Node) -> list[IntentRow]:
    with node.repository.reading() as tx:
        return tx.intents.list()


def files(node: Node) -> list[str]:
    return sorted(node.files.list())


@pytest.mark.parametrize("encrypted", [True, False], ids=["encrypted", "plain"])
def test_a_file_is_announced_before_it_is_visible(whole: Node, *, encrypted: bool) -> None:
    """findings M2: a plain file was not announced, and nothing noticed: a kill would have left it for ever."""
    with whole.stored_files.create(HERE, encrypted=encrypted) as writer:
        (intent,) = intents(whole)
        assert intent.purpose == PUBLISH
        assert intent.storage_key == writer.planned.storage_key
        assert (intent.mek_id, intent.file_id) == (writer.planned.mek_id, writer.planned.file_id)
        assert bool(intent.mek_id) is encrypted
        assert files(whole) == []
        writer.write(b"content")
        stored = writer.commit()
    assert files(whole) == [stored.storage_key]
    assert [one.storage_key for one in intents(whole)] == [stored.storage_key]
    # no row came: the next start removes both
    assert whole.stored_files.recover() == 1
    assert (files(whole), intents(whole)) == ([], [])


@pytest.mark.parametrize("encrypted", [True, False], ids=["encrypted", "plain"])
def test_a_file_that_cannot_be_announced_is_not_begun(
    whole: Node, monkeypatch: pytest.MonkeyPatch, *, encrypted: bool
) -> None:
    """findings M2, R9: and no intent stays that would count its MEK as in use."""

    def refuse(*_: object) -> None:
        raise StorageError("the disk is full")

    monkeypatch.setattr(type(whole.stored_files), "_announce", refuse)
    with pytest.raises(StorageError, match="the disk is full"):
        whole.stored_files.create(HERE, encrypted=encrypted)
    assert (files(whole), intents(whole)) == ([], [])


def test_what_a_start_removes_and_what_it_keeps(whole: Node) -> None:
    """Orphans go; what is named to be kept, and what others announced, stays."""
    keys = []
    for _ in range(3):
        with whole.stored_files.create(HERE, encrypted=False) as writer:
            writer.write(b"content")
            keys.append(writer.commit().storage_key)
    with whole.repository.transaction() as tx:
        for key in keys:
            tx.intents.delete(key)
        tx.intents.insert(IntentRow(keys[2], "", "", "another purpose", "2026-01-02T03:04:05Z"))
    assert whole.stored_files.recover(keep=[keys[1]]) == 1
    assert files(whole) == sorted(keys[1:])
    assert [one.storage_key for one in intents(whole)] == [keys[2]]


def test_a_file_that_has_to_go_is_noted_with_the_row_that_goes(whole: Node) -> None:
    with whole.stored_files.create(HERE, encrypted=True) as writer:
        writer.write(b"content")
        key = writer.commit().storage_key
    with whole.repository.transaction() as tx:
        whole.stored_files.discard_later(tx, key)
    assert [(one.storage_key, one.purpose) for one in intents(whole)] == [(key, DELETE_INTENT)]
    assert files(whole) == [key]
    whole.stored_files.discard(key)
    assert (files(whole), intents(whole)) == ([], [])
