"""Laws of single-shot seals: docs/format/seals.md."""

from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from strongroom.crypto import labels, seals
from strongroom.crypto.seals import Place
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import StrongroomError

LABELS = st.sampled_from([use.label for use in labels.SEALS])
PLACES = st.builds(Place, LABELS, st.lists(st.binary(max_size=40), max_size=6).map(tuple))
KEYS = st.binary(min_size=32, max_size=32).map(SecretBytes)


@given(PLACES, PLACES)
def test_no_two_places_have_one_info(one: Place, other: Place) -> None:
    """1.2: whatever the fields are."""
    assert (one.info == other.info) == (one == other)


CUTS = st.lists(st.integers(0, 12), max_size=4).map(sorted)


@given(LABELS, st.binary(min_size=1, max_size=12), CUTS, CUTS)
def test_the_same_bytes_cut_elsewhere_are_another_place(
    label: bytes, text: bytes, cuts: list[int], other_cuts: list[int]
) -> None:
    """1.2: the lengths tell where a field ends."""
    one, other = (Place(label, _cut(text, at)) for at in (cuts, other_cuts))
    assert (one.info == other.info) == (one == other)


def _cut(text: bytes, at: list[int]) -> tuple[bytes, ...]:
    return tuple(text[begin:end] for begin, end in pairwise([0, *at, len(text)]))


@given(KEYS, PLACES, st.binary(max_size=300))
def test_what_was_sealed_comes_back(key: SecretBytes, place: Place, plaintext: bytes) -> None:
    assert seals.open_(key, place, seals.seal(key, place, plaintext)) == plaintext


@given(KEYS, PLACES, st.binary(max_size=60), st.data())
def test_no_changed_byte_and_no_cut_opens(
    key: SecretBytes, place: Place, plaintext: bytes, data: st.DataObject
) -> None:
    sealed = seals.seal(key, place, plaintext)
    begin = data.draw(st.integers(0, len(sealed)))
    end = data.draw(st.integers(begin, len(sealed)))
    changed = sealed[:begin] + data.draw(st.binary(max_size=40)) + sealed[end:]
    assume(changed != sealed)
    with pytest.raises(StrongroomError):
        seals.open_(key, place, changed)


@given(KEYS, KEYS, PLACES, PLACES)
def test_nothing_opens_under_another_key_or_at_another_place(
    key: SecretBytes, other_key: SecretBytes, place: Place, other_place: Place
) -> None:
    assume((key.reveal(), place) != (other_key.reveal(), other_place))
    with pytest.raises(StrongroomError):
        seals.open_(other_key, other_place, seals.seal(key, place, b"value"))
