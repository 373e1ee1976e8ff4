"""The configuration document and its projections: one form, round trip (docs/format/configuration.md §1.3, §4.2)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.config import yaml_files
from strongroom.config.document import ConfigDocument
from strongroom.errors import FormatError

names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,40}", fullmatch=True)
texts = st.text(st.characters(codec="utf-8"), max_size=80)
ids = st.uuids().map(str)
documents = st.builds(
    ConfigDocument,
    installation_id=ids,
    configuration_key_id=ids,
    values=st.dictionaries(names, texts, max_size=8),
    version=st.integers(1, 2**40),
    before=st.none() | st.binary(min_size=32, max_size=32).map(bytes.hex),
    pending_floor=st.integers(0, 2**40),
)


@given(documents)
def test_round_trip(document: ConfigDocument) -> None:
    data = document.serialize()
    assert ConfigDocument.parse(data) == document
    assert ConfigDocument.parse(data).serialize() == data


@given(documents, st.data())
def test_a_changed_byte_is_refused_or_is_another_document(
    document: ConfigDocument, data: st.DataObject
) -> None:
    """No two texts mean the same document."""
    stored = bytearray(document.serialize())
    place = data.draw(st.integers(0, len(stored) - 1))
    stored[place] ^= data.draw(st.integers(1, 255))
    try:
        other = ConfigDocument.parse(bytes(stored))
    except FormatError:
        return
    assert other != document
    assert other.serialize() == stored


@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    with pytest.raises(FormatError):
        ConfigDocument.parse(data)


@given(documents)
def test_projections_say_what_the_document_says(document: ConfigDocument) -> None:
    """YAML's many readings of a plain text (no, 1e3, 2026-11-21, ~) change no value."""
    files = yaml_files.render(document)
    assert yaml_files.parse(files["tabsvc.yml"]) == document.values
    read = yaml_files.parse(files["workgroup.yml"])
    assert {name: read[name] for name in document.values} == document.values
