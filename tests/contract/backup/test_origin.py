"""Whose a backup is: told by the fingerprint of the identity that signed it, not by what opens it (X2, M1 of the review)."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from strongroom.backup import manifest
from strongroom.backup.archive import BytesSource
from strongroom.backup.open_backup import OpenBackup
from strongroom.cli import dispatch
from strongroom.crypto import age
from strongroom.crypto.age import SealTo
from strongroom.errors import IntegrityError
from strongroom.node.opening import Node
from strongroom.services.keys import identity
from tests.contract.backup.test_damage import Parts
from tests.support import backups
from tests.support.backups import State

Capture = pytest.CaptureFixture[str]


def verify(home: Path, *words: str | Path) -> int:
    return dispatch.main("strongroom", ["backup", "verify", *map(str, words), f"--data-dir={home}"])


@pytest.fixture
def recipient_identity(tmp_path: Path) -> tuple[str, Path]:
    made, path = age.new_identity(), tmp_path / "identity"
    path.write_bytes(made.text.reveal() + b"\n")
    return made.recipient, path


def test_a_strangers_backup_for_our_recipient_is_told_by_its_fingerprint(
    source: Node,
    target: Node,
    recipient_identity: tuple[str, Path],
    tmp_path: Path,
    capsys: Capture,
) -> None:
    """X2: everything in it is consistent, and the genuine identity opens it."""
    recipient, file = recipient_identity
    theirs = backups.make(target, tmp_path / "theirs.tsbak", SealTo((recipient,))).path
    ours = source.identity.fingerprint()
    nowhere = tmp_path / "nowhere"
    assert verify(nowhere, theirs, "--identity", file) == 0
    assert "opened by what was given; origin not proved" in capsys.readouterr().out
    assert verify(nowhere, theirs, "--identity", file, "--fingerprint", ours) == 20
    assert f"not of {ours}" in capsys.readouterr().err
    before = State.of(source)
    words = ["--data-dir", str(source.paths.root), "maintenance", "restore", "-f", str(theirs)]
    given = ["--identity", str(file), "--fingerprint", ours, "--ignore-prompt"]
    assert dispatch.main("tsm", [*words, *given]) == 20
    assert State.of(source) == before


def test_the_fingerprint_proves_the_origin_without_any_key(
    source: Node, tmp_path: Path, capsys: Capture
) -> None:
    """M1: on any machine, of a backup whose keys nothing there opens."""
    path = backups.make(source, tmp_path / "b.tsbak").path
    ours, nowhere = source.identity.fingerprint(), tmp_path / "nowhere"
    typed = ours.replace("-", " ").upper()
    assert verify(nowhere, path, "--digests-only", "--fingerprint", typed) == 0
    shown = capsys.readouterr().out
    assert f"Fingerprint: {ours}\n" in shown
    assert "Authenticated: yes, by the identity of --fingerprint\n" in shown
    assert verify(nowhere, path, "--fingerprint", ours, "--json") == 22
    receipt = json.loads(capsys.readouterr().out)
    assert (receipt["authenticated"], receipt["opened_by"]) == (True, "")
    assert verify(nowhere, path, "--fingerprint", "no fingerprint") == 2


def test_an_installation_knows_its_own_backup_without_opening_it(
    source: Node, recipient_identity: tuple[str, Path], tmp_path: Path, capsys: Capture
) -> None:
    """Also when the MEK is retired that opened it; what opens it is told beside."""
    recipient, file = recipient_identity
    path = backups.make(source, tmp_path / "b.tsbak", SealTo((recipient,))).path
    words = ["--data-dir", str(source.paths.root), "backup", "verify", str(path)]
    assert dispatch.main("strongroom", [*words, "--digests-only"]) == 0
    assert "Authenticated: yes, by the identity of this installation\n" in capsys.readouterr().out
    assert dispatch.main("strongroom", [*words, "--identity", str(file)]) == 0
    assert "yes, by a MEK of this installation, opened by what" in capsys.readouterr().out


def test_new_digests_under_our_identity_are_found_without_any_key(
    source: Node, tmp_path: Path
) -> None:
    """M1: a changed row with new digests was found by the keys only. Whoever has not the identity cannot sign it."""
    parts = Parts.of(backups.make(source, tmp_path / "b.tsbak").path.read_bytes())
    seal = manifest.parse_seal(parts[manifest.SEAL])
    said = manifest.parse(parts[manifest.MANIFEST], 1 << 20)
    changed = said.serialize().replace(b'"description":""', b'"description":"x"')
    pointed = replace(seal, manifest_sha256=hashlib.sha256(changed).hexdigest())
    last = [(manifest.MANIFEST, changed), (manifest.SEAL, pointed.serialize())]
    with pytest.raises(IntegrityError, match="has not signed it"):
        OpenBackup.check(BytesSource(Parts([*parts.entries[:-2], *last]).joined()))


def test_a_backup_of_version_1_is_of_nobody(source: Node, tmp_path: Path, capsys: Capture) -> None:
    """5.1: a fingerprint that was asked for is not passed over because the file is old."""
    path = backups.make(source, tmp_path / "b.tsbak").path
    first = tmp_path / "first.tsbak"
    first.write_bytes(_of_version_1(path))
    assert OpenBackup.check(BytesSource(first.read_bytes())).fingerprint == ""
    ours, nowhere = source.identity.fingerprint(), tmp_path / "nowhere"
    assert verify(nowhere, first, "--digests-only", "--fingerprint", ours) == 20
    assert "is signed by no installation" in capsys.readouterr().err


def test_a_node_without_an_identity_makes_a_backup_of_nobody(
    source: Node, tmp_path: Path, capsys: Capture
) -> None:
    """As `strongroom upgrade` does before its first step: the backup opens as others do, and proves no origin."""
    ours = source.identity.fingerprint()
    source.configuration.compare_and_put(lambda now: now.with_values({identity.PARAMETER: None}))
    path = backups.make(source, tmp_path / "b.tsbak").path
    assert verify(tmp_path / "nowhere", path, "--digests-only") == 0
    assert "Fingerprint: -\n" in capsys.readouterr().out
    assert verify(tmp_path / "nowhere", path, "--digests-only", "--fingerprint", ours) == 20
    assert backups.restore(source, path).missing == {}


def _of_version_1(path: Path) -> bytes:
    """The same entries in the form of version 1, as far as anybody can make it without keys."""
    parts = Parts.of(path.read_bytes())
    said = manifest.parse(parts[manifest.MANIFEST], 1 << 20)
    mark = manifest.mark(said.id, 1)
    inner = [(parts.entries[0][0], mark), *parts.entries[1:-2]]
    digests = [hashlib.sha256(data).hexdigest() for _, data in inner]
    listed = tuple(
        manifest.Listed(name, len(data), digest)
        for (name, data), digest in zip(inner, digests, strict=True)
    )
    raw = replace(said, entries=listed, identity=b"", version=1).serialize()
    seal = manifest.parse_seal(parts[manifest.SEAL])
    first = replace(seal, manifest_sha256=hashlib.sha256(raw).hexdigest(), signature=b"", version=1)
    return Parts([*inner, (manifest.MANIFEST, raw), (manifest.SEAL, first.serialize())]).joined()
