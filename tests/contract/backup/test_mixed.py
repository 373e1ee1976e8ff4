"""Parts of genuine backups put together otherwise: each mixture is refused before anything is changed (findings M1, S9).

Whoever mixes has no key, but has several backups of the node, their manifests and seals, and can compute every digest.
"""

import hashlib
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import pytest

from strongroom.backup import manifest
from strongroom.backup.archive import BytesSource
from strongroom.backup.manifest import Listed
from strongroom.backup.open_backup import OpenBackup
from strongroom.errors import FormatError, IntegrityError
from strongroom.node.opening import Node
from tests.contract.backup.test_damage import Parts
from tests.support import backups
from tests.support.backups import State

_LAST = (manifest.MANIFEST, manifest.SEAL)


@dataclass
class Genuine:
    """Three backups of one node: two of one RMK, and one from after a rotation."""

    old: Parts
    new: Parts
    rotated: Parts


@pytest.fixture
def genuine(node: Node, tmp_path: Path) -> Genuine:
    found = []
    for number, name in enumerate(("old", "new", "rotated")):
        if name == "rotated":
            node.meks.rotate(backups.ACTOR)
        backups.publish(node, name, b"the content of backup " + str(number).encode())
        found.append(Parts.of(backups.make(node, tmp_path / f"{name}.tsbak").path.read_bytes()))
    return Genuine(*found)


def _with(parts: Parts, **changed: bytes) -> Parts:
    names = {"said": manifest.MANIFEST, "seal": manifest.SEAL}
    new = {names[key]: data for key, data in changed.items()}
    return Parts([(name, new.get(name, data)) for name, data in parts.entries])


def _listing(parts: Parts, said: bytes) -> bytes:
    """A manifest that lists what is there, else as another one says."""
    listed = tuple(
        Listed(name, len(data), hashlib.sha256(data).hexdigest())
        for name, data in parts.entries
        if name not in _LAST
    )
    return replace(manifest.parse(said, 1 << 20), entries=listed).serialize()


def _pointing(seal: bytes, said: bytes) -> bytes:
    """A seal with the digest of a manifest; its MAC stays what it was."""
    return replace(
        manifest.parse_seal(seal), manifest_sha256=hashlib.sha256(said).hexdigest()
    ).serialize()


def _refused(node: Node, folder: Path, mixed: Parts, title: str) -> None:
    before = State.of(node)
    _raises(node, folder, mixed, title)
    assert State.of(node) == before, title


def _raises(node: Node, folder: Path, mixed: Parts, title: str) -> None:
    """The half of `_refused` for whoever tries hundreds, and compares the state behind some: a change would stay."""
    path = folder / "mixed.tsbak"
    path.write_bytes(mixed.joined())
    with pytest.raises((FormatError, IntegrityError)):  # noqa: PT012 which of many is told
        backups.restore(node, path)
        pytest.fail(f"{title} was restored")


def test_a_new_manifest_under_an_old_seal(node: Node, genuine: Genuine, tmp_path: Path) -> None:
    """findings M1: the mutant that did not compare the manifest's digest survived, and such a backup was restored."""
    old = genuine.old
    said = manifest.parse(old[manifest.MANIFEST], 1 << 20)
    for changed in (
        replace(said, description="another"),
        replace(said, created_at="2030-01-01T00:00:00Z"),
    ):
        raw = changed.serialize()
        assert raw != old[manifest.MANIFEST]
        _refused(node, tmp_path, _with(old, said=raw), "a new manifest, the old seal")
        pointed = _with(old, said=raw, seal=_pointing(old[manifest.SEAL], raw))
        _refused(node, tmp_path, pointed, "a new manifest, the old seal with its digest")


def test_rows_that_were_changed_with_a_manifest_that_lists_them(
    node: Node, genuine: Genuine, tmp_path: Path
) -> None:
    """findings M1: what a forger wants; every entry is as its manifest says, and the seal is a genuine one."""
    old = genuine.old
    for at, (name, data) in enumerate(old.entries):
        if name in _LAST or not data:
            continue
        spoilt = Parts([*old.entries[:at], (name, data + b"\n"), *old.entries[at + 1 :]])
        raw = _listing(spoilt, old[manifest.MANIFEST])
        for seal in (old[manifest.SEAL], _pointing(old[manifest.SEAL], raw)):
            _refused(node, tmp_path, _with(spoilt, said=raw, seal=seal), f"{name}, changed")


def test_every_manifest_under_every_other_seal(
    node: Node, genuine: Genuine, tmp_path: Path
) -> None:
    """findings M1: {old, new} manifest with {new, old} seal, over each body; of one RMK and of two."""
    three = {"old": genuine.old, "new": genuine.new, "rotated": genuine.rotated}
    tried = 0
    for body, said, seal in product(three, repeat=3):
        if body == said == seal:
            continue
        for mends in (lambda raw, _: raw, _pointing):
            raw = three[said][manifest.MANIFEST]
            sealed = mends(three[seal][manifest.SEAL], raw)
            mixed = _with(three[body], said=raw, seal=sealed)
            _refused(node, tmp_path, mixed, f"body {body}, manifest {said}, seal {seal}")
            tried += 1
    assert tried == 2 * (3**3 - 3)


_OTHERS = ("new", "rotated")


@pytest.mark.parametrize("other", _OTHERS)
def test_every_entry_of_another_backup_in_the_place_of_ours(
    node: Node, genuine: Genuine, tmp_path: Path, other: str
) -> None:
    """findings M1: each part of one with the rest of the other; listed anew or not, sealed by either."""
    ours, theirs = genuine.old, getattr(genuine, other)
    before, tried = State.of(node), 0
    for at, (name, data) in enumerate(ours.entries):
        if name in _LAST:
            continue
        for their_name, their_data in theirs.entries:
            # under its own name, or a file of theirs in the place of one of ours
            same_kind = their_name.rpartition("/")[0] == name.rpartition("/")[0]
            if their_name in _LAST or not same_kind or their_data == data:
                continue
            swapped = Parts([*ours.entries[:at], (name, their_data), *ours.entries[at + 1 :]])
            raw = _listing(swapped, ours[manifest.MANIFEST])
            for said, sealed in (
                (ours[manifest.MANIFEST], ours[manifest.SEAL]),
                (raw, ours[manifest.SEAL]),
                (raw, _pointing(ours[manifest.SEAL], raw)),
                (raw, theirs[manifest.SEAL]),
                (raw, _pointing(theirs[manifest.SEAL], raw)),
            ):
                mixed = _with(swapped, said=said, seal=sealed)
                _raises(node, tmp_path, mixed, f"{name} from {their_name} of {other}")
                tried += 1
        assert State.of(node) == before, f"something in the place of {name}"
    assert tried > 20


@pytest.mark.parametrize("cut", range(1, 12))
def test_the_first_entries_of_one_and_the_rest_of_the_other(
    node: Node, genuine: Genuine, tmp_path: Path, cut: int
) -> None:
    """findings M1: cut at every place, each end with its own manifest and seal, and listed anew."""
    ours, theirs = genuine.old, genuine.new
    head, tail = ours.entries[:cut], theirs.entries[cut:]
    names = {name for name, _ in head}
    mixed = Parts([*head, *(part for part in tail if part[0] not in names)])
    if mixed.entries == theirs.entries:
        return  # so far both say the same
    _refused(node, tmp_path, mixed, f"cut at {cut}")
    raw = _listing(mixed, theirs[manifest.MANIFEST])
    for sealed in (theirs[manifest.SEAL], _pointing(theirs[manifest.SEAL], raw)):
        _refused(node, tmp_path, _with(mixed, said=raw, seal=sealed), f"cut at {cut}, listed anew")


def test_the_genuine_ones_are_restored(node: Node, genuine: Genuine, tmp_path: Path) -> None:
    """So that the refusals are for the mixing: put together again as they were, they pass."""
    for parts in (genuine.old, genuine.new, genuine.rotated):
        path = tmp_path / "whole.tsbak"
        path.write_bytes(parts.joined())
        OpenBackup.check(BytesSource(path.read_bytes()))
        backups.restore(node, path)
