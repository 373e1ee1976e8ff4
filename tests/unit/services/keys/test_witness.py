"""What the event log says of the KMS store (docs/format/kms-store.md 4.4)."""

from collections.abc import Iterator, Mapping

import pytest

from strongroom.errors import IntegrityError
from strongroom.eventlog.base import Event
from strongroom.eventlog.events import key_events
from strongroom.services.keys import witness
from strongroom.services.keys.witness import StoreMark, Told, Witness

A, B, C = "a" * 64, "b" * 64, "c" * 64


def _records(*written: Event) -> Iterator[Mapping[str, object]]:
    return iter([{"id": one.id, "details": one.details} for one in written])


def _changing(epoch: int, digest: str) -> Event:
    return key_events.kms_store_changing("os:ada", epoch=epoch, digest=digest)


def _changed(epoch: int, digest: str) -> Event:
    return key_events.kms_store_changed("os:ada", epoch=epoch, digest=digest)


def _accepted(epoch: int, **digest: str) -> Event:
    return Event(key_events.KMS_EPOCH_ACCEPTED, "os:ada", {"epoch": epoch, **digest})


@pytest.mark.parametrize(
    ("log", "present", "told"),
    [
        ((), (1, A), Told.ANNOUNCED),
        ((_changing(2, B), _changed(2, B)), (2, B), Told.DONE),
        ((_changing(2, B),), (2, B), Told.ANNOUNCED),
        ((_changing(2, A), _changing(2, B)), (2, B), Told.ANNOUNCED),
        ((_changing(2, B),), (1, A), Told.ANNOUNCED),
        ((_changed(7, A), _changing(8, B)), (8, B), Told.ANNOUNCED),
        ((_changed(7, A), _changing(8, B)), (7, A), Told.DONE),
        ((_changed(7, A), _accepted(1, sha256=B)), (1, B), Told.DONE),
        ((_changed(7, A), _accepted(1)), (1, B), Told.DONE),
        ((_changed(7, A), _accepted(1, sha256=B), _changing(2, C)), (2, C), Told.ANNOUNCED),
    ],
)
def test_what_the_log_bears_out_is_taken(
    log: tuple[Event, ...], present: tuple[int, str], told: Told
) -> None:
    assert witness.read(_records(*log)).check(StoreMark(*present)) is told


@pytest.mark.parametrize(
    ("log", "present", "words"),
    [
        ((), (2, A), "no event announced"),
        ((_changing(2, B),), (2, A), "no event announced"),
        ((_changing(3, A),), (2, A), "no event announced"),
        ((_changing(2, A), _changing(2, B)), (2, A), "no event announced"),
        ((_changed(2, A),), (3, B), "no event announced"),
        ((_changed(2, A), _changing(2, B)), (2, B), "tells of epoch 2: it was rolled back"),
        ((_changed(7, A),), (6, A), "tells of epoch 7"),
        ((_changed(7, A),), (1, A), "tells of epoch 7"),
        ((_changed(7, A), _accepted(1, sha256=B)), (1, A), "tells of epoch 1"),
        ((_changed(7, A), _accepted(1, sha256=B)), (7, A), "no event announced"),
    ],
)
def test_what_the_log_speaks_against_is_refused(
    log: tuple[Event, ...], present: tuple[int, str], words: str
) -> None:
    with pytest.raises(IntegrityError, match=words) as refused:
        witness.read(_records(*log)).check(StoreMark(*present))
    assert f"accept --epoch {present[0]}" in refused.value.hint


def test_a_record_without_a_number_says_nothing() -> None:
    strange: list[Mapping[str, object]] = [
        {"id": key_events.KMS_STORE_CHANGED, "details": "none"},
        {"id": key_events.KMS_STORE_CHANGED, "details": {"epoch": "7", "sha256": A}},
        {"id": key_events.KMS_STORE_CHANGING, "details": {}},
    ]
    assert witness.read(iter(strange)) == Witness()
