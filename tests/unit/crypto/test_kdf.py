"""HKDF at the bounds of its length; known answers: `vectors/test_wycheproof`."""

import pytest

from strongroom.crypto import kdf
from strongroom.crypto.secret import SecretBytes

KEY = SecretBytes(bytes(range(32)))
MOST = 255 * 32


@pytest.mark.parametrize("length", [-1, 0, MOST + 1])
def test_a_length_that_hkdf_does_not_give_is_a_fault_of_the_program(length: int) -> None:
    with pytest.raises(ValueError, match="HKDF gives 1 to 8160 bytes"):
        kdf.hkdf(KEY, salt=b"", info=b"", length=length)


@pytest.mark.parametrize("length", [1, 31, 33, MOST])
def test_a_shorter_output_is_the_beginning_of_a_longer_one(length: int) -> None:
    longest = kdf.hkdf(KEY, salt=b"salt", info=b"info", length=MOST).reveal()
    found = kdf.hkdf(KEY, salt=b"salt", info=b"info", length=length).reveal()
    assert found == longest[:length]


@pytest.mark.parametrize("length", [1, 32, 44, 76, MOST])
@pytest.mark.parametrize("salt", [b"", b"salt", bytes(64), b"s" * 65])
def test_the_library_gives_what_the_standard_library_gives(
    length: int, salt: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kdf, "_library", [])
    found = kdf.hkdf(KEY, salt=salt, info=b"info", length=length)
    kdf.prefer_library()
    assert kdf.hkdf(KEY, salt=salt, info=b"info", length=length) == found
