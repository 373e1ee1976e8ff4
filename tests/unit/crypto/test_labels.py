"""The words in which the table of labels tells the fields behind a label (docs/format/primitives.md 5)."""

import pytest

from strongroom.crypto.labels import Field


@pytest.mark.parametrize(
    ("field", "expected"),
    [(Field("installation", 16), "installation (16)"), (Field("parameter", 0), "parameter")],
    ids=["of a length", "of any length"],
)
def test_a_field_is_told_with_its_length_if_it_has_one(field: Field, expected: str) -> None:
    assert str(field) == expected
