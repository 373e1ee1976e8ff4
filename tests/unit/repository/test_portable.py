"""Rows out and in (docs/format/backup.md 3.1, 3.2): exact, in one order, and nothing but rows."""

import itertools
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.errors import ConflictError, FormatError, StateError
from strongroom.repository import portable, tables
from strongroom.repository.migrations import runner
from strongroom.repository.portable import EMPTIED, NAMES, PORTABLE, Row
from strongroom.repository.rows import JobRow, SessionRow
from strongroom.repository.unit_of_work import Repository
from tests.support.rows import NOW, content, new_repository, project


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return new_repository(f"sqlite:///{tmp_path}/repository.db")


def _all(repository: Repository) -> dict[str, list[bytes]]:
    with repository.reading() as tx:
        return {name: list(tx.rows.lines(name)) for name in NAMES}


def test_every_table_is_in_a_backup_or_left_out_on_purpose() -> None:
    """A new table has to be thought of here: 3.1."""
    known = {table.name for table in (*PORTABLE, *EMPTIED)}
    stays = {
        *(tables.intents.name, tables.marks.name, tables.schema_version.name),
        *(tables.commits.name, tables.fence.name, tables.meks.name, tables.incarnation.name),
        *(tables.kms_proofs.name, tables.event_heads.name),
    }
    assert known | stays == set(tables.metadata.tables)


def test_rows_come_back_as_they_were(repository: Repository, tmp_path: Path) -> None:
    with repository.transaction() as tx:
        tx.projects.insert(project("a-child", "Child", "project"))
        tx.projects.insert(project("0-grandchild", "Grandchild", "a-child"))
        for number in range(1200):
            tx.contents.insert(content(f"c{number}", tags=["ä", "b"], attributes={"x": [1, None]}))
        tx.sessions.insert(SessionRow("hash", "user", "site", None, NOW, NOW))
    before = _all(repository)
    ids = [json.loads(line)["id"] for line in before["projects"]]
    assert ids.index("project") < ids.index("a-child") < ids.index("0-grandchild")
    other = new_repository(f"sqlite:///{tmp_path}/other.db")
    with other.transaction() as tx:
        tx.sessions.insert(SessionRow("other", "user", "site", None, NOW, NOW))
        counts = tx.rows.replace(lambda name: portable.split_lines(name, [b"".join(before[name])]))
        assert counts["contents"] == 1200
        assert tx.rows.ids("projects") == set(ids)
        assert tx.sessions.find("other") is None
    assert _all(other) == before
    for one in (repository, other):
        one.close()


def test_rows_of_every_schema_before_this_one_are_taken(repository: Repository) -> None:
    """A backup outlives the program that made it: what came later has its default."""
    assert frozenset(runner.revisions()) == portable.READABLE
    with repository.transaction() as tx:
        tx.jobs.insert(JobRow("j", "rewrap_extracts", "site", None, "t", "queued", "os:me", NOW))
        (line,) = tx.rows.lines("jobs")
    row = json.loads(line)
    assert row.pop("bytes_total") == 0
    older = json.dumps(row, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert portable.parse_line("jobs", older + b"\n") == json.loads(line)
    del row["title"]  # was always there
    shorter = json.dumps(row, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    with pytest.raises(FormatError):
        portable.parse_line("jobs", shorter + b"\n")
    repository.close()


def test_a_row_that_no_reader_takes_is_not_written(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """3.2: a line has a bound, for both sides the same."""
    with repository.transaction() as tx:
        tx.contents.insert(content("small"))
        (line,) = tx.rows.lines("contents")
        monkeypatch.setattr(portable, "MAX_LINE_BYTES", len(line))
        (same,) = tx.rows.lines("contents")
        assert len(list(portable.split_lines("contents", [same]))) == 1
        tx.contents.insert(content("tiny", tags=["x" * 40]))
        with pytest.raises(StateError, match="the row tiny of the table contents has"):
            list(tx.rows.lines("contents"))
    repository.close()


def test_rows_that_break_a_rule_change_nothing(repository: Repository) -> None:
    before = _all(repository)
    rows: dict[str, list[Row]] = {name: [] for name in NAMES}
    rows["projects"] = [json.loads(before["projects"][0])]  # its site is not among them
    with pytest.raises(ConflictError), repository.transaction() as tx:
        tx.rows.replace(lambda name: rows[name])
    assert _all(repository) == before
    repository.close()


@given(cuts=st.lists(st.integers(0, 400), max_size=6))
def test_lines_are_found_however_they_are_cut(cuts: list[int]) -> None:
    row = {"group_id": "g\\n", "user_id": "ü"}
    line = json.dumps(row, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    data = (line + b"\n") * 9
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    pieces = [data[start:end] for start, end in itertools.pairwise(places)]
    assert list(portable.split_lines("group_users", pieces)) == [row] * 9


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"[]\n",
        b"\xff\n",
        b'{"group_id":"g","user_id":"u"}',
        b'{"user_id":"u","group_id":"g"}\n',
        b'{"group_id": "g","user_id":"u"}\n',
        b'{"group_id":"g"}\n',
        b'{"group_id":"g","more":"","user_id":"u"}\n',
        b'{"group_id":null,"user_id":"u"}\n',
        b'{"group_id":1,"user_id":"u"}\n',
        b'{"group_id":"\\ud800","user_id":"u"}\n',
        b"[" * 100_000 + b"\n",
    ],
)
def test_what_is_no_row_is_refused(line: bytes) -> None:
    with pytest.raises(FormatError, match="no row of the table group_users"):
        portable.parse_line("group_users", line)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("mode", "1"),
        ("mode", True),
        ("mode", 1.5),
        ("user_quota", 2**63),
        ("attributes", "text"),
        ("attributes", None),
        ("name", None),
        ("name", 1),
    ],
)
def test_a_value_of_another_kind_is_refused(
    repository: Repository, column: str, value: object
) -> None:
    with repository.reading() as tx:
        (line,) = tx.rows.lines("sites")
    row = portable.parse_line("sites", line)
    wrong = json.dumps({**row, column: value}, sort_keys=True, separators=(",", ":"))
    with pytest.raises(FormatError):
        portable.parse_line("sites", wrong.encode() + b"\n")
    repository.close()


def test_a_flag_is_a_flag(repository: Repository) -> None:
    with repository.reading() as tx:
        (line,) = tx.rows.lines("users")
    assert portable.parse_line("users", line)["is_server_admin"] is True
    with pytest.raises(FormatError):
        portable.parse_line("users", line.replace(b'admin":true', b'admin":1'))
    repository.close()


def test_a_line_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portable, "MAX_LINE_BYTES", 10)
    with pytest.raises(FormatError):
        list(portable.split_lines("sites", [b"x" * 6, b"x" * 6]))
