"""PostgreSQL finds what pages, look-ups and regular duties ask for by an index (F15, ADR 59).

The statements are taken as they are sent, with their values, and PostgreSQL itself says how it would do them, knowing
how many rows there are. SQLite's share of this is `tests/contract/doors/tableau/test_rows_read.py`.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from sqlalchemy import event

from benchmarks.inside import rows
from benchmarks.inside.asked import ASKED
from strongroom.repository.unit_of_work import Repository
from tests.support.databases import PostgresDatabases, url_of
from tests.support.rows import new_repository

COUNT = 3_000


@pytest.fixture(scope="module")
def filled(postgres_databases: PostgresDatabases) -> Iterator[Repository]:
    url = url_of(postgres_databases.server, postgres_databases._created())
    new_repository(url).close()
    repository = Repository(url)
    with repository.transaction() as tx:
        tx.sites.update("site", content_url="")
        tx.projects.update("project", name="Default")
        rows.fill_rows(tx, "mek", rows.Size(), rows.Size(COUNT, COUNT, COUNT))
    with repository.transaction() as tx:
        tx.sites._connection.exec_driver_sql("ANALYZE")
    yield repository
    repository.close()


@pytest.mark.parametrize("name", ASKED)
def test_no_table_is_walked_for_a_page_or_a_look_up(filled: Repository, name: str) -> None:
    with filled.reading() as tx:
        connection, sent = tx.sites._connection, list[tuple[str, Any]]()

        def asked(_: object, __: object, text: str, values: Any, *more: object) -> None:
            if text.lstrip().startswith("SELECT"):
                sent.append((text, values))

        event.listen(connection, "before_cursor_execute", asked)
        ASKED[name](tx, "site")
        event.remove(connection, "before_cursor_execute", asked)
        assert sent
        for text, values in sent:
            found = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {text}", values).scalar_one()
            plan = found if isinstance(found, list) else json.loads(found)
            walked = [
                node["Relation Name"]
                for node in _nodes(plan[0]["Plan"])
                if node["Node Type"] == "Seq Scan"
            ]
            # a count of all rows of a list is part of every page
            assert not walked or text.lstrip().startswith("SELECT count(*)"), (walked, text)


def _nodes(plan: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield plan
    for one in plan.get("Plans", ()):
        yield from _nodes(one)
