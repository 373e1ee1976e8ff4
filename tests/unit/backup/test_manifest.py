"""Manifest and seal (docs/format/backup.md 1.4, 4.1 to 4.4)."""

import dataclasses
import json

import pytest

from strongroom.backup import manifest
from strongroom.backup.archive import MARK, Entry
from strongroom.backup.manifest import Listed, Manifest, Seal
from strongroom.canonical import dumps
from strongroom.errors import FormatError, IntegrityError, StateError
from strongroom.ids import new_id
from tests.support import backups

# fixed: they are in the names of tests, which all workers must have alike
ID, RMK = "0d4c7ac5-29d5-4bd8-8d0a-6f0f3cfa6c11", "5a3a2c7e-2f51-4a5d-9c07-0b9a9c1a2f22"
SOURCE = "9f6b3d1e-7c1b-4d2e-8a35-1c2d3e4f5a33"
MEKS = ("1b2c3d4e-5f60-4711-8a9b-aabbccddee44", "2c3d4e5f-6071-4822-9bac-bbccddeeff55")
DIGEST = "ab" * 32
NAMES = (MARK, *manifest._REQUIRED)
SAID = Manifest(
    id=ID,
    created_at="2026-11-21T12:00:00Z",
    description="für Menschen",
    program="1",
    installation=SOURCE,
    schema="0001",
    mode="aws",
    rmk_id=RMK,
    epoch=3,
    mek_ids=MEKS,
    sealed=("recipient",),
    entries=tuple(Listed(name, 1, DIGEST) for name in NAMES),
    lost=("site/ab/x.sealed",),
    identity=b"i" * 32,
)
FOUND = tuple(Entry(one.name, one.size, one.sha256, 512) for one in SAID.entries)
SEAL = Seal(DIGEST, RMK, "cd" * 32, b"s" * 64)
FIRST = dataclasses.replace(SAID, identity=b"", version=1)
FIRST_SEAL = Seal(DIGEST, RMK, "cd" * 32, version=1)
MOST = 1 << 20


def test_version_1_comes_back() -> None:
    """5: it is read for ever, and has neither an identity nor a signature."""
    assert manifest.parse(FIRST.serialize(), MOST) == FIRST
    assert manifest.parse_seal(FIRST_SEAL.serialize()) == FIRST_SEAL
    manifest.check(FOUND, manifest.mark(ID, 1), FIRST)
    manifest.check_signature(FIRST, FIRST_SEAL)
    assert FIRST.signer is None
    with pytest.raises(FormatError, match="begins as another one"):
        manifest.check(FOUND, manifest.mark(ID), FIRST)
    for mixed in ((FIRST, SEAL), (SAID, FIRST_SEAL)):
        with pytest.raises(FormatError, match="of another version"):
            manifest.check_signature(*mixed)


def test_a_source_without_an_identity_signs_nothing() -> None:
    """4.1: the backup before an upgrade. What is signed names who signed it."""
    nobody = dataclasses.replace(SAID, identity=b"")
    unsigned = dataclasses.replace(SEAL, signature=b"")
    assert manifest.parse(nobody.serialize(), MOST) == nobody
    manifest.check_signature(nobody, manifest.parse_seal(unsigned.serialize()))
    with pytest.raises(FormatError, match="whom it does not name"):
        manifest.check_signature(nobody, SEAL)
    with pytest.raises(IntegrityError, match="has not signed it"):
        manifest.check_signature(SAID, unsigned)


def test_the_signature_is_of_the_identity_that_the_manifest_names() -> None:
    """4.3."""
    raw, sealed = backups.forged(SAID, SEAL)
    said, seal = manifest.parse(raw, MOST), manifest.parse_seal(sealed)
    manifest.check_signature(said, seal)
    for wrong in (
        (SAID, seal),
        (said, dataclasses.replace(seal, signature=b"s" * 64)),
        (said, dataclasses.replace(seal, manifest_sha256="ef" * 32)),
        (dataclasses.replace(said, installation=new_id()), seal),
    ):
        with pytest.raises(IntegrityError, match="has not signed it"):
            manifest.check_signature(*wrong)


def test_both_come_back() -> None:
    assert manifest.parse(SAID.serialize(), MOST) == SAID
    assert manifest.parse_seal(SEAL.serialize()) == SEAL
    manifest.check(FOUND, manifest.mark(ID), SAID)
    assert not SAID.has_settings
    assert len(SAID.serialize()) <= manifest.manifest_limit(len(SAID.entries))


def test_what_a_reader_would_refuse_is_refused_first() -> None:
    """4.4: every lost file is in the manifest, and none of them is an entry."""
    limit = manifest.manifest_limit(len(SAID.entries))
    lost = tuple(f"{SOURCE}/ab/{ID}-{number:07}.sealed" for number in range(limit // 80))
    many = dataclasses.replace(SAID, lost=lost)
    assert len(many.serialize()) > limit
    with pytest.raises(StateError, match=f"{len(lost)} lost files"):
        manifest.bounded(many)
    assert manifest.bounded(SAID) == SAID.serialize()


def _changed(**members: object) -> bytes:
    return dumps({**json.loads(SAID.serialize()), **members})


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"null",
        b"{}",
        b"\xff",
        b"[" * 100_000,
        SAID.serialize() + b"\n",
        SAID.serialize().replace(b",", b", ", 1),
        _changed(more=1),
        _changed(v=1),
        _changed(identity="?"),
        _changed(id="x"),
        _changed(created_at="yesterday"),
        _changed(description="x" * 1001),
        _changed(description=1),
        _changed(description="\\ud800").replace(b"\\\\ud800", b"\\ud800"),
        _changed(program=1),
        _changed(kms={"epoch": 0, "meks": [], "mode": "aws", "rmk": RMK}),
        _changed(kms=[]),
        _changed(entries=[{"name": "x", "sha256": "zz", "size": 1}]),
        _changed(entries=[{"name": "x", "sha256": "ab", "size": 1}]),
    ],
)
def test_what_is_no_manifest_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        manifest.parse(data, MOST)


@pytest.mark.parametrize("version", [0, 4, "2", None, True])
def test_another_version_is_named(version: object) -> None:
    with pytest.raises(FormatError, match="known here is 3"):
        manifest.parse(_changed(v=version), MOST)


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"[" * 100_000, SAID.serialize()])
def test_what_is_no_seal_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        manifest.parse_seal(data)


def test_every_byte_of_the_seal_counts() -> None:
    """4.3: its own digest is in it, so that no key is needed to see a change."""
    raw = SEAL.serialize()
    for at in range(len(raw)):
        broken = bytearray(raw)
        broken[at] ^= 1
        with pytest.raises(FormatError):
            manifest.parse_seal(bytes(broken))


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (FOUND[:-1], "entries, its manifest"),
        ((*FOUND, FOUND[-1]), "entries, its manifest"),
        (FOUND[1:], "is not what its manifest says"),
        ((FOUND[1], FOUND[0], *FOUND[2:]), "is not what its manifest says"),
        ((dataclasses.replace(FOUND[0], size=2), *FOUND[1:]), "is not what its manifest says"),
        ((dataclasses.replace(FOUND[0], sha256="cd" * 32), *FOUND[1:]), "is not what"),
    ],
    ids=["dropped", "added", "first dropped", "moved", "shortened", "changed"],
)
def test_the_list_is_the_archives(found: tuple[Entry, ...], message: str) -> None:
    """4.2."""
    with pytest.raises(FormatError, match=message):
        manifest.check(found, manifest.mark(ID), SAID)


def test_the_mark_is_of_the_same_backup() -> None:
    with pytest.raises(FormatError, match="begins as another one"):
        manifest.check(FOUND, manifest.mark(new_id()), SAID)


def test_what_every_backup_has_is_not_missing() -> None:
    """1.4."""
    few = dataclasses.replace(SAID, entries=SAID.entries[:-1])
    with pytest.raises(FormatError, match=f"has no {manifest.BY_MEK}"):
        manifest.check(FOUND[:-1], manifest.mark(ID), few)
