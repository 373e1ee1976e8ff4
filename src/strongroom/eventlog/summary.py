"""When each secret was changed and shown, kept beside the log to save reading all of it (format/events.md §8).

The summary is derived from the logs: it is made anew whenever it does not fit them, or lacks the signature of the key
that signs their checkpoints. Without the signature anybody who may write the file could make an old secret look fresh.
"""

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from strongroom import canonical
from strongroom.errors import FormatError, IntegrityError
from strongroom.eventlog import chain
from strongroom.eventlog.events import secret_events
from strongroom.eventlog.logfile import BLOCK_BYTES, Snapshot
from strongroom.eventlog.notes import LogSigner

_VERSION = 1
_MARKS = tuple(
    f'"id":"{name}"'.encode()
    for name in (
        secret_events.SECRET_ENCRYPTED,
        secret_events.SECRET_REVEALED,
        secret_events.CONFIGURATION_APPLIED,
    )
)


class SecretTimes(NamedTuple):
    """The times of changes and readings of secrets, as the logs record them.

    Attributes:
        changed: When each got the value that it has, by its parameter.
        revealed: When each was last shown.
    """

    changed: dict[str, str]
    revealed: dict[str, str]

    def take_in(self, lines: Iterable[bytes]) -> None:
        """Go on with these lines; damaged ones are left out."""
        for line in lines:
            # few lines are about secrets, and only those are parsed
            if any(mark in line for mark in _MARKS):
                with suppress(FormatError):
                    self._take(chain.parse_line(line))

    def _take(self, record: Mapping[str, object]) -> None:
        details, time = record["details"], str(record["time"])
        if not isinstance(details, dict):
            return
        if record["id"] == secret_events.SECRET_ENCRYPTED:
            # only the first SECRET_ENCRYPTED tells of a new value: later ones may encrypt the same value by another key
            self.changed.setdefault(str(details["parameter"]), time)
        elif record["id"] == secret_events.CONFIGURATION_APPLIED:
            self.changed.update(dict.fromkeys(str(details.get("secrets", "")).split(), time))
        elif record["id"] == secret_events.SECRET_REVEALED:
            self.revealed[str(details["parameter"])] = time


class _Read(NamedTuple):
    """How far one log was read: up to which byte, which line ends there, and when the file was last changed."""

    end: int
    head: str
    changed_ns: int


class Summary:
    """The file of the summary."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def brought_up(
        self, logs: Sequence[Snapshot], signer: LogSigner | None
    ) -> tuple[SecretTimes, bytes]:
        """The times that the logs record, and the bytes to keep as the new summary.

        The bytes are empty without a key that signs, and where so little was read anew that a write would not pay.

        Args:
            logs: The archived logs, the oldest first, and the present one.
            signer: The key that signs the summary; None if it cannot be opened.
        """
        read, times = self._load(signer)
        if not _fits(read, logs):
            read, times = (), SecretTimes({}, {})
        start, fresh = read[-1].end if read else 0, 0
        for log in logs[max(0, len(read) - 1) :]:
            times.take_in(log.lines(start=start))
            fresh += log.end - start
            start = 0
        if signer is None or fresh < BLOCK_BYTES:
            return times, b""
        return times, _serialized([_read(log) for log in logs], times, signer)

    def _load(self, signer: LogSigner | None) -> tuple[tuple[_Read, ...], SecretTimes]:
        nothing = (), SecretTimes({}, {})
        if signer is None:
            return nothing
        try:
            signature, _, data = self.path.read_bytes().partition(b"\n")
            signer.check_seal(data, base64.b64decode(signature, validate=True))
            members = json.loads(data)
        except (OSError, ValueError, IntegrityError):
            return nothing
        if members["v"] != _VERSION:
            return nothing
        read = tuple(_Read(*one) for one in members["logs"])
        return read, SecretTimes(members["changed"], members["revealed"])


def _read(log: Snapshot) -> _Read:
    return _Read(log.end, log.digest_before(log.end), log.status.st_mtime_ns)


def _fits(read: Sequence[_Read], logs: Sequence[Snapshot]) -> bool:
    """Whether these logs continue those that were read: all but the last are unchanged, and the last has only grown."""
    if len(read) > len(logs):
        return False
    whole = all(one == _read(log) for one, log in zip(read[:-1], logs, strict=False))
    if not read or not whole:
        return whole
    last, log = read[-1], logs[len(read) - 1]
    return last.end <= log.end and log.digest_before(last.end) == last.head


def _serialized(read: Sequence[_Read], times: SecretTimes, signer: LogSigner) -> bytes:
    members = {
        "v": _VERSION,
        "logs": [list(one) for one in read],
        "changed": times.changed,
        "revealed": times.revealed,
    }
    data = canonical.dumps(members, canonical.ASCII)
    return base64.b64encode(signer.seal(data)) + b"\n" + data
