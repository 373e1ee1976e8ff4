"""AES-GCM with the nonce before the ciphertext; known answers: `vectors/test_wycheproof`."""

import pytest

from strongroom.crypto import aead, rng
from strongroom.errors import IntegrityError

AAD = b"of the test"


@pytest.mark.parametrize("length", [0, 1, aead.NONCE_BYTES, aead.OVERHEAD_BYTES - 1])
def test_what_is_too_short_for_nonce_and_tag_opens_by_no_key(length: int) -> None:
    """The library would raise an error of its own for a nonce that is cut."""
    with pytest.raises(IntegrityError):
        aead.open_(rng.new_key(), bytes(length), aad=AAD)


def test_an_empty_value_is_as_long_as_the_overhead() -> None:
    key = rng.new_key()
    sealed = aead.seal(key, b"", aad=AAD)
    assert len(sealed) == aead.OVERHEAD_BYTES
    assert aead.open_(key, sealed, aad=AAD) == b""
    with pytest.raises(IntegrityError):
        aead.open_(key, sealed, aad=b"of another")
