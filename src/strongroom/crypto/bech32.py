"""Bech32 (BIP 173) as age writes its keys: text of a prefix and bytes, with a checksum against slips of the pen.

Only the part that shares need: extracting the 32 bytes from an identity's text, and making the text from them. The
checksum finds typing errors; it authenticates nothing.
"""

from strongroom.errors import FormatError

_ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_CHECKSUM_GROUPS = 6


def encode(prefix: str, data: bytes) -> str:
    """The lower-case text of `data` under `prefix`."""
    groups = _regroup(data, 8, 5)
    tail = _polymod([*_expanded(prefix), *groups, *[0] * _CHECKSUM_GROUPS]) ^ 1
    checksum = [(tail >> 5 * (5 - place)) & 31 for place in range(_CHECKSUM_GROUPS)]
    return f"{prefix}1" + "".join(_ALPHABET[group] for group in [*groups, *checksum])


def decode(text: str, prefix: str) -> bytes:
    """The bytes of a lower-case text that has this prefix.

    Raises:
        FormatError: The text has another prefix, a wrong letter or a wrong checksum; the message does not quote the
            text.
    """
    head, _, tail = text.rpartition("1")
    groups = [_ALPHABET.find(letter) for letter in tail]
    if head != prefix or len(groups) < _CHECKSUM_GROUPS or min(groups) < 0:
        raise FormatError(f"this is no bech32 text that begins with {prefix}1")
    if _polymod([*_expanded(prefix), *groups]) != 1:
        raise FormatError(f"the checksum of the bech32 text {prefix}1… is wrong")
    groups = groups[:-_CHECKSUM_GROUPS]
    data = bytes(_regroup(bytes(groups), 5, 8)[: len(groups) * 5 // 8])
    if _regroup(data, 8, 5) != groups:
        raise FormatError(f"the bech32 text {prefix}1… has bits left over")
    return data


def _expanded(prefix: str) -> list[int]:
    return [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix]


def _polymod(groups: list[int]) -> int:
    remainder = 1
    for group in groups:
        top = remainder >> 25
        remainder = (remainder & 0x1FFFFFF) << 5 ^ group
        for place, factor in enumerate(_GENERATOR):
            remainder ^= factor if top >> place & 1 else 0
    return remainder


def _regroup(data: bytes, width: int, into: int) -> list[int]:
    """The same bits in groups of another width, zeros at the end."""
    count = -(-len(data) * width // into)
    number = 0
    for part in data:
        number = number << width | part
    number <<= max(count * into - len(data) * width, 0)
    return [number >> into * (count - 1 - place) & (1 << into) - 1 for place in range(count)]
