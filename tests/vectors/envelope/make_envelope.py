"""Makes `envelope.json` anew, byte for byte the same: every random field is a hash of its name.

Run `python tests/vectors/envelope/make_envelope.py` after a change of format/envelope.md, and never for another reason.
A good vector opens to a plaintext; a bad one is refused, with the class of error that it names. Bodies longer than a few
hundred bytes are stored compressed (zlib, base64).
"""

import base64
import hashlib
import json
import struct
import zlib
from datetime import UTC, datetime
from pathlib import Path

from strongroom.crypto.secret import SecretBytes
from strongroom.crypto.stream import TAG_BYTES, Layout, SegmentSealer
from strongroom.envelope import header as headers
from strongroom.envelope import pages, slots
from strongroom.envelope.header import Header, KeySlot, Placement, Prelude, body_aad
from strongroom.envelope.page_1 import HEADER_BYTES
from strongroom.ids import MekId, id_text
from strongroom.kms.data_keys import KeyContext
from strongroom.kms.keys import Mek
from strongroom.kms.ring_keys import wrap_under
from strongroom.kms.states import MekState
from strongroom.system.crc32c import crc32c

TARGET = Path(__file__).with_name("envelope.json")
SEGMENT = 4096
FIRST = Layout(SEGMENT).first_capacity
FULL = Layout(SEGMENT).capacity


def derived(name: str, count: int) -> bytes:
    """Bytes that look random and are always the same."""
    return hashlib.shake_256(f"strongroom envelope vector {name}".encode()).digest(count)


MEKS = {id_text(derived(f"mek id {n}", 16)): SecretBytes(derived(f"mek {n}", 32)) for n in (1, 2)}
FIRST_MEK, SECOND_MEK = MEKS
PLACE = Placement(id_text(derived("site", 16)), id_text(derived("extract", 16)))
OTHER_PLACE = Placement(id_text(derived("other site", 16)), PLACE.extract_id)


def new_prelude(name: str, segment: int = SEGMENT) -> tuple[Prelude, SecretBytes]:
    """A prelude and its DEK."""
    dek = SecretBytes(derived(f"{name} dek", 32))
    file_id = derived(f"{name} file id", 16)
    return headers.new_prelude(dek, file_id=file_id, segment_bytes=segment), dek


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
    assert isinstance(context, KeyContext)
    wrapped = wrap_under(
        mek(mek_id, MEKS[mek_id]),
        dek,
        context,
        salt=derived(f"{name} slot salt {sequence}", 32),
        nonce=derived(f"{name} slot nonce {sequence}", 12),
    )
    return slots.new_slot(wrapped, prelude, placement, sequence=sequence)


def mek(mek_id: str, material: SecretBytes, state: MekState = MekState.ENCRYPT_OR_DECRYPT) -> Mek:
    """A MEK of a ring; when it was made is no matter."""
    return Mek(MekId(mek_id), state, datetime(2026, 1, 1, tzinfo=UTC), None, None, material)


def body(name: str, prelude: Prelude, dek: SecretBytes, plaintext: bytes) -> bytes:
    """A body, segment by segment as the format says it."""
    layout = Layout(prelude.segment_bytes)
    sealer = SegmentSealer(
        dek,
        body_aad(prelude),
        salt=derived(f"{name} stream salt", 32),
        prefix=derived(f"{name} stream prefix", 7),
    )
    made, count = sealer.stream_header, layout.segments(len(plaintext))
    for index in range(count):
        piece = plaintext[layout.plaintext_offset(index) : layout.plaintext_offset(index + 1)]
        target = bytearray(len(piece) + TAG_BYTES)
        sealer.seal_into(index, memoryview(piece), memoryview(target), last=index == count - 1)
        made += bytes(target)
    return made


def envelope(name: str, plaintext: bytes, *, segment: int = SEGMENT) -> bytes:
    """A whole file with one slot."""
    prelude, dek = new_prelude(name, segment)
    page = pages.serialize(Header(prelude, (new_slot(name, prelude, dek), None)))
    return page + body(name, prelude, dek, plaintext)


def two_slots(name: str, plaintext: bytes, first: KeySlot | None, second: KeySlot | None) -> bytes:
    """A whole file with given slots."""
    prelude, dek = new_prelude(name)
    page = pages.serialize(Header(prelude, (first, second)))
    return page + body(name, prelude, dek, plaintext)


def patched(data: bytes, offset: int, change: bytes) -> bytes:
    """The same file with some bytes replaced."""
    return data[:offset] + change + data[offset + len(change) :]


def resealed_slot(data: bytes, offset: int, change: bytes) -> bytes:
    """Slot 0 changed at an offset within it, with a checksum that fits."""
    record = patched(data[512:668], offset, change)
    return patched(data, 512, record + struct.pack(">I", crc32c(record)))


def good() -> list[dict[str, object]]:
    """What must open."""
    cases = []
    lengths = [0, 1, 100, FIRST - 1, FIRST, FIRST + 1, FIRST + FULL, FIRST + FULL + 1, 20_000]
    for length in lengths:
        name = f"{length} bytes"
        plaintext = derived(f"{name} plaintext", length)
        cases.append(case(name, "§4.5", envelope(name, plaintext), plaintext=plaintext))
    text = b"A rewrapped file has the same record in both slots."
    prelude, dek = new_prelude("rewrapped")
    newer = new_slot("rewrapped", prelude, dek, mek_id=SECOND_MEK, sequence=2)
    older = new_slot("rewrapped", prelude, dek)
    alone = new_slot("rewrapped", prelude, dek, placement=Placement.standalone())
    cases += [
        case("both slots", "§5.5", two_slots("rewrapped", text, newer, newer), plaintext=text),
        case("older slot 0", "§3.6", two_slots("rewrapped", text, older, newer), plaintext=text),
        case("only slot 1", "§3.6", two_slots("rewrapped", text, None, newer), plaintext=text),
        case(
            "torn slot 1",
            "§3.4",
            patched(two_slots("rewrapped", text, older, newer), 1100, bytes(100)),
            plaintext=text,
        ),
        case(
            "newest slot does not open",
            "§3.6",
            resealed_newest(two_slots("rewrapped", text, newer, older)),
            plaintext=text,
        ),
        case(
            "standalone",
            "§3.7",
            two_slots("rewrapped", text, alone, None),
            plaintext=text,
            placement=Placement.standalone(),
        ),
        case("64 KiB segments", "§2.2", envelope("big", text, segment=65536), plaintext=text),
    ]
    return cases


def resealed_newest(data: bytes) -> bytes:
    """A newest slot whose wrapped DEK was changed, with a checksum that fits."""
    return resealed_slot(data, 108, b"\xff" * 4)


def bad() -> list[dict[str, object]]:
    """What must be refused."""
    text = derived("bad plaintext", FIRST + FULL + 500)
    whole, other = envelope("bad", text), envelope("other", text)
    small = envelope("small", b"What is wrong with this file is in its header page.")
    page = whole[:HEADER_BYTES]
    parts = [whole[at : at + SEGMENT] for at in range(HEADER_BYTES, len(whole), SEGMENT)]
    changes: list[tuple[str, str, str, bytes]] = [
        ("empty file", "§1.4", "FormatError", b""),
        ("half a header page", "§1.4", "FormatError", small[:2048]),
        ("other magic", "§2.1", "FormatError", patched(small, 0, b"PK\x03\x04")),
        ("format 2", "§2.1", "FormatError", patched(small, 8, b"\0\2")),
        ("suite 0", "§2.1", "FormatError", patched(small, 10, b"\0\0")),
        ("segments of 0", "§2.2", "FormatError", patched(small, 12, bytes(4))),
        ("segments of 4 GiB", "§2.2", "FormatError", patched(small, 12, b"\xff" * 4)),
        ("segments of 8192", "§3.2", "IntegrityError", patched(small, 12, b"\0\0\x20\0")),
        ("other file id", "§3.2", "IntegrityError", patched(small, 16, bytes(16))),
        ("other commitment", "§2.5", "IntegrityError", patched(small, 32, bytes(32))),
        ("prelude not padded", "§1.3", "FormatError", patched(small, 300, b"\1")),
        ("page not padded", "§1.3", "FormatError", patched(small, 4000, b"\1")),
        ("no slot", "§3.4", "FormatError", patched(small, 512, bytes(1024))),
        ("torn slot", "§3.4", "FormatError", patched(small, 600, bytes(50))),
        ("slot not padded", "§3.4", "FormatError", patched(small, 900, b"\1")),
        ("sequence 0", "§3.5", "FormatError", resealed_slot(small, 0, bytes(8))),
        ("algorithm 7", "§3.5", "FormatError", resealed_slot(small, 8, b"\0\7")),
        ("other sequence", "§3.2", "IntegrityError", resealed_slot(small, 7, b"\5")),
        ("unknown MEK", "§3.1", "KeyNotFoundError", resealed_slot(small, 16, b"\1" * 16)),
        ("other salt", "§3.1", "IntegrityError", resealed_slot(small, 64, bytes(32))),
        ("other nonce", "§3.2", "IntegrityError", resealed_slot(small, 96, bytes(12))),
        ("other wrapped DEK", "§3.2", "IntegrityError", resealed_slot(small, 108, bytes(4))),
        ("other placement", "§3.7", "IntegrityError", resealed_slot(small, 32, bytes(16))),
        ("no body", "§4.8", "IntegrityError", small[:HEADER_BYTES]),
        ("half a stream header", "§4.8", "IntegrityError", whole[: HEADER_BYTES + 20]),
        ("other stream header", "§4.2", "IntegrityError", patched(whole, HEADER_BYTES, b"\x29")),
        ("other stream salt", "§4.4", "IntegrityError", patched(whole, HEADER_BYTES + 1, b"\0\0")),
        ("other prefix", "§4.6", "IntegrityError", patched(whole, HEADER_BYTES + 33, b"\0\0")),
        ("first byte", "§4.6", "IntegrityError", patched(whole, HEADER_BYTES + 40, b"\0\0\0\0")),
        ("last tag", "§4.6", "IntegrityError", whole[:-4] + bytes(4)),
        ("cut by 1", "§4.9", "IntegrityError", whole[:-1]),
        ("cut at a segment", "§4.9", "IntegrityError", page + parts[0] + parts[1]),
        ("first segment only", "§4.9", "IntegrityError", page + parts[0]),
        ("longer by 1", "§4.6", "IntegrityError", whole + b"\0"),
        ("segment dropped", "§4.6", "IntegrityError", page + parts[0] + parts[2]),
        ("segments swapped", "§4.6", "IntegrityError", page + parts[1] + parts[0] + parts[2]),
        ("segment repeated", "§4.6", "IntegrityError", page + parts[0] + parts[1] * 2 + parts[2]),
        ("body of another", "§4.3", "IntegrityError", page + other[HEADER_BYTES:]),
        ("segment of another", "§4.4", "IntegrityError", spliced(whole, other)),
        ("tail of 16 bytes", "§4.8", "IntegrityError", whole + bytes(SEGMENT - 516 + 16)),
    ]
    return [case(name, clause, data, error=error) for name, clause, error, data in changes]


def spliced(whole: bytes, other: bytes) -> bytes:
    """The middle segment of another file."""
    start = HEADER_BYTES + SEGMENT
    return patched(whole, start, other[start : start + SEGMENT])


def case(
    name: str,
    clause: str,
    data: bytes,
    *,
    plaintext: bytes | None = None,
    error: str = "",
    placement: Placement = PLACE,
) -> dict[str, object]:
    """One vector."""
    made: dict[str, object] = {
        "name": name,
        "clause": clause,
        "site_id": placement.site_id,
        "extract_id": placement.extract_id,
        "file": packed(data),
        "file_sha256": hashlib.sha256(data).hexdigest(),
    }
    if plaintext is None:
        return made | {"error": error}
    return made | {
        "plaintext_bytes": len(plaintext),
        "plaintext_sha256": hashlib.sha256(plaintext).hexdigest(),
    }


def packed(data: bytes) -> str:
    """Compressed, since most of a header page is zeros."""
    return base64.b64encode(zlib.compress(data, 9)).decode()


def document() -> str:
    """The whole file."""
    return (
        json.dumps(
            {
                "format": "docs/format/envelope.md",
                "encoding": "file: base64 of zlib",
                "meks": {mek_id: mek.reveal().hex() for mek_id, mek in MEKS.items()},
                "good": good(),
                "bad": bad(),
            },
            indent=1,
            ensure_ascii=False,
        )
        + "\n"
    )


if __name__ == "__main__":
    TARGET.write_text(document(), encoding="utf-8")
