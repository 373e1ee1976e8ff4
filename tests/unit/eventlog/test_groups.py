"""Group commit: who leads, what a group is, and who is told of a failure (house 2.6)."""

import signal
import threading
from collections.abc import Sequence

import pytest

from strongroom.errors import FormatError, StorageError, StrongroomError
from strongroom.eventlog.base import Event
from strongroom.eventlog.events import secret_events
from strongroom.eventlog.groups import MOST_EVENTS, Append, Groups, Take

_LIMIT_S = 60


class Disk:
    """Where groups are written; its first write waits until it is let go on."""

    def __init__(self) -> None:
        self.groups: list[list[str]] = []
        self.fails: BaseException | None = None
        self.fails_first: BaseException | None = None
        self.is_busy, self.may_go_on = threading.Event(), threading.Event()
        self.made = Groups(self._write)

    def _write(self, take: Take) -> None:
        first, self.fails_first = self.fails_first, None
        if first is not None:
            raise first
        group = take()
        self.groups.append(
            [str(event.details["parameter"]) for one in group for event in one.events]
        )
        if not self.is_busy.is_set():
            self.is_busy.set()
            assert self.may_go_on.wait(_LIMIT_S)
            return
        if self.fails is not None:
            raise self.fails
        for one in group:
            _refuse_the_bad(one)


class Caller:
    """A thread that appends, and what it was told."""

    def __init__(self, disk: Disk, *names: str) -> None:
        self.error: BaseException | None = None
        self._disk, self._names = disk, names
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        try:
            self._disk.made.append(_shown(*self._names))
        except BaseException as error:  # noqa: BLE001 whatever it is: it is looked at
            self.error = error

    def join(self) -> BaseException | None:
        self.thread.join(_LIMIT_S)
        assert not self.thread.is_alive()
        return self.error


def _shown(*names: str) -> list[Event]:
    return [secret_events.secret_revealed("os:ada", name) for name in names]


def _refuse_the_bad(one: Append) -> None:
    if any(event.details["parameter"] == "bad" for event in one.events):
        one.error = FormatError("bad")


def _begun(disk: Disk, batches: Sequence[Sequence[str]]) -> tuple[Caller, list[Caller]]:
    """One that is in the middle of its write, and others that wait for it."""
    first = Caller(disk, "first")
    assert disk.is_busy.wait(_LIMIT_S)
    waiting = []
    for names in batches:
        waiting.append(Caller(disk, *names))
        while len(disk.made._waiting) < len(waiting):
            threading.Event().wait(0.001)
    return first, waiting


def test_those_who_wait_are_written_together() -> None:
    disk = Disk()
    first, others = _begun(disk, [["a", "b"], ["c"], ["d"]])
    disk.may_go_on.set()
    assert [one.join() for one in (first, *others)] == [None] * 4
    assert disk.groups == [["first"], ["a", "b", "c", "d"]]


def test_nobody_returns_before_the_write() -> None:
    disk = Disk()
    first, others = _begun(disk, [["a"]])
    assert first.thread.is_alive()
    assert others[0].thread.is_alive()
    disk.may_go_on.set()
    assert [first.join(), others[0].join()] == [None, None]


def test_a_group_has_a_bound() -> None:
    """A torn write must not hide the last valid line from whoever looks for it in the last 64 KiB."""
    disk = Disk()
    many = [f"{number}" for number in range(MOST_EVENTS - 1)]
    first, others = _begun(disk, [many, many, ["x"]])
    disk.may_go_on.set()
    assert [one.join() for one in (first, *others)] == [None] * 4
    assert sorted(map(len, disk.groups[1:])) == [MOST_EVENTS - 1, MOST_EVENTS]


def test_one_append_may_be_longer_than_a_group() -> None:
    disk = Disk()
    first, others = _begun(disk, [[f"{number}" for number in range(3 * MOST_EVENTS)]])
    disk.may_go_on.set()
    assert [first.join(), others[0].join()] == [None, None]
    assert len(disk.groups[1]) == 3 * MOST_EVENTS


def test_a_failed_write_is_told_to_all_of_the_group() -> None:
    """Each has an error of its own: a traceback of one thread is nothing for another."""
    disk = Disk()
    first, others = _begun(disk, [["a"], ["b"]])
    disk.fails = StorageError("full", hint="free some space")
    disk.may_go_on.set()
    assert first.join() is None
    told = [one.join() for one in others]
    assert [
        (type(one), one.message, one.hint) for one in told if isinstance(one, StrongroomError)
    ] == [(StorageError, "full", "free some space")] * 2
    assert told[0] is not told[1]


def test_a_writer_that_was_ended_leaves_the_outcome_open() -> None:
    disk = Disk()
    first, others = _begun(disk, [["a"], ["b"]])
    disk.fails = KeyboardInterrupt()
    disk.may_go_on.set()
    first.join()
    told = [one.join() for one in others]
    assert sorted(type(one).__name__ for one in told) == ["KeyboardInterrupt", "StorageError"]
    (other,) = [one for one in told if isinstance(one, StorageError)]
    assert "not known whether" in other.message


def test_whoever_gives_up_waiting_leaves_no_event_behind() -> None:
    """What was told that it was ended is done by nobody: a log that says otherwise would be wrong."""
    disk = Disk()
    first, _ = _begun(disk, [])
    main = threading.main_thread()
    assert threading.current_thread() is main

    def end() -> None:
        while not disk.made._waiting:
            threading.Event().wait(0.001)
        signal.pthread_kill(main.ident or 0, signal.SIGINT)

    ender = threading.Thread(target=end)
    ender.start()
    with pytest.raises(KeyboardInterrupt):
        disk.made.append(_shown("given up"))
    ender.join(_LIMIT_S)
    disk.may_go_on.set()
    assert first.join() is None
    disk.made.append(_shown("later"))
    assert disk.groups == [["first"], ["later"]]


def test_what_one_does_wrong_is_told_to_that_one() -> None:
    disk = Disk()
    first, others = _begun(disk, [["a"], ["bad"], ["b"]])
    disk.may_go_on.set()
    assert first.join() is None
    assert [type(one.join()).__name__ for one in others] == ["NoneType", "FormatError", "NoneType"]


def test_a_lock_that_is_not_got_fails_the_one_who_led_only() -> None:
    """Nothing was taken as yet: whoever waits tries by himself."""
    disk = Disk()
    first, others = _begun(disk, [["a"], ["b"]])
    disk.fails_first = StorageError("no lock")
    disk.may_go_on.set()
    assert first.join() is None
    told = [one.join() for one in others]
    assert sorted(str(one) for one in told) == ["None", "no lock"]
    assert [len(group) for group in disk.groups] == [1, 1]
    disk.made.append(_shown("later"))
    assert disk.groups[-1] == ["later"]
