"""When secrets were changed and shown, without reading all logs each time (finding R16); it never lies."""

import base64
import json
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from strongroom.clock import FixedClock
from strongroom.crypto.secret import SecretBytes
from strongroom.crypto.signing import SigningKey
from strongroom.eventlog import logfile
from strongroom.eventlog.base import Event
from strongroom.eventlog.events import key_events, secret_events
from strongroom.eventlog.jsonl import JsonlEventLog
from strongroom.eventlog.notes import LogSigner
from strongroom.eventlog.summary import SecretTimes
from tests.contract.eventlog.test_checkpoints import SIGNER


class Logs:
    """Logs that grow, with a clock that goes on."""

    def __init__(self, folder: Path) -> None:
        self.clock = FixedClock(datetime(2026, 11, 21, 20, 0, 0, tzinfo=UTC))
        self.log = self.opened(folder / "node1.jsonl", SIGNER)
        self.chance = random.Random(3)

    def opened(self, path: Path, signer: LogSigner | None) -> JsonlEventLog:
        return JsonlEventLog(path, "node1", self.clock, find_signer=lambda: signer)

    def grow(self, count: int = 400) -> None:
        self.clock.moment += timedelta(minutes=1)
        self.log.append([one for _ in range(count) for one in self._some()])

    def archive(self) -> Path:
        self.clock.moment += timedelta(minutes=1)
        return self.log.archive("os:ada", "long")

    def plain(self) -> SecretTimes:
        """By reading all: no key, no summary."""
        return self.opened(self.log.path, None).secret_times()

    def _some(self) -> tuple[Event, ...]:
        name = f"p.{self.chance.randrange(40)}"
        return self.chance.choice(
            [
                (secret_events.secret_revealed("os:ada", name),),
                (secret_events.secret_encrypted("os:ada", name, "k"),),
                (key_events.key_generated("os:ada", "MEK", name),),
                secret_events.configuration_applied(
                    "os:ada", version=1, keys=1, secrets=[name, "q"]
                ),
            ]
        )


@pytest.fixture
def logs(tmp_path: Path) -> Logs:
    found = Logs(tmp_path)
    for _ in range(3):
        found.grow()
        found.archive()
    found.grow()
    return found


def _bytes_read(logs: Logs, monkeypatch: pytest.MonkeyPatch) -> int:
    read: list[int] = []
    original = logfile._lines

    def counted(file: Any, size: int, advance: Any) -> Any:
        for line in original(file, size, advance):
            read.append(len(line) + 1)
            yield line

    with monkeypatch.context() as patched:
        patched.setattr(logfile, "_lines", counted)
        assert logs.log.secret_times() == logs.opened(logs.log.path, SIGNER).secret_times()
    return sum(read) // 2


def _all_bytes(logs: Logs) -> int:
    return sum(path.stat().st_size for path in logs.log.path.parent.glob("node1.jsonl*Z"))


def test_it_is_what_reading_all_gives_and_reads_what_is_new(
    logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[Callable[[], object]] = [logs.grow, logs.archive, logs.grow, lambda: logs.grow(3)]
    assert logs.log.secret_times() == logs.plain()
    assert _bytes_read(logs, monkeypatch) == 0
    for step in (*steps, logs.archive, logs.archive, *steps):
        before = logs.log.path.stat().st_size
        step()
        assert logs.log.secret_times() == logs.plain()
        assert _bytes_read(logs, monkeypatch) < logfile.BLOCK_BYTES + 1, step
        assert before >= 0


def _edit_summary(logs: Logs) -> None:
    path = logs.log.path.with_suffix(".summary")
    path.write_bytes(path.read_bytes().replace(b"2026", b"2025"))


def _foreign_summary(logs: Logs) -> None:
    """Well-formed, of these logs, and signed by another key."""
    path = logs.log.path.with_suffix(".summary")
    data = path.read_bytes().partition(b"\n")[2].replace(b"2026", b"2025")
    other = LogSigner(SIGNER.verifier.name, SigningKey(SecretBytes(bytes(32))))
    path.write_bytes(base64.b64encode(other.seal(data)) + b"\n" + data)


def _newer_version(logs: Logs) -> None:
    path = logs.log.path.with_suffix(".summary")
    members = json.loads(path.read_bytes().partition(b"\n")[2])
    data = json.dumps({**members, "v": 2, "changed": {}}).encode()
    path.write_bytes(base64.b64encode(SIGNER.seal(data)) + b"\n" + data)


def _half_summary(logs: Logs) -> None:
    path = logs.log.path.with_suffix(".summary")
    path.write_bytes(path.read_bytes()[:100])


def _no_summary(logs: Logs) -> None:
    logs.log.path.with_suffix(".summary").unlink()


def _first_archived(logs: Logs) -> Path:
    return min(logs.log.path.parent.glob("node1.jsonl.*Z"))


def _moved_away(logs: Logs) -> None:
    _first_archived(logs).unlink()


def _all_moved_away(logs: Logs) -> None:
    for path in logs.log.path.parent.glob("node1.jsonl.*Z"):
        path.unlink()


def _moved_in(logs: Logs) -> None:
    first = _first_archived(logs)
    first.rename(first.with_name("node1.jsonl.20200101T000000Z"))
    logs.log.secret_times()
    first.write_bytes(logs.log.path.read_bytes())


def _edited_archive(logs: Logs) -> None:
    path = _first_archived(logs)
    path.write_bytes(path.read_bytes().replace(b'"parameter":"p.1"', b'"parameter":"p.x"'))


def _cut_log(logs: Logs) -> None:
    lines = logs.log.path.read_bytes().splitlines(keepends=True)
    logs.log.path.write_bytes(b"".join(lines[:5]))


def _another_log(logs: Logs) -> None:
    logs.log.path.unlink()
    logs.log.checkpoints.path.unlink()
    logs.grow(900)


def _no_log(logs: Logs) -> None:
    logs.log.path.unlink()


CHANGES: tuple[Callable[[Logs], None], ...] = (
    *(_edit_summary, _foreign_summary, _newer_version, _half_summary, _no_summary),
    *(_moved_away, _all_moved_away, _moved_in, _edited_archive),
    *(_cut_log, _another_log, _no_log),
)


@pytest.mark.parametrize("change", CHANGES, ids=lambda one: one.__name__.strip("_"))
def test_it_is_made_anew_where_it_does_not_fit(logs: Logs, change: Callable[[Logs], None]) -> None:
    assert logs.log.secret_times() == logs.plain()
    assert logs.log.path.with_suffix(".summary").exists()
    change(logs)
    assert logs.log.secret_times() == logs.plain()
    assert logs.log.secret_times() == logs.plain()


def test_it_is_worth_no_failure(logs: Logs, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("strongroom.system.durable.replace_unsynced", refuse)
    assert logs.log.secret_times() == logs.plain()
    assert not logs.log.path.with_suffix(".summary").exists()


def test_nothing_is_written_for_a_few_lines(tmp_path: Path) -> None:
    logs = Logs(tmp_path)
    logs.grow(5)
    assert logs.log.secret_times() == logs.plain()
    assert not logs.log.path.with_suffix(".summary").exists()
    assert Logs(tmp_path / "none").log.secret_times() == SecretTimes({}, {})
