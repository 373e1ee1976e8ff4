"""What nobody needs goes, by the store's times alone, and nothing else (format/object-store.md §5, §6)."""

from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta

import pytest

from strongroom.errors import FormatError, NotFoundError
from strongroom.filestore.base import HEADER_BYTES
from strongroom.ids import new_id
from strongroom.objectstore import heads, pins, sweep
from strongroom.objectstore.base import Bucket
from strongroom.objectstore.store import ObjectFileStore

_BODY = bytes(range(256)) * 80
NOW = timedelta(seconds=-2)  # everything is old
KEYS = {"head": 1, "body": 1, "gone": 0}


@pytest.fixture
def store(bucket: Bucket) -> Iterator[ObjectFileStore]:
    made = ObjectFileStore(bucket, "node1")
    yield made
    made.close()


def put(store: ObjectFileStore, key: str, data: bytes = _BODY) -> None:
    pending = store.put(key)
    pending.write_at(0, data)
    pending.commit()


def content(store: ObjectFileStore, key: str) -> bytes:
    with closing(store.open(key)) as file:
        target = bytearray(file.size)
        file.read_into_at(0, memoryview(target))
    return bytes(target)


def begin(bucket: Bucket) -> None:
    """Leave a part of an upload that nobody completes."""
    name = heads.body_place("four", "0" * 32)
    bucket.write_part(name, bucket.begin_parts(name), 1, b"x")


def counts(bucket: Bucket) -> dict[str, int]:
    return {folder: len(list(bucket.list(folder))) for folder in KEYS}


def test_what_is_young_stays(store: ObjectFileStore, bucket: Bucket) -> None:
    put(store, "one")
    put(store, "two")
    store.delete("two")
    bucket.write(heads.body_place("three", new_id().replace("-", "")), b"x")
    before = counts(bucket)  # without an upload of parts: moto says of each that it began in 2010
    assert store.remove_leftovers() == store.sweep() == 0
    assert counts(bucket) == before


def test_what_is_old_goes(store: ObjectFileStore, bucket: Bucket) -> None:
    put(store, "one")
    put(store, "small", b"no body")
    for key, data in (("two", _BODY), ("small-two", b"y")):
        put(store, key, data)
        store.delete(key)
    bucket.write(heads.body_place("three", "1" * 32), b"x")
    begin(bucket)
    assert sweep.sweep(bucket, NOW) == 3, "a deleted body, one without a writer, an upload"
    assert counts(bucket) == {"head": 2, "body": 1, "gone": 0}
    assert list(bucket.open_uploads()) == []
    assert content(store, "one") == _BODY
    assert sweep.sweep(bucket, NOW) == 0


def test_a_deletion_that_died_between_its_steps(store: ObjectFileStore, bucket: Bucket) -> None:
    """The note is there, and the head as well: the file is there."""
    put(store, "one")
    head = heads.Heads(bucket).read("one")
    bucket.write(heads.gone_place("one", head.body_id), head.serialize())
    assert sweep.sweep(bucket, NOW) == 0
    assert counts(bucket) == {"head": 1, "body": 1, "gone": 0}
    assert content(store, "one") == _BODY


def test_of_two_bodies_of_a_key_the_named_one_stays(store: ObjectFileStore, bucket: Bucket) -> None:
    put(store, "one")
    bucket.write(heads.body_place("one", "2" * 32), b"of a writer that came second")
    assert sweep.sweep(bucket, NOW) == 1
    assert content(store, "one") == _BODY


def test_nothing_goes_while_a_head_cannot_be_read(store: ObjectFileStore, bucket: Bucket) -> None:
    put(store, "one")
    bucket.write(heads.body_place("one", "2" * 32), b"another")
    bucket.write(heads.place("one"), b"no head")
    with pytest.raises(FormatError, match="is none"):
        sweep.sweep(bucket, NOW)
    assert counts(bucket)["body"] == 2
    with pytest.raises(FormatError):
        store.open("one")


def test_a_deletion_that_comes_while_it_is_swept(
    store: ObjectFileStore, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the notes were listed, and before the heads are: the note is looked for once more."""
    put(store, "one")
    listed = bucket.list

    def listing(folder: str) -> object:
        if folder == "head":
            store.delete("one")
        return listed(folder)

    monkeypatch.setattr(bucket, "list", listing)
    assert sweep.sweep(bucket, NOW) == 0
    monkeypatch.undo()
    assert counts(bucket) == {"head": 0, "body": 1, "gone": 1}


def test_a_note_that_is_written_anew_while_it_is_swept(
    store: ObjectFileStore, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deletion died between its steps long ago; the file is deleted again when the sweep has read its lists."""
    put(store, "one")
    found = heads.Heads(bucket).read("one")
    note = heads.gone_place("one", found.body_id)
    bucket.write(note, found.serialize())
    asked = bucket.changed

    def later(name: str) -> datetime:
        assert name == note
        store.delete("one")
        return asked(name) + timedelta(minutes=1)  # the store counts seconds

    monkeypatch.setattr(bucket, "changed", later)
    assert sweep.sweep(bucket, NOW) == 0
    monkeypatch.undo()
    assert counts(bucket) == {"head": 0, "body": 1, "gone": 1}

    def gone(name: str) -> datetime:
        bucket.delete(name)
        return asked(name)

    monkeypatch.setattr(bucket, "changed", gone)
    assert sweep.sweep(bucket, NOW) == 0, "another node swept the note, and the body with it"


def test_pins_of_any_node_keep_deleted_files(
    store: ObjectFileStore, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, "one")
    other = ObjectFileStore(bucket, "node2")
    kept = other.keep(["one"])
    store.delete("one")
    assert sweep.sweep(bucket, NOW) == 0
    with closing(kept.open("one")) as file:
        assert file.size == len(_BODY)
    assert not store.is_keeping, "each node has its own"
    store.let_go()
    assert sweep.sweep(bucket, NOW) == 0
    monkeypatch.setattr(sweep, "LONGEST_PIN", NOW)  # the pin of a node that is no more
    assert sweep.sweep(bucket, NOW) == 1
    with pytest.raises(NotFoundError, match="any more"):
        kept.open("one")
    other.let_go()
    assert not other.is_keeping


def test_a_reader_is_told_that_a_body_was_swept(store: ObjectFileStore, bucket: Bucket) -> None:
    put(store, "one")
    file = store.open("one")
    store.delete("one")
    sweep.sweep(bucket, NOW)
    with pytest.raises(NotFoundError, match="any more"):
        file.read_into_at(HEADER_BYTES, memoryview(bytearray(10)))
    file.close()


def test_a_file_deleted_in_a_backup_without_a_body(store: ObjectFileStore, bucket: Bucket) -> None:
    put(store, "one", b"short")
    kept = store.keep(["one"])
    store.delete("one")
    with closing(kept.open("one")) as file:
        target = bytearray(9)
        assert file.read_into_at(0, memoryview(target)) == 5
    assert bytes(target[:5]) == b"short"
    assert pins.FOLDER == "pin"


def test_everything_goes(store: ObjectFileStore, bucket: Bucket) -> None:
    put(store, "one")
    put(store, "two")
    store.delete("two")
    store.keep()
    begin(bucket)
    bucket.write("probe/x", b"x")
    assert store.empty() == 1
    for folder in ("head", "body", "gone", "pin", "probe"):
        assert list(bucket.list(folder)) == []
    assert list(bucket.open_uploads()) == []
