"""A page costs what is on it: the database finds its rows in an index, in their order, and sorts no others (findings R14).

Asked of SQLite itself: what it says of each statement is how it runs it, whatever number of rows there is.
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from strongroom.repository import engine
from strongroom.repository.gateways import directory
from strongroom.repository.rows import Query
from strongroom.repository.unit_of_work import Repository, Transaction
from tests.support.rows import content, new_repository

BY_NAME, FROM_THE_END = Query(sort=(("name", False),)), Query(sort=(("name", True),))
FAR = Query(sort=(("name", False),), offset=7900, limit=100)
#: The lists that grow with what is published and with who works there, in the orders in which they are asked for.
PAGES: dict[str, Callable[[Transaction], object]] = {
    "data sources": lambda tx: tx.contents.page("site", "datasource", BY_NAME),
    "the last data sources": lambda tx: tx.contents.page("site", "datasource", FAR),
    "data sources from the end": lambda tx: tx.contents.page("site", "datasource", FROM_THE_END),
    "workbooks": lambda tx: tx.contents.page("site", "workbook", BY_NAME),
    "sites": lambda tx: tx.sites.page(BY_NAME),
    "users": lambda tx: tx.users.page(BY_NAME),
    "users of a large site": lambda tx: tx.users.page_of_site("site", BY_NAME),
    "groups": lambda tx: tx.groups.page("site", BY_NAME),
    "the next batch of a job": lambda tx: tx.contents.list_for_site("site", after_id="c", limit=50),
}


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    with closing(new_repository(engine.sqlite_url(tmp_path / "repository.db"))) as found:
        yield found


@pytest.fixture
def plans() -> Iterator[list[str]]:
    """How SQLite runs each statement that gives rows, told while it is run."""
    told: list[str] = []

    def explained(_: Any, cursor: Any, statement: str, values: Any, *__: Any) -> None:
        if statement.startswith("SELECT") and not statement.startswith("SELECT count"):
            steps = cursor.connection.execute(f"EXPLAIN QUERY PLAN {statement}", values)
            told.append("\n".join(row[3] for row in steps))

    event.listen(Engine, "before_cursor_execute", explained)
    yield told
    event.remove(Engine, "before_cursor_execute", explained)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_a_range_of_an_index(
    name: str, repository: Repository, plans: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Findings R14: the site's rows were read and sorted for each hundred of them."""
    monkeypatch.setattr(directory, "_FEW", 0)
    with repository.reading() as tx:
        plans.clear()
        PAGES[name](tx)
    assert plans
    for plan in plans:
        assert "INDEX" in plan
        assert "TEMP B-TREE" not in plan, plan


def test_the_users_of_a_small_site_are_found_by_the_site(
    repository: Repository, plans: list[str]
) -> None:
    """F15: going through all users of an installation by name, for the few who are members, is what grows."""
    with repository.reading() as tx:
        tx.users.page_of_site("site", BY_NAME)
        tx.users.page_of_group("site", "group", BY_NAME)
    assert plans
    for plan in plans:
        assert "SCAN" not in plan, plan
        assert "SEARCH users USING INDEX sqlite_autoindex_users_1 (id=?)" in plan, plan


def test_that_a_sort_is_seen(repository: Repository, plans: list[str]) -> None:
    with repository.reading() as tx:
        tx.contents.page("site", "datasource", Query(sort=(("size", False),)))
    assert any("TEMP B-TREE" in plan for plan in plans)


def test_a_hundred_of_many_and_of_few_take_the_same_work(tmp_path: Path) -> None:
    """In instructions of the database, which a busy machine does not change; the rows of one page, without their count."""
    costs = []
    for number in (150, 1500):
        with closing(new_repository(engine.sqlite_url(tmp_path / f"{number}.db"))) as repository:
            with repository.transaction() as tx:
                for one in range(number):
                    tx.contents.insert(content(f"c{one:05}"))
            costs.append(_instructions(repository))
    assert costs[0] == costs[1]


def _instructions(repository: Repository) -> int:
    done = 0

    def counted() -> int:
        nonlocal done
        done += 1
        return 0

    def watched(_: Any, cursor: Any, statement: str, *__: Any) -> None:
        of_rows = statement.startswith("SELECT contents.id")
        cursor.connection.set_progress_handler(counted if of_rows else None, 1)

    event.listen(Engine, "before_cursor_execute", watched)
    try:
        with repository.reading() as tx:
            page = tx.contents.page("site", "datasource", Query(sort=(("name", False),), limit=100))
            assert len(page.rows) == 100
    finally:
        event.remove(Engine, "before_cursor_execute", watched)
    return done
