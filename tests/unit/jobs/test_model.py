"""The words and records of jobs."""

import pytest

from strongroom.errors import FormatError
from strongroom.jobs.model import JobKind, JobOptions, JobState, Receipt

RECEIPT = Receipt(3, 2, 3, 0, 42, "mek", "2026-01-02T03:04:05Z", "2026-01-02T03:04:06Z")


def test_the_words_are_those_that_scripts_see() -> None:
    """E-11, and the interfaces of the project."""
    assert [kind.value for kind in JobKind] == [
        "encrypt_extracts",
        "decrypt_extracts",
        "rekey_extracts",
        "rewrap_extracts",
    ]
    assert [state.value for state in JobState if state.is_final] == [
        "succeeded",
        "failed",
        "cancelled",
    ]


def test_a_receipt_comes_back_as_it_was_stored() -> None:
    assert Receipt.from_dict(RECEIPT.to_dict()) == RECEIPT
    assert list(RECEIPT.to_dict()) == [
        "scanned",
        "changed",
        "verified",
        "remaining",
        "bytes",
        "mek_id",
        "started_at",
        "finished_at",
    ]


@pytest.mark.parametrize(
    "change",
    [{"scanned": "3"}, {"scanned": True}, {"extra": 1}, {"mek_id": None}],
    ids=["text", "bool", "extra", "null"],
)
def test_a_receipt_of_another_form_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(FormatError):
        Receipt.from_dict({**RECEIPT.to_dict(), **change})
    with pytest.raises(FormatError):
        Receipt.from_dict({})


def test_equal_requests_are_equal_as_stored() -> None:
    assert JobOptions(("b", "a")).to_dict() == JobOptions(("a", "b")).to_dict()
    assert JobOptions.from_dict({}) == JobOptions()
    assert JobOptions.from_dict({"content_ids": ["a"], "new_data_key": True}) == JobOptions(
        ("a",), new_data_key=True
    )


@pytest.mark.parametrize("ids", ["a", [1], None], ids=["text", "number", "null"])
def test_options_of_another_form_are_refused(ids: object) -> None:
    with pytest.raises(FormatError):
        JobOptions.from_dict({"content_ids": ids})
