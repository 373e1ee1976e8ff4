"""Identifiers: K-10."""

import uuid

import pytest

from strongroom import ids
from strongroom.errors import FormatError


def test_new_ids_are_random_uuids() -> None:
    made = {ids.new_id() for _ in range(100)}
    assert len(made) == 100
    assert {uuid.UUID(one).version for one in made} == {4}
    assert {uuid.UUID(one).variant for one in made} == {uuid.RFC_4122}
    assert all(ids.is_id(one) for one in made)


def test_bytes_and_back() -> None:
    text = "8ddd70df-be67-4dbf-9c35-1f0aa2421521"
    assert ids.id_bytes(text) == uuid.UUID(text).bytes
    assert ids.id_text(ids.id_bytes(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "8DDD70DF-be67-4dbf-9c35-1f0aa2421521",
        "8ddd70df-be67-4dbf-9c35-1f0aa242152",
        "8ddd70df-be67-4dbf-9c35-1f0aa24215211",
        "8ddd70dfbe674dbf9c351f0aa2421521",
        "8ddd70d-fbe67-4dbf-9c35-1f0aa2421521",
        "8ddd70df-be67-4dbf-9c35-1f0aa242152g",
        " 8ddd70df-be67-4dbf-9c35-1f0aa2421521",
        "8ddd70df-be67-4dbf-9c35-1f0aa2421521\n",
        "8ddd70df-be67-4dbf-9c35-1f0aa24215\u0661\u0661",
        "{8ddd70df-be67-4dbf-9c35-1f0aa2421521}",
    ],
)
def test_one_form_only(text: str) -> None:
    assert not ids.is_id(text)
    with pytest.raises(FormatError, match="not an id"):
        ids.id_bytes(text)
