"""The checksum of key slots."""

import pytest

from strongroom.system.crc32c import crc32c


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", 0),
        (b"123456789", 0xE3069283),  # the check value of the CRC catalogues
        (bytes(32), 0x8A9136AA),  # RFC 3720 appendix B.4, as the next three
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
    ],
    ids=["empty", "check", "zeros", "ones", "up", "down"],
)
def test_published_values(data: bytes, expected: int) -> None:
    assert crc32c(data) == expected
