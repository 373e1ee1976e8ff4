"""CRC32C (Castagnoli): finds torn sectors of a key slot (envelope.md §3.3) and damage on the way to Cloud KMS."""

_POLYNOMIAL = 0x82F63B78  # 0x1EDC6F41, reflected


def _table() -> tuple[int, ...]:
    rows = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
        rows.append(value)
    return tuple(rows)


_TABLE = _table()


def crc32c(data: bytes) -> int:
    """The checksum of a few hundred bytes; for longer data this loop in Python is too slow."""
    value, table = 0xFFFFFFFF, _TABLE
    for byte in data:
        value = value >> 8 ^ table[(value ^ byte) & 0xFF]
    return value ^ 0xFFFFFFFF
