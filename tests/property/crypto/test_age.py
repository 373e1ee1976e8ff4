"""Whatever stands in a file that should be an age file, an identity or a share: an error of ours, or the right answer."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from strongroom.crypto import age, shares
from strongroom.crypto.age import OpenWith, SealTo
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import FormatError, IntegrityError, UsageError

_IDENTITY = age.new_identity()
_SEALED = age.seal(b"what was sealed", SealTo((_IDENTITY.recipient,)))
_SHARES = shares.split(_IDENTITY, 2, 3)
_HEADS = (age.MAGIC, age.MAGIC + b"-> X25519 ", b"-----BEGIN AGE ENCRYPTED FILE-----\n")


@given(st.sampled_from(_HEADS), st.binary(max_size=200))
@example(b"", b"")
def test_other_bytes_are_refused_in_words(head: bytes, rest: bytes) -> None:
    with pytest.raises((FormatError, IntegrityError)):
        age.open_sealed(head + rest, OpenWith((_IDENTITY,)))


@given(
    st.integers(0, len(_SEALED)), st.integers(0, 20), st.binary(max_size=20), st.integers(1, 255)
)
def test_no_change_of_a_file_passes(place: int, cut: int, more: bytes, flip: int) -> None:
    changed = _SEALED[:place] + more + _SEALED[place + cut :]
    if changed == _SEALED:
        at = min(place, len(_SEALED) - 1)
        changed = _SEALED[:at] + bytes([_SEALED[at] ^ flip]) + _SEALED[at + 1 :]
    with pytest.raises((FormatError, IntegrityError)):
        age.open_sealed(changed, OpenWith((_IDENTITY,)))


@given(st.binary(max_size=2000))
def test_what_was_sealed_comes_back(data: bytes) -> None:
    sealed = age.seal(data, SealTo((_IDENTITY.recipient,)))
    assert age.open_sealed(sealed, OpenWith((_IDENTITY,))) == SecretBytes(data)


@given(st.binary(max_size=200))
def test_other_identity_files_are_refused_in_words(data: bytes) -> None:
    with pytest.raises(UsageError):
        age.parse_identities(data)


@given(st.text(max_size=300))
@example("academic " * 33)
@example("\u212a" * 33)  # a letter whose lower case is another one
def test_other_texts_are_no_shares(text: str) -> None:
    with pytest.raises(UsageError):
        shares.describe(shares.words_of(text))


@given(
    st.lists(
        st.sampled_from(["\n", " ", "\t", "\r\n", "\n# a comment\n"]), min_size=33, max_size=33
    )
)
def test_a_share_is_read_however_it_is_set(gaps: list[str]) -> None:
    words = _SHARES[0].split()
    set_otherwise = "".join(
        f"{gap}{place}. {word.upper()}"
        for place, (word, gap) in enumerate(zip(words, gaps, strict=True), 1)
    )
    assert shares.words_of(set_otherwise) == _SHARES[0]
    assert shares.combine([shares.words_of(set_otherwise), _SHARES[2]]).text == _IDENTITY.text


@given(st.integers(0, 32), st.integers(0, 1022))
def test_one_wrong_word_is_always_found(place: int, shift: int) -> None:
    """SLIP-39's checksum finds any three."""
    from shamir_mnemonic.wordlist import WORDLIST

    words = _SHARES[0].split()
    number = WORDLIST.index(words[place])
    words[place] = WORDLIST[(number + 1 + shift) % len(WORDLIST)]
    with pytest.raises(UsageError):
        shares.describe(" ".join(words))
