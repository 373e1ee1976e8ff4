"""Nodes that write a chosen format of envelopes, and files with a slot that an attacker made."""

from dataclasses import replace
from pathlib import Path

import pytest

from strongroom.envelope import pages
from strongroom.envelope.header import MAX_HEADER_BYTES, Header, KeySlot, Placement
from strongroom.node.parts.keys import KeysPart

FORGED_MEK = "deadbeef-dead-4eef-8ead-beefdeadbeef"
FORGED_PLACE = Placement(
    "badbadba-dbad-4adb-8dba-dbadbadbadba", "bad1bad1-bad1-4ad1-8ad1-bad1bad1bad1"
)


def write_format(monkeypatch: pytest.MonkeyPatch, version: int) -> None:
    """All nodes of this process write new envelopes in this format, as after an upgrade."""
    monkeypatch.setattr(KeysPart, "written_envelope", lambda _: version)


def header_of(path: Path) -> Header:
    """The header of a file, not authenticated."""
    with path.open("rb") as file:
        return pages.parse(file.read(MAX_HEADER_BYTES))


def forged_slot(header: Header) -> KeySlot:
    """A slot that is newer than any, under a key that nobody has and of a place that is not the file's (review X11)."""
    return replace(header.newest, sequence=2**63, mek_id=FORGED_MEK, placement=FORGED_PLACE)


def forge(path: Path, number: int = 1) -> None:
    """Write such a slot into a file, with a checksum that fits; the other slot stays."""
    header = header_of(path)
    offset, data = pages.place(header.prelude, number, forged_slot(header))
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)
