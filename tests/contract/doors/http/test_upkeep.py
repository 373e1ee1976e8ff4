"""What a serving node does beside serving."""

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from strongroom.access.sessions import hash_token
from strongroom.clock import FixedClock, format_utc
from strongroom.crypto.secret import SecretBytes
from strongroom.doors.http import upkeep
from strongroom.envelope.header import Placement
from strongroom.errors import FormatError, StorageError, StrongroomError
from strongroom.eventlog.events import secret_events
from strongroom.filestore.blockfile import PARTIAL_SUFFIX
from strongroom.ids import new_id
from strongroom.node.opening import Node
from strongroom.system import durable
from tests.contract.conftest import ADMIN, ADMIN_PASSWORD


def test_a_start_removes_what_nobody_knows(node: Node) -> None:
    """A file without a row, one with an intent only, a hidden one, and half a checkpoint."""
    place = Placement(new_id(), new_id())
    orphan = node.vault.create(place, encrypted=True)
    orphan.write(b"x")
    lies = node.paths.extracts / orphan.commit().storage_key
    announced = node.stored_files.create(place, encrypted=True)
    announced.write(b"x")
    announced.commit()
    hidden = node.paths.extracts / place.site_id / f".0123456789abcdef{PARTIAL_SUFFIX}"
    hidden.write_bytes(b"x")
    unfinished = durable.temp_path(node.events.checkpoints.path)
    unfinished.write_bytes(b"x")
    upkeep.at_start(node)
    # nobody waits for what looks at all files
    assert lies.is_file()
    upkeep.look_through_files(node)
    assert [path for path in node.paths.extracts.rglob("*") if path.is_file()] == []
    assert not unfinished.exists()
    with node.repository.reading() as tx:
        assert tx.intents.list() == []


@pytest.mark.parametrize(
    ("error", "left"), [(FormatError("a damaged head"), 1), (StorageError("no answer"), 3)]
)
def test_a_file_that_cannot_be_deleted_ends_no_upkeep(
    node: Node, monkeypatch: pytest.MonkeyPatch, error: StrongroomError, left: int
) -> None:
    """A damaged one holds up no other one; a store that does not answer is not asked for each."""
    for _ in range(3):
        made = node.stored_files.create(Placement(new_id(), new_id()), encrypted=True)
        made.write(b"x")
        made.commit()
    before, asked = type(node.vault).delete, list[str]()

    def delete(self: Any, storage_key: str) -> None:
        asked.append(storage_key)
        if storage_key == asked[0]:
            raise error
        before(self, storage_key)

    monkeypatch.setattr(type(node.vault), "delete", delete)
    upkeep.at_start(node)
    with node.repository.reading() as tx:
        assert len(tx.intents.list()) == left
    monkeypatch.undo()
    upkeep.at_start(node)
    with node.repository.reading() as tx:
        assert tx.intents.list() == []


def test_a_look_at_all_files_leaves_what_others_make_meanwhile(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """E-09: of a file that is published, and one that is deleted, between the listing and the look at rows."""
    place = Placement(new_id(), new_id())
    published = node.stored_files.create(place, encrypted=True)
    published.write(b"x")
    stored = published.commit()
    seen = list(node.files.list())
    with node.repository.transaction() as tx:
        tx.intents.delete(stored.storage_key)
        node.stored_files.discard_later(tx, stored.storage_key)
    monkeypatch.setattr(type(node.files), "list", lambda _: iter(seen))
    assert node.stored_files.remove_orphans() == 0
    with node.repository.transaction() as tx:
        tx.intents.delete(stored.storage_key)
    assert node.stored_files.remove_orphans(keep=seen) == 0
    assert node.stored_files.remove_orphans(may_go_on=lambda: False) == 0
    assert node.stored_files.remove_orphans() == 1
    assert node.stored_files.remove_orphans() == 1  # gone already, which is no error


def test_sessions_that_nobody_used_end(node: Node) -> None:
    token, _ = node.auth.sign_in(ADMIN, SecretBytes(ADMIN_PASSWORD.encode()), "")
    stored = hash_token(SecretBytes(token.encode()))
    with node.repository.transaction() as tx:
        tx.sessions.touch(stored, format_utc(node.clock.now() - timedelta(days=2)))
    upkeep.regularly(node)
    with node.repository.reading() as tx:
        assert tx.sessions.find(stored) is None


def test_a_failure_is_logged_and_tried_again(
    node: Node, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    calls = []

    def failing() -> int:
        calls.append(1)
        if len(calls) > 1:
            raise StorageError("disk")
        return 0

    monkeypatch.setattr(node.auth, "prune", failing)
    with upkeep.kept_up(node, 0.01):
        end = time.monotonic() + 60
        while len(calls) < 4 and time.monotonic() < end:
            time.sleep(0.01)
    assert len(calls) >= 4
    assert "tried again" in caplog.text


def test_secrets_that_are_due_are_rotated_when_that_is_asked_for(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    """P15: the schedule; what an administrator supplies is only told of."""
    old = node.configuration.open_secret("redis.password")
    years = timedelta(days=365 * 3)
    node.secret_inventory._clock = FixedClock(node.clock.now() + years)
    changes = {"secrets.policy": "redis.password=30 *=9999"}
    node.configuration.compare_and_put(lambda document: document.with_values(changes))
    node.rotation_upkeep.rotate_due()
    assert node.configuration.open_secret("redis.password") == old
    changes = {"secrets.rotate_when_due": "true"}
    node.configuration.compare_and_put(lambda document: document.with_values(changes))
    caplog.set_level("INFO")
    node.rotation_upkeep.rotate_due()
    assert node.configuration.open_secret("redis.password") != old
    assert "due: redis.password" in caplog.text
    assert [record["actor"] for record in node.events.read()][-1] == "system"
    node.secret_inventory._clock = node.clock
    node.rotation_upkeep.rotate_due()
    assert not node.secret_inventory.due()


def test_an_exception_that_nobody_expected_does_not_end_upkeep(
    node: Node, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    again = threading.Event()

    def failing(interval_s: float) -> None:
        del interval_s
        if "ZeroDivisionError" in caplog.text:
            again.set()
        raise ZeroDivisionError

    monkeypatch.setattr(node.kms_store, "upkeep", failing)
    with upkeep.kept_up(node, 0.01):
        assert again.wait(60)
    assert "tried again" in caplog.text


def test_a_task_that_hangs_does_not_hold_up_the_end(
    node: Node, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Such as the check of a long event log."""
    begun, end = threading.Event(), threading.Event()

    def hang(node: Node) -> None:
        del node
        begun.set()
        end.wait(30)

    monkeypatch.setattr(upkeep, "check_event_log", hang)
    monkeypatch.setattr(upkeep, "_END_WAIT_S", 0.01)
    with upkeep.kept_up(node, 0.01):
        assert begun.wait(60)
    assert "did not end in time" in caplog.text
    end.set()


def _cut(node: Node) -> None:
    lines = node.paths.events.read_bytes().splitlines(keepends=True)
    node.paths.events.write_bytes(b"".join(lines[:-2]))


def _edited(node: Node) -> None:
    data = node.paths.events.read_bytes()
    node.paths.events.write_bytes(data.replace(b'"seq":2,', b'"seq":7,'))


@pytest.mark.parametrize("change", [_cut, _edited])
def test_a_changed_event_log_is_told_at_the_start_and_nothing_is_signed(
    node: Node, caplog: pytest.LogCaptureFixture, change: Callable[[Node], None]
) -> None:
    """R10: what the end shows at once, and what stands in the middle beside the serving."""
    change(node)
    files = node.paths.events, node.events.checkpoints.path
    before = [path.read_bytes() for path in files]
    with upkeep.kept_up(node, 3600):
        end = time.monotonic() + 60
        while "event log: it was changed" not in caplog.text and time.monotonic() < end:
            time.sleep(0.01)
    assert "event log: it was changed" in caplog.text
    assert "'strongroom events verify' says more" in caplog.text
    assert [path.read_bytes() for path in files] == before
    assert (upkeep.event_log_problems(node) != ()) == (change is _cut)


def test_a_start_signs_what_a_killed_writer_left(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    """R10."""
    kept = node.events.checkpoints.path.read_bytes()
    node.events.append([secret_events.secret_revealed("os:ada", "redis.password")])
    node.events.checkpoints.path.write_bytes(kept)
    assert node.events.verify().unsigned == 1
    upkeep.at_start(node)
    assert node.events.verify().is_whole
    assert "event log" not in caplog.text


def test_an_event_log_that_cannot_be_signed_stops_no_start(
    node: Node, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A full disk does not keep a node from serving what it has."""

    def full() -> tuple[str, ...]:
        raise StorageError("no space")

    monkeypatch.setattr(node.events, "sign", full)
    upkeep.at_start(node)
    assert "event log: it could not be verified: no space" in caplog.text
