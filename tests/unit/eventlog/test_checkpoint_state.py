"""The checkpoint's own state, and the lock of a log: what no reader may believe (format/events.md §2, §5; findings M3)."""

import fcntl
import json
import os
from base64 import b64encode
from pathlib import Path

import pytest

from strongroom.crypto import rng
from strongroom.crypto.signing import SigningKey
from strongroom.errors import IntegrityError
from strongroom.eventlog.checkpoints import CheckpointFile
from strongroom.eventlog.logfile import LogFile
from strongroom.eventlog.merkle import Frontier
from strongroom.eventlog.notes import LogSigner
from strongroom.system import durable


def _file(path: Path, tree: Frontier, head: str, note: bytes) -> None:
    state = {"frontier": [b64encode(node).decode() for node in tree.nodes], "head": head}
    path.write_bytes(
        json.dumps(state, sort_keys=True, separators=(",", ":")).encode() + b"\n" + note
    )


def _grown(*lines: bytes) -> Frontier:
    tree = Frontier()
    for line in lines:
        tree = tree.grown(line)
    return tree


def test_a_state_that_its_note_does_not_sign_is_refused(tmp_path: Path) -> None:
    """§5.3: the note is genuine, and of as many lines; the tree is that of other ones."""
    signer = LogSigner("strongroom/i/node1", SigningKey(rng.new_key()))
    path, head = tmp_path / "checkpoint", "0" * 64
    ours, forged = _grown(b"one", b"two"), _grown(b"one", b"other")
    note = signer.sign(ours.size, ours.root)
    checkpoints = CheckpointFile(path, lambda: signer, durable.PRIVATE)
    _file(path, ours, head, note)
    stored = checkpoints.load(signer)
    assert stored is not None
    assert stored.frontier == ours
    _file(path, forged, head, note)
    with pytest.raises(IntegrityError, match="not that of its note"):
        checkpoints.load(signer)
    with pytest.raises(IntegrityError, match="not that of its note"):
        CheckpointFile(path, lambda: signer, durable.PRIVATE).newest()


def test_nobody_else_has_the_log_while_it_is_written(tmp_path: Path) -> None:
    """§2: two writers at once would make one number twice."""
    log = LogFile(tmp_path / "events.jsonl", durable.PRIVATE)
    with log.locked():
        other = os.open(log.path, os.O_RDWR | os.O_CLOEXEC)
        try:
            for lock in (fcntl.LOCK_EX, fcntl.LOCK_SH):
                with pytest.raises(BlockingIOError):
                    fcntl.flock(other, lock | fcntl.LOCK_NB)
        finally:
            os.close(other)
    with log.shared(), log.shared() as handle:
        other = os.open(log.path, os.O_RDWR | os.O_CLOEXEC)
        try:
            with pytest.raises(BlockingIOError):
                fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        finally:
            os.close(other)
        assert log.is_present(handle)
