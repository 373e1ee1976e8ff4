"""The journal of a rotation and its record as bytes (docs/format/rotation-journal.md)."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.canonical import dumps
from strongroom.config.rotation import (
    RotationJournal,
    RotationRecord,
    RotationStep,
    parse_older_records,
    parse_records,
    serialize_records,
)
from strongroom.crypto import rng
from strongroom.errors import FormatError
from strongroom.ids import new_id
from strongroom.secrets.committed import ValueKey

NAME = "redis.password"
SEALED = ValueKey(new_id(), new_id(), rng.new_key()).seal(NAME, b"a value")
JOURNAL = RotationJournal("redis/strongroom", new_id(), {NAME: SEALED}, {NAME: SEALED}, document=4)
RECORDS = {NAME: RotationRecord("2026-01-02T03:04:05Z", new_id(), "redis/strongroom", 7)}


def test_a_journal_stands_under_the_first_of_its_parameters() -> None:
    """rotation-journal.md §1.1."""
    other = RotationJournal("c", "r", {"b": SEALED, "a": SEALED}, {})
    assert (JOURNAL.key, other.key) == ("journal/rotation/redis.password", "journal/rotation/a")


@given(
    attempts=st.integers(0, 2**40),
    texts=st.tuples(st.text(), st.text(), st.text()),
    logins=st.dictionaries(st.text(), st.text(), max_size=3),
    step=st.sampled_from(RotationStep),
)
def test_a_journal_comes_back_as_it_was(
    attempts: int, texts: tuple[str, str, str], logins: dict[str, str], step: RotationStep
) -> None:
    journal = RotationJournal(
        texts[0], JOURNAL.run, {NAME: SEALED}, {}, logins, logins, step, attempts, *texts[1:]
    )
    try:
        data = journal.serialize()
    except UnicodeEncodeError:
        return
    assert RotationJournal.parse(data) == journal


def changed(**members: Any) -> bytes:
    return dumps({**json.loads(JOURNAL.serialize()), **members})


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"\xff",
        JOURNAL.serialize()[:-1],
        JOURNAL.serialize() + b" ",
        changed(format="strongroom-rotation-1"),
        changed(document=-1),
        changed(document="1"),
        changed(more=1),
        changed(new={}),
        changed(new={NAME: "plain"}),
        changed(new={"other": SEALED}),
        changed(new=[SEALED]),
        changed(old={"other": SEALED}),
        changed(old={NAME: 1}),
        changed(new_logins={"a": 1}),
        changed(step="done"),
        changed(step=1),
        changed(attempts="1"),
        changed(attempts=True),
        changed(consumer=None),
        changed(not_before=1),
        dumps({k: v for k, v in json.loads(JOURNAL.serialize()).items() if k != "run"}),
    ],
)
def test_a_damaged_journal_is_refused(data: bytes) -> None:
    """rotation-journal.md §1.3."""
    with pytest.raises(FormatError):
        RotationJournal.parse(data)


def test_what_binds_a_journal_to_its_time() -> None:
    """entries.md 3.3"""
    assert JOURNAL.point == (JOURNAL.run, (NAME,), 4, False)
    assert JOURNAL.promoted.point.promoted
    assert RECORDS[NAME].point == (RECORDS[NAME].run, 7)


def test_format_1_is_read_by_the_upgrade_only() -> None:
    older = json.loads(JOURNAL.serialize())
    del older["document"]
    data = dumps({**older, "format": "strongroom-rotation-1"})
    assert RotationJournal.parse_older(data, 9) == replace(JOURNAL, document=9)
    with pytest.raises(FormatError):
        RotationJournal.parse_older(JOURNAL.serialize(), 9)
    old_record = {"at": "x", "run": "r", "consumer": "c"}
    records = {"format": "strongroom-rotation-records-1", "records": {NAME: old_record}}
    assert parse_older_records(dumps(records), 9) == {NAME: RotationRecord("x", "r", "c", 9)}
    with pytest.raises(FormatError):
        parse_older_records(serialize_records(RECORDS), 9)


def test_promotion_forgets_the_failures_before_it() -> None:
    failed = RotationJournal(**{**vars(JOURNAL), "attempts": 3, "problem": "x at admit"})
    assert (failed.promoted.step, failed.promoted.attempts) == (RotationStep.PROMOTED, 0)
    assert (failed.promoted.problem, failed.promoted.new) == ("", failed.new)


def test_records_come_back_as_they_were() -> None:
    assert parse_records(serialize_records(RECORDS)) == RECORDS


@pytest.mark.parametrize(
    "data",
    [
        dumps({"format": "strongroom-rotation-records-2", "records": []}),
        dumps({"format": "strongroom-rotation-records-2", "records": {NAME: {"at": "x"}}}),
        dumps({"format": "strongroom-rotation-records-2", "records": {NAME: 1}}),
        dumps({"format": "strongroom-rotation-records-2"}),
        dumps({"format": "other", "records": {}}),
    ],
)
def test_damaged_records_are_refused(data: bytes) -> None:
    """rotation-journal.md §1.3."""
    with pytest.raises(FormatError):
        parse_records(data)
