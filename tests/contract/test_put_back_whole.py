"""A whole part of a node is put back to what it was: noticed by the anchors (docs/format/anchor.md; review X1, X4; S4, S5).

On a real node, with the real commands. Whoever writes event log, coordination database or repository needs no key to put
back what they were: each MAC in them fits.
"""

import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from itertools import combinations
from pathlib import Path

import pytest

from strongroom.cli import dispatch
from strongroom.config import versions
from strongroom.coordination import anchor
from strongroom.coordination.anchoring import Anchoring, Made
from strongroom.coordination.base import Change
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import ConflictError, IntegrityError, StrongroomError
from strongroom.eventlog.events import log_events, secret_events
from strongroom.node import create, opening
from strongroom.node.opening import Node
from strongroom.repository import marks_alone
from strongroom.services.keys import log_anchor

pytestmark = pytest.mark.table

ACTOR = "os:tester"
REDIS = "redis.password"
PARTS = ("coordination", "repository", "events")
SUBSETS = [frozenset(one) for size in (1, 2) for one in combinations(PARTS, size)]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A node that has lived for a while; each test works on a copy."""
    home = tmp_path_factory.mktemp("made") / "node"
    create.create_node(str(home), "ada", SecretBytes(b"correct horse battery"))
    with opened(home) as node:
        lived(node, "first")
    return home


@pytest.fixture
def home(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "node")


@contextmanager
def opened(home: Path) -> Iterator[Node]:
    with closing(opening.open_node(str(home))) as node:
        yield node


def applied(node: Node, value: str) -> None:
    node.configuration.set(REDIS, value, actor=ACTOR)
    node.configuration.apply(actor=ACTOR)


def lived(node: Node, value: str) -> None:
    """Some days of a node: a secret, a rotation, rows, and more events."""
    applied(node, value)
    node.meks.rotate(ACTOR)
    node.log_anchor._renewed_at = None
    with node.repository.transaction() as tx:
        tx.marks.set("ready", value)
    node.events.append([secret_events.secret_revealed(ACTOR, "one")] * 3)
    applied(node, f"{value} and more")


def run(home: Path, *words: str) -> int:
    return dispatch.main("strongroom", ["--data-dir", str(home), *words])


def put_back(copy: Path, home: Path, *parts: str) -> None:
    for part in parts:
        shutil.rmtree(home / "tabsvc" / part)
        shutil.copytree(copy / "tabsvc" / part, home / "tabsvc" / part)


def told(home: Path) -> str:
    with opened(home) as node:
        return "; ".join((*node.state_faults(), *node.event_log_faults()))


@pytest.mark.parametrize("parts", SUBSETS, ids=lambda parts: "+".join(sorted(parts)))
def test_each_part_and_each_pair_that_is_put_back_is_noticed(
    made: Path, home: Path, parts: frozenset[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """X1, S4, S5: an older event log with its checkpoint, an older coordination database, an older repository."""
    with opened(home) as node:
        lived(node, "second")
    assert told(home) == ""
    put_back(made, home, *parts)
    assert told(home)
    assert run(home, "anchor", "verify") == 20
    assert run(home, "events", "verify") == 20
    assert run(home, "status") == 1
    assert "put back" in capsys.readouterr().err


def test_a_rotated_secret_that_is_put_back_with_the_repository_is_noticed(
    made: Path, home: Path
) -> None:
    """3.5: neither a pending change nor another KMS store tells it; the event of the rotation names the document."""
    with opened(home) as node:
        assert [one.state for one in node.rotation.rotate(ACTOR, [REDIS])] == ["rotated"]
        [record] = list(node.events.history(secret_events.SECRET_ROTATED))
        assert record["details"]["version"] == node.configuration.version  # type: ignore[index]
    put_back(made, home, "coordination", "repository")
    assert told(home) == "the configuration document is older than it was (as the event log says)"
    assert run(home, "anchor", "verify") == 20


def test_all_three_together_are_not_noticed(made: Path, home: Path) -> None:
    """anchor.md 4.1: it is the same state as it was; a checkpoint that was kept elsewhere tells it."""
    with opened(home) as node:
        lived(node, "second")
    put_back(made, home, *PARTS)
    assert told(home) == ""


def test_an_older_coordination_database_changes_nothing_and_serves_nobody(
    made: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """X4: the first password was in force again, status OK, events verify 0. Its store of keys is the same one here."""
    with opened(home) as node:
        applied(node, "second")
    put_back(made, home, "coordination")
    with opened(home) as node:
        before = node.configuration.document()
        with pytest.raises(IntegrityError, match="the anchor is older than it was") as caught:
            node.configuration.set(REDIS, "third", actor=ACTOR)
        assert caught.value.exit_code == 20
        with pytest.raises(IntegrityError, match="put back or changed"):
            node.meks.rotate(ACTOR)
        assert node.configuration.document() == before
    assert run(home, "serve", "--port", "0", "--no-backgrounder") == 20
    assert "is not served" in capsys.readouterr().err
    tsm = ["--data-dir", str(home), "security", "keystore", "verify"]
    assert dispatch.main("tsm", tsm) == 20


def test_an_older_event_log_gets_no_line_more(made: Path, home: Path) -> None:
    """X1: one ordinary command signed what somebody had written behind an older checkpoint."""
    with opened(home) as node:
        lived(node, "second")
    put_back(made, home, "events")
    with opened(home) as node:
        lines = node.paths.events.read_bytes()
        with pytest.raises(IntegrityError, match="put back, or cut") as caught:
            node.configuration.get(REDIS, actor=ACTOR)
        assert caught.value.exit_code == 20
        assert "events archive" in caught.value.hint
        assert node.paths.events.read_bytes() == lines


def test_an_administrator_takes_the_state_as_it_is(
    made: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is told by an event, which names what did not fit; from then on it is the state from which all goes on."""
    with opened(home) as node:
        applied(node, "second")
        node.events.append([secret_events.secret_revealed(ACTOR, "two")])
    put_back(made, home, "coordination", "events")
    assert run(home, "anchor", "accept", "--reason", "the copy of Monday") == 0
    shown = capsys.readouterr().out
    assert "accepted: the anchor is older than it was (as the repository says)" in shown
    with opened(home) as node:
        [record] = node.events.history(log_events.STATE_ACCEPTED)
        details = record["details"]
        assert isinstance(details, dict)
        assert details["reason"] == "the copy of Monday"
        assert "the anchor is older than it was" in details["findings"]
        lived(node, "third")
    assert told(home) == ""
    assert run(home, "anchor", "verify", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"whole": True, "faults": []}
    assert run(home, "events", "verify") == 0
    assert run(home, "anchor", "accept", "--reason", "once more") == 0
    assert "nothing is to be accepted" in capsys.readouterr().err


def test_a_repository_that_is_gone_is_missed_and_may_be_accepted(home: Path) -> None:
    for path in (home / "tabsvc/repository").glob("repository.db*"):
        path.unlink()
    with opened(home) as node:
        assert "the anchor in the repository is missing" in "; ".join(node.state_faults())
        node.ensure_schema()
        assert node.accept_state(ACTOR, "lost")
        assert node.state_faults() == ()
        applied(node, "third")
    assert told(home) == ""


# ---- what is no fault --------------------------------------------------------------------------------


def row(node: Node) -> str | None:
    return marks_alone.read(node.marks, (anchor.MARK,)).get(anchor.MARK)


def test_a_process_that_dies_between_the_put_and_the_row_leaves_what_is_right(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """3.2; also if the disk refuses the row, which is no error of the put."""
    with opened(home) as node:
        before = row(node)
        with monkeypatch.context() as patch:
            patch.setattr(marks_alone, "_connected", refuse)
            applied(node, "second")
        assert row(node) == before
        assert node.state_faults() == ()
        applied(node, "third")
        assert row(node) != before
    assert told(home) == ""


@pytest.mark.parametrize("is_anew", [False, True])
def test_a_writer_that_comes_late_leaves_the_row_of_a_later_put(
    home: Path, *, is_anew: bool
) -> None:
    """Also one that makes the anchor anew: the row goes in whose place it was made, and no later one."""
    with opened(home) as one, opened(home) as other:
        made = late(one, is_anew=is_anew)
        other.coordinator.put({})
        later = row(other)
        one.anchoring.keep(made)
        assert row(one) == later
        assert one.state_faults() == ()


def late(node: Node, *, is_anew: bool) -> Made:
    """Make a put, and not its row."""
    with node.anchoring.anew() if is_anew else nullcontext():
        made = node.coordinator._anchored(node.anchoring, {})
    node.coordinator.store.put(made.changes)
    return made


def refuse(_: Path) -> sqlite3.Connection:
    raise sqlite3.OperationalError("disk I/O error")


def test_a_repository_that_cannot_be_read_lacks_no_anchor(home: Path) -> None:
    """It is told by whoever needs it; a put of a setting does not need it."""
    with opened(home) as node:
        node.paths.repository.write_bytes(b"no database" * 1000)
        applied(node, "second")
        entry = node.coordinator.get(anchor.ENTRY)
        assert entry
        assert anchor.parse(entry.value).repository > 0


def test_a_regeneration_takes_the_anchor_along(home: Path) -> None:
    """The row is under the new key right after the one put that brings it into force."""
    with opened(home) as node:
        node.regenerate.run(ACTOR, lambda _: None, ["keys"])
        assert node.state_faults() == ()
    assert told(home) == ""


def test_an_archive_begins_the_logs_of_the_anchor_anew(home: Path) -> None:
    with opened(home) as node:
        applied(node, "second")
    assert run(home, "events", "archive", "--reason", "long") == 0
    for aside in (home / "tabsvc/events").glob("node1.jsonl.*Z*"):
        aside.unlink()
    with opened(home) as node:
        assert node.event_log_faults() == ()
        applied(node, "third")
    assert told(home) == ""


def test_puts_of_several_processes_do_not_come_into_each_other_s_way(home: Path) -> None:
    """Each writes the anchor of all entries; whoever comes second makes it anew. A lost race of one entry stays lost."""
    with opened(home) as one, opened(home) as other:
        made = one.coordinator._anchored

        def late(anchoring: Anchoring, changes: dict[str, Change]) -> object:
            found = made(anchoring, changes)
            one.coordinator._anchored = made  # type: ignore[method-assign]
            other.coordinator.put({"journal/other": Change(b"{}", 0)})
            return found

        one.coordinator._anchored = late  # type: ignore[method-assign, assignment]
        one.coordinator.put({"journal/one": Change(b"{}", 0)})
        assert one.state_faults() == ()
        one.coordinator._anchored = late  # type: ignore[method-assign, assignment]
        with pytest.raises(ConflictError):
            one.coordinator.put({"journal/one": Change(b"{}", 0)})
    assert "journal" not in told(home)


# ---- somebody who has no key writes one entry ---------------------------------------------------------


def _row_of(home: Path, key: str) -> tuple[int, bytes, bytes]:
    with closing(sqlite3.connect(home / "tabsvc/coordination/coordination.db")) as database:
        query = "SELECT version, value, digest FROM entries WHERE key = ?"
        found: tuple[int, bytes, bytes] = database.execute(query, (key,)).fetchone()
    return found


def _write(home: Path, statement: str, *values: object) -> None:
    path = home / "tabsvc/coordination/coordination.db"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(statement, values)


def _journal(home: Path) -> None:
    """A journal that was finished comes back: genuine, and at its own version."""
    key = "journal/rotation/one"
    with opened(home) as node:
        node.coordinator.put({key: Change(b"{}", 0)})
        old = _row_of(home, key)
        node.coordinator.put({key: Change(None, 1)})
    _write(home, "INSERT INTO entries VALUES (?, ?, ?, ?)", key, *old)


def _older(home: Path) -> None:
    """The document before, at its own version: its MAC fits."""
    with opened(home) as node:
        old = _row_of(home, versions.CURRENT)
        applied(node, "second")
    statement = "UPDATE entries SET version = ?, value = ?, digest = ? WHERE key = ?"
    _write(home, statement, *old, versions.CURRENT)


def _no_entry(home: Path) -> None:
    _write(home, "DELETE FROM entries WHERE key = ?", versions.RESTART)


def _no_anchor(home: Path) -> None:
    _write(home, "DELETE FROM entries WHERE key = ?", anchor.ENTRY)


def _no_entries(home: Path) -> None:
    _write(home, "DELETE FROM entries")


def _strange_row(home: Path) -> None:
    with closing(sqlite3.connect(home / "tabsvc/repository/repository.db")) as database, database:
        database.execute("UPDATE marks SET value = 'no anchor' WHERE name = 'anchor'")


WRITTEN: dict[str, tuple[Callable[[Path], None], str]] = {
    "a journal that was finished": (_journal, "is there, and the anchor does not know it"),
    "an older document": (_older, "the entry 'config' is older than it was"),
    "an entry is gone": (_no_entry, "the entry 'restart' is missing"),
    "the anchor is gone": (_no_anchor, "the anchor is missing"),
    "everything is gone": (_no_entries, "the anchor is missing"),
    "the row is no anchor": (_strange_row, "it is cut short"),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_an_entry_that_is_put_back_by_itself_is_noticed(home: Path, name: str) -> None:
    write, words = WRITTEN[name]
    write(home)
    with opened(home) as node:
        assert words in "; ".join(node.state_faults())
        with pytest.raises(StrongroomError, match=words):
            node.coordinator.put({"journal/next": Change(b"{}", 0)})
        assert words in "; ".join(node.state_faults()), "no put covers it up"
    if name != "everything is gone":
        with opened(home) as node:
            assert node.accept_state(ACTOR, "well")
        assert told(home) == ""


def test_the_first_append_compares_with_the_newer_anchor(made: Path, home: Path) -> None:
    """A repository that is put back together with the log has an older row, and the entry is the newer one."""
    with opened(home) as node:
        lived(node, "second")
    put_back(made, home, "repository", "events")
    with opened(home) as node, pytest.raises(IntegrityError, match="put back, or cut"):
        node.events.append([secret_events.secret_revealed(ACTOR, "one")])
    with opened(home) as node:
        node.events.take_as_it_is()
        node.events.append([secret_events.secret_revealed(ACTOR, "one")])


def test_a_row_of_the_log_that_is_not_ours_refuses_an_append(home: Path) -> None:
    with closing(sqlite3.connect(home / "tabsvc/repository/repository.db")) as database, database:
        database.execute("UPDATE marks SET value = '?' WHERE name = ?", (log_anchor.MARK,))
    with opened(home) as node, pytest.raises(IntegrityError, match="is damaged"):
        node.events.append([secret_events.secret_revealed(ACTOR, "one")])
