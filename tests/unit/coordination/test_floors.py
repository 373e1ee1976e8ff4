"""Nothing that was done with comes back: docs/format/entries.md 3; issue 10, part B; review X4 (f), (g)."""

import hashlib

import pytest

from strongroom.coordination import floors
from strongroom.coordination.floors import PendingPoint, Point, Rotated, RotationPoint
from strongroom.errors import IntegrityError

OLD, NEW = b"old document", b"new document"
DIGEST = hashlib.sha256(OLD).digest()


def test_the_predecessor_is_the_one_that_is_named() -> None:
    floors.check_predecessor(None, None)
    floors.check_predecessor(DIGEST, OLD)
    for before, previous in ((DIGEST, NEW), (DIGEST, None), (None, OLD)):
        with pytest.raises(IntegrityError, match="not the one that it names"):
            floors.check_predecessor(before, previous)


@pytest.mark.parametrize(
    ("number", "base", "words"),
    [
        pytest.param(5, 3, "", id="next"),
        pytest.param(9, 7, "", id="later"),
        pytest.param(4, 3, "up to 4 were applied or discarded", id="discarded-and-copied-back"),
        pytest.param(1, 3, "up to 4", id="long-ago"),
        pytest.param(5, 8, "which has 7", id="document-put-back"),
    ],
)
def test_pending_changes(number: int, base: int, words: str) -> None:
    """The review's attack: pending copied, discarded, another value applied, copied back."""
    pending = PendingPoint(number, base)
    if not words:
        floors.check_pending(pending, floor=4, document_version=7)
        return
    with pytest.raises(IntegrityError, match=words):
        floors.check_pending(pending, floor=4, document_version=7)


INTENDED = RotationPoint("run-2", ("redis.password", "redis.user"), 6, promoted=False)
PROMOTED = INTENDED._replace(promoted=True)
BEFORE = Rotated("run-1", 5)
ENDED = Rotated("run-2", 7)
AFTER = Rotated("run-3", 9)


@pytest.mark.parametrize(
    ("journal", "records", "words"),
    [
        pytest.param(INTENDED, {}, "", id="never-rotated"),
        pytest.param(INTENDED, {"redis.password": BEFORE}, "", id="rotated-before"),
        pytest.param(
            INTENDED, {"redis.password": BEFORE, "other": AFTER}, "", id="another-rotated-since"
        ),
        pytest.param(INTENDED, {"redis.password": ENDED}, "is over", id="its-own-end"),
        pytest.param(INTENDED, {"redis.password": AFTER}, "is over", id="rotated-since"),
        pytest.param(
            INTENDED, {"redis.password": BEFORE, "redis.user": AFTER}, "is over", id="second"
        ),
        pytest.param(
            PROMOTED, {"redis.password": ENDED, "redis.user": ENDED}, "", id="promoted-and-recorded"
        ),
        pytest.param(PROMOTED, {"redis.password": ENDED}, "does not", id="promoted-in-part"),
        pytest.param(
            PROMOTED,
            {"redis.password": ENDED, "redis.user": AFTER},
            "does not",
            id="promoted-and-rotated-since",
        ),
        pytest.param(
            INTENDED._replace(document_version=10), {}, "version 10", id="document-put-back"
        ),
    ],
)
def test_journals_of_rotations(
    journal: RotationPoint, records: dict[str, Rotated], words: str
) -> None:
    """The review's attack: a journal that was finished is put back, with an old value as `new`."""
    if not words:
        floors.check_rotation(journal, records, document_version=9)
        return
    with pytest.raises(IntegrityError, match=words):
        floors.check_rotation(journal, records, document_version=9)


def test_journals_of_keys_belong_to_the_present_store() -> None:
    present = Point(4, DIGEST)
    floors.check_same_store(present, present)
    for other in (Point(3, DIGEST), Point(5, DIGEST), Point(4, bytes(32))):
        with pytest.raises(IntegrityError, match=f"epoch {other.number}, and not"):
            floors.check_same_store(other, present)


def test_a_regeneration_is_of_a_key_in_force() -> None:
    for key_id in ("", "active", "next"):
        floors.check_regeneration(key_id, active="active", next_id="next")
    floors.check_regeneration("active", active="active", next_id=None)
    with pytest.raises(IntegrityError, match="old is over"):
        floors.check_regeneration("old", active="active", next_id=None)
