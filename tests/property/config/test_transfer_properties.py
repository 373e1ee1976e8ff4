"""Properties of the text of settings: round trip, every truncation refused, nothing but FormatError (docs/format/settings.md)."""

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from strongroom.config import transfer
from strongroom.config.transfer import Settings
from strongroom.errors import FormatError

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
KEYS = st.dictionaries(TEXT, TEXT)


@given(KEYS)
def test_what_is_written_is_read_back(keys: dict[str, str]) -> None:
    """§1.3: any names and values."""
    assert transfer.parse(transfer.serialize(Settings(keys))).keys == keys


@given(KEYS, st.data())
def test_no_part_of_a_text_is_a_text(keys: dict[str, str], data: st.DataObject) -> None:
    """P8: wherever it is cut, it is refused; the last byte is a line break."""
    text = transfer.serialize(Settings(keys))
    length = data.draw(st.integers(0, len(text) - 2))
    with contextlib.suppress(FormatError):
        transfer.parse(text[:length])
        raise AssertionError(text[:length])


@given(
    st.binary(max_size=200) | KEYS.map(lambda keys: transfer.serialize(Settings(keys))), st.data()
)
def test_whatever_comes_in_is_read_or_refused(text: bytes, data: st.DataObject) -> None:
    """Damage of any kind ends in our own error."""
    changed = bytearray(text)
    for _ in range(data.draw(st.integers(0, 3))):
        if changed:
            changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(FormatError):
        transfer.parse(bytes(changed))
