"""Makes `envelope_2.json` anew, byte for byte the same, as `make_envelope.py` makes that of format 1.

Run `python -m tests.vectors.envelope.make_envelope_2` after a change of format/envelope-2.md, and never for another reason.
"""

import hashlib
import json
from pathlib import Path

from strongroom.crypto.secret import SecretBytes
from strongroom.envelope import header as headers
from strongroom.envelope import page_2, pages, slots
from strongroom.envelope.header import FORMAT_2, Header, KeySlot, Placement, Prelude
from strongroom.kms.data_keys import ContextInKey
from strongroom.kms.ring_keys import wrap_in_key
from tests.vectors.envelope.make_envelope import (
    FIRST,
    FIRST_MEK,
    FULL,
    MEKS,
    PLACE,
    SECOND_MEK,
    SEGMENT,
    body,
    case,
    derived,
    mek,
    patched,
)

TARGET = Path(__file__).with_name("envelope_2.json")
BLOCK = 4096
HEADER = 2 * BLOCK
DIGEST = BLOCK - 32


def new_prelude(name: str, segment: int = SEGMENT) -> tuple[Prelude, SecretBytes]:
    """A prelude and its DEK."""
    dek = SecretBytes(derived(f"2 {name} dek", 32))
    file_id = derived(f"2 {name} file id", 16)
    prelude = headers.new_prelude(dek, file_id=file_id, segment_bytes=segment, version=FORMAT_2)
    return prelude, dek


def new_slot(
    name: str,
    prelude: Prelude,
    dek: SecretBytes,
    *,
    mek_id: str = FIRST_MEK,
    sequence: int = 1,
    placement: Placement = PLACE,
) -> KeySlot:
    """A slot."""
    context = slots.context(prelude, placement, sequence=sequence)
    assert isinstance(context, ContextInKey)
    salt = derived(f"2 {name} slot salt {sequence}", 32)
    wrapped = wrap_in_key(mek(mek_id, MEKS[mek_id]), dek, context, salt=salt)
    return slots.new_slot(wrapped, prelude, placement, sequence=sequence)


def envelope(name: str, plaintext: bytes, *, segment: int = SEGMENT) -> bytes:
    """A whole new file."""
    prelude, dek = new_prelude(name, segment)
    slot = new_slot(name, prelude, dek)
    page = pages.serialize(Header(prelude, (slot, slot)))
    return page + body(f"2 {name}", prelude, dek, plaintext)


def two_blocks(name: str, plaintext: bytes, first: bytes, second: bytes) -> bytes:
    """A whole file with given blocks."""
    prelude, dek = new_prelude(name)
    return first + second + body(f"2 {name}", prelude, dek, plaintext)


def digested(block: bytes, offset: int, change: bytes) -> bytes:
    """A block that was changed, with a digest that fits."""
    content = patched(block, offset, change)[:DIGEST]
    return content + hashlib.sha256(content).digest()


def both(data: bytes, offset: int, change: bytes) -> bytes:
    """A file whose two blocks were changed alike, with digests that fit."""
    block = digested(data[:BLOCK], offset, change)
    return block + block + data[HEADER:]


def good() -> list[dict[str, object]]:
    """What must open."""
    cases = []
    for length in [0, 1, 100, FIRST - 1, FIRST, FIRST + 1, FIRST + FULL, FIRST + FULL + 1, 20_000]:
        name = f"{length} bytes"
        plaintext = derived(f"2 {name} plaintext", length)
        cases.append(case(name, "§4.1", envelope(name, plaintext), plaintext=plaintext))
    text = b"A file whose header lost a block opens by the other one."
    prelude, dek = new_prelude("rewrapped")
    slot = new_slot("rewrapped", prelude, dek)
    rewrapped = new_slot("rewrapped", prelude, dek, mek_id=SECOND_MEK, sequence=2)
    older, newer = (page_2.encode_block(prelude, one) for one in (slot, rewrapped))
    standalone = Placement.standalone()
    alone = page_2.encode_block(prelude, new_slot("rewrapped", prelude, dek, placement=standalone))
    forged = digested(older, 64, (2**63).to_bytes(8, "big") + older[72:80] + b"\xde\xad" * 8)
    unknown = digested(newer, 72, b"\0\7")
    foreign = envelope("another", b"")[:BLOCK]
    blocks = [
        ("both blocks", "§5.1", newer, newer),
        ("older block 0", "§3.6", older, newer),
        ("older block 1", "§3.6", newer, older),
        ("block 0 lost", "§1.4", bytes(BLOCK), newer),
        ("block 1 lost", "§1.4", older, bytes(BLOCK)),
        ("block 0 torn", "§1.4", newer[:512] + older[512:], older),
        ("block 1 of another file", "§1.6", newer, foreign),
        ("newest slot is forged", "§3.6", forged, older),
        ("newest slot does not open", "§3.6", digested(newer, 160, bytes(4)), older),
        ("unknown algorithm in block 0", "§3.5", unknown, older),
        ("unknown algorithm in block 1", "§3.5", older, unknown),
        ("sequence 0 in block 0", "§3.4", digested(newer, 64, bytes(8)), older),
        ("slot not padded in block 1", "§3.4", older, digested(newer, 3000, b"\1")),
    ]
    for name, clause, first, second in blocks:
        data = two_blocks("rewrapped", text, first, second)
        cases.append(case(name, clause, data, plaintext=text))
    data = two_blocks("rewrapped", text, alone, alone)
    cases.append(case("standalone", "§3.6", data, plaintext=text, placement=standalone))
    cases.append(
        case("64 KiB segments", "§2.2", envelope("big", text, segment=65536), plaintext=text)
    )
    return cases


def bad() -> list[dict[str, object]]:
    """What must be refused."""
    text = derived("2 bad plaintext", FIRST + FULL + 500)
    whole, other = envelope("bad", text), envelope("other", text)
    small = envelope("small", b"What is wrong with this file is in its header.")
    page = whole[:HEADER]
    parts = [whole[at : at + SEGMENT] for at in range(HEADER, len(whole), SEGMENT)]
    changes: list[tuple[str, str, str, bytes]] = [
        ("half a block", "§1.1", "FormatError", small[:2048]),
        ("one block", "§1.1", "IntegrityError", small[:BLOCK]),
        ("both blocks lost", "§1.5", "FormatError", bytes(HEADER) + small[HEADER:]),
        ("both blocks torn", "§1.5", "FormatError", torn(small)),
        ("format 3", "§1.5", "FormatError", both(small, 8, b"\0\3")),
        ("suite 2", "§2.2", "FormatError", both(small, 10, b"\0\2")),
        ("segments of 0", "§2.2", "FormatError", both(small, 12, bytes(4))),
        ("segments of 8192", "§3.1", "IntegrityError", both(small, 12, b"\0\0\x20\0")),
        ("other file id", "§3.1", "IntegrityError", both(small, 16, bytes(16))),
        ("other commitment", "§2.1", "IntegrityError", both(small, 32, bytes(32))),
        ("sequence 0", "§3.4", "FormatError", both(small, 64, bytes(8))),
        ("reserved byte", "§3.4", "FormatError", both(small, 74, b"\1")),
        ("slot not padded", "§3.4", "FormatError", both(small, 4063, b"\1")),
        ("algorithm 7", "§3.5", "FormatError", both(small, 72, b"\0\7")),
        ("other sequence", "§3.1", "IntegrityError", both(small, 71, b"\5")),
        ("unknown MEK", "§3.1", "KeyNotFoundError", both(small, 80, b"\1" * 16)),
        ("other placement", "§3.6", "IntegrityError", both(small, 96, bytes(16))),
        ("other salt", "§3.1", "IntegrityError", both(small, 128, bytes(32))),
        ("other wrapped DEK", "§3.2", "IntegrityError", both(small, 160, bytes(4))),
        ("no body", "§1.2", "IntegrityError", small[:HEADER]),
        ("header of another", "§4.1", "IntegrityError", other[:HEADER] + whole[HEADER:]),
        ("other stream header", "§4.1", "IntegrityError", patched(whole, HEADER, b"\x29")),
        ("other stream salt", "§4.2", "IntegrityError", patched(whole, HEADER + 1, b"\0\0")),
        ("last tag", "§4.1", "IntegrityError", whole[:-4] + bytes(4)),
        ("cut by 1", "§4.1", "IntegrityError", whole[:-1]),
        ("cut at a segment", "§4.1", "IntegrityError", page + parts[0] + parts[1]),
        ("segments swapped", "§4.1", "IntegrityError", page + parts[1] + parts[0] + parts[2]),
        ("block 0 as a page of format 1", "§1.5", "FormatError", of_format_1(whole)),
    ]
    return [case(name, clause, data, error=error) for name, clause, error, data in changes]


def torn(data: bytes) -> bytes:
    """A file each of whose blocks lost a sector."""
    return patched(patched(data, 3584, bytes(512)), BLOCK + 3584, bytes(512))


def of_format_1(data: bytes) -> bytes:
    """The first block as the page of format 1 that it is not."""
    return patched(data[:BLOCK], 8, b"\0\1") + data[HEADER:]


def document() -> str:
    """The whole file."""
    found = {
        "format": "docs/format/envelope-2.md",
        "encoding": "file: base64 of zlib",
        "meks": {mek_id: key.reveal().hex() for mek_id, key in MEKS.items()},
        "good": good(),
        "bad": bad(),
    }
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    TARGET.write_text(document(), encoding="utf-8")
