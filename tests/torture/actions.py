"""What the torture tests run in a process of its own: `python -m tests.torture.actions NAME FOLDER`."""

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from strongroom.clock import FixedClock
from strongroom.crypto.secret import SecretBytes
from strongroom.eventlog.events import secret_events
from strongroom.eventlog.jsonl import JsonlEventLog
from strongroom.keystore.pkcs12 import SecretKeyEntry
from strongroom.keystore.replicas import KeystoreDirectory

NOW = datetime(2026, 11, 21, 20, 0, 0, tzinfo=UTC)
KEY_1 = SecretBytes(b"the first key of torture tests !")
KEY_2 = SecretBytes(b"the second key of torture tests!")
BATCH = [secret_events.secret_revealed("os:ada", f"parameter.{number}") for number in range(3)]


def keystore(folder: Path) -> KeystoreDirectory:
    """A keystore of three replicas."""
    folders = [folder / name / "keystores" for name in ("one", "two", "three")]
    return KeystoreDirectory(folders, folder / "keystore" / "password")


def event_log(folder: Path) -> JsonlEventLog:
    """An event log."""
    return JsonlEventLog(folder / "events" / "node1.jsonl", "node1", FixedClock(NOW))


def create_keystore(folder: Path) -> None:
    """Create it, or finish what a killed run began."""
    directory = keystore(folder)
    if directory.exists:
        directory.repair()
    else:
        directory.create(SecretKeyEntry("master-key-1", KEY_1, NOW))


def add_alias(folder: Path) -> None:
    """Add a second master key."""
    keystore(folder).add_alias("master-key-2", KEY_2, created_at=NOW)


def append(folder: Path) -> None:
    """Append a batch of events."""
    event_log(folder).append(BATCH)


ACTIONS: dict[str, Callable[[Path], None]] = {
    "create_keystore": create_keystore,
    "add_alias": add_alias,
    "append": append,
}

if __name__ == "__main__":
    from strongroom.errors import StrongroomError

    try:
        ACTIONS[sys.argv[1]](Path(sys.argv[2]))
    except StrongroomError as error:
        sys.stderr.write(f"{error.message}\n")
        sys.exit(error.exit_code)
