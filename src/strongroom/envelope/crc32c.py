"""CRC32C (Castagnoli) of a key slot: finds torn sectors, keeps nobody out (envelope.md §3.3)."""

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
    """The checksum of a few hundred bytes; anything longer deserves a faster one."""
    value, table = 0xFFFFFFFF, _TABLE
    for byte in data:
        value = value >> 8 ^ table[(value ^ byte) & 0xFF]
    return value ^ 0xFFFFFFFF
