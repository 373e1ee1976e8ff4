"""R18, S9: every damage of a real backup is found before the target is touched (docs/format/backup.md 1.5, 3.4, 4.2, 4.3)."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from strongroom import canonical
from strongroom.backup import archive, manifest
from strongroom.backup.archive import BytesSource
from strongroom.backup.manifest import Listed
from strongroom.backup.open_backup import OpenBackup
from strongroom.errors import FormatError, IntegrityError, StateError, StrongroomError
from strongroom.node.opening import Node
from tests.conftest import Torture
from tests.support import backups
from tests.support.archives import written
from tests.support.backups import State

GRID = 1024


@dataclass
class Parts:
    """A backup taken apart, to be put together otherwise."""

    entries: list[tuple[str, bytes]]

    @classmethod
    def of(cls, raw: bytes) -> "Parts":
        source = BytesSource(raw)
        found = archive.scan(source)
        return cls([(one.name, raw[one.offset : one.offset + one.size]) for one in found])

    def __getitem__(self, name: str) -> bytes:
        return dict(self.entries)[name]

    def joined(self) -> bytes:
        """As an archive, with manifest and seal as they are."""
        return written(*self.entries)

    def forged(self) -> bytes:
        """With new digests and a signature of the forger's, as somebody without the keys can make them."""
        inner = self.entries[:-2]
        said = manifest.parse(self[manifest.MANIFEST], 1 << 20)
        listed = tuple(
            Listed(name, len(data), hashlib.sha256(data).hexdigest()) for name, data in inner
        )
        seal = manifest.parse_seal(self[manifest.SEAL])
        raw, sealed = backups.forged(replace(said, entries=listed), seal)
        last = [(manifest.MANIFEST, raw), (manifest.SEAL, sealed)]
        return Parts([*inner, *last]).joined()


@pytest.fixture
def small(node: Node, tmp_path: Path) -> Path:
    """A backup with one small extract."""
    backups.publish(node, "small", b"small")
    return backups.make(node, tmp_path / "small.tsbak").path


def test_every_change_in_a_grid_of_a_kibibyte_is_found(
    small: Path, node: Node, tmp_path: Path, torture: Torture
) -> None:
    """R18: without any key; and the target is as it was."""
    raw = small.read_bytes()
    grid = list(range(0, len(raw), GRID))
    for at in grid:
        for place in (at, min(at + GRID // 2 + at // GRID, len(raw) - 1)):
            with pytest.raises(FormatError):
                OpenBackup.check(BytesSource(_flipped(raw, place)))
    before = State.of(node)
    broken = tmp_path / "broken.tsbak"
    for at in torture.choose(grid):
        broken.write_bytes(_flipped(raw, at))
        with pytest.raises(FormatError):
            backups.restore(node, broken)
        assert State.of(node) == before


def test_every_single_byte_counts(small: Path, torture: Torture) -> None:
    raw = small.read_bytes()
    for at in torture.choose(range(len(raw))):
        with pytest.raises(FormatError):
            OpenBackup.check(BytesSource(_flipped(raw, at, 0x01)))


def _flipped(raw: bytes, at: int, mask: int = 0xFF) -> bytes:
    broken = bytearray(raw)
    broken[at] ^= mask
    return bytes(broken)


def _truncated(parts: Parts, at: int) -> Parts:
    name, data = parts.entries[at]
    return Parts([*parts.entries[:at], (name, data[:-1]), *parts.entries[at + 1 :]])


def _dropped(parts: Parts, at: int) -> Parts:
    return Parts([*parts.entries[:at], *parts.entries[at + 1 :]])


def _doubled(parts: Parts, at: int) -> Parts:
    name, data = parts.entries[at]
    return Parts([*parts.entries[: at + 1], (f"{name}x", data), *parts.entries[at + 1 :]])


def _moved(parts: Parts, at: int) -> Parts:
    first, second = parts.entries[at - 1], parts.entries[at]
    return Parts([*parts.entries[: at - 1], second, first, *parts.entries[at + 1 :]])


CHANGES: dict[str, Callable[[Parts, int], Parts]] = {
    "truncated": _truncated,
    "dropped": _dropped,
    "doubled": _doubled,
    "moved": _moved,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_each_entry_truncated_dropped_doubled_or_moved(
    small: Path, node: Node, tmp_path: Path, change: Callable[[Parts, int], Parts]
) -> None:
    """R18: with the old digests it is found without keys, with new ones by the keys; the target is as it was."""
    parts = Parts.of(small.read_bytes())
    before = State.of(node)
    broken = tmp_path / "broken.tsbak"
    for at in range(1, len(parts.entries)):
        if change is _truncated and not parts.entries[at][1]:
            continue
        with pytest.raises(FormatError):
            OpenBackup.check(BytesSource(change(parts, at).joined()))
    for at in range(1, len(parts.entries) - 2):
        if change is _truncated and not parts.entries[at][1]:
            continue
        broken.write_bytes(change(parts, at).forged())
        with pytest.raises(StrongroomError) as caught:
            backups.restore(node, broken)
        assert isinstance(caught.value, FormatError | IntegrityError), (at, caught.value)
        assert State.of(node) == before


def test_a_forged_row_is_found_by_the_keys(small: Path, node: Node, tmp_path: Path) -> None:
    """4.3: new digests do not help without the RMK; and without keys a restore says that it cannot tell."""
    parts = Parts.of(small.read_bytes())
    name = f"{manifest.REPOSITORY}users.jsonl"
    forged = parts[name].replace(b'"is_server_admin":true', b'"is_server_admin":false')
    assert forged != parts[name]
    changed = Parts([(one, forged if one == name else data) for one, data in parts.entries])
    broken = tmp_path / "broken.tsbak"
    broken.write_bytes(changed.forged())
    before = State.of(node)
    for without_keys in (False, True):
        with pytest.raises(IntegrityError, match="not genuine"):
            backups.restore(node, broken, without_keys=without_keys)
    assert State.of(node) == before


def _with(parts: Parts, name: str, data: bytes) -> Parts:
    return Parts([(one, data if one == name else old) for one, old in parts.entries])


def test_rows_that_do_not_fit_are_refused_without_keys_too(
    small: Path, target: Node, tmp_path: Path
) -> None:
    """3.4: the schema's rules are tried in a scratch repository, before the first change."""
    parts = Parts.of(small.read_bytes())
    name = f"{manifest.REPOSITORY}contents.jsonl"
    row = json.loads(parts[name])
    key = str(row["storage_key"])
    wrong = {
        "no row": b"{}\n",
        "a strange project": canonical.dumps({**row, "project_id": "nowhere"}) + b"\n",
        "another file": canonical.dumps({**row, "storage_key": f"{key}x"}) + b"\n",
        "no file": canonical.dumps({**row, "storage_key": ""}) + b"\n",
        "two rows of a file": parts[name] + canonical.dumps({**row, "id": "x"}) + b"\n",
        "no end": parts[name][:-1],
    }
    before = State.of(target)
    broken = tmp_path / "broken.tsbak"
    for what, data in wrong.items():
        broken.write_bytes(_with(parts, name, data).forged())
        with pytest.raises(StrongroomError) as caught:
            backups.restore(target, broken, without_keys=True)
        assert caught.value.exit_code in {6, 21}, what
        assert State.of(target) == before, what


def test_a_backup_of_another_schema_is_refused(small: Path, node: Node, tmp_path: Path) -> None:
    parts = Parts.of(small.read_bytes())
    said = replace(manifest.parse(parts[manifest.MANIFEST], 1 << 20), schema="9999")
    seal = manifest.parse_seal(parts[manifest.SEAL])
    raw, sealed = backups.forged(said, seal)
    changed = _with(_with(parts, manifest.MANIFEST, raw), manifest.SEAL, sealed)
    broken = tmp_path / "broken.tsbak"
    broken.write_bytes(changed.joined())
    with pytest.raises(IntegrityError):
        backups.restore(node, broken)
    opened = OpenBackup.check(BytesSource(changed.joined()))
    from strongroom.services.backups import examining

    with pytest.raises(StateError, match="schema 9999"):
        examining.check_schema(opened)


def test_a_store_of_another_backup_is_refused(small: Path, target: Node) -> None:
    parts = Parts.of(small.read_bytes())
    strange = target.kms_store.current()[1]
    with pytest.raises(FormatError, match="another backup"):
        OpenBackup.check(BytesSource(_with(parts, manifest.STORE, strange).forged()))


def test_a_missing_table_is_told(small: Path, node: Node) -> None:
    parts = Parts.of(small.read_bytes())
    few = [entry for entry in parts.entries if entry[0] != f"{manifest.REPOSITORY}jobs.jsonl"]
    backup = OpenBackup.check(BytesSource(Parts(few).forged()))
    with pytest.raises(FormatError, match="no table jobs"):
        backup.examine_rows()
