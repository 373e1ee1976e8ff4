"""Times what `asked` asks of a database, at each of some sizes: the least of some runs, which a busy machine disturbs least."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.inside import common, rows
from benchmarks.inside.asked import ASKED
from strongroom.ids import new_id
from strongroom.repository.engine import sqlite_url
from strongroom.repository.portable import NAMES
from strongroom.repository.rows import ProjectRow, SiteRow, UserRow
from strongroom.repository.unit_of_work import Repository, Transaction

_RUNS = 7
_WHEN = "2026-11-01T00:00:00Z"


def measure(options: Mapping[str, Any]) -> object:
    """Milliseconds of each question by size.

    Options: `url` of an empty database of PostgreSQL, or none for a file of SQLite in `folder`; `sizes`.
    """
    url = options.get("url") or sqlite_url(Path(options["folder"]) / "gateways.db")
    repository = Repository(url)
    repository.ensure_schema()
    with repository.transaction() as tx:
        site = tx.sites.insert(SiteRow(new_id(), "Default", "", 0, _WHEN)).id
        owner = tx.users.insert(UserRow(new_id(), "Admin", "Admin", None, True, _WHEN)).id
        project = ProjectRow(
            new_id(), site, "Default", None, "", owner, "ManagedByOwner", _WHEN, _WHEN
        )
        tx.projects.insert(project)
    found: dict[int, dict[str, float]] = {}
    present = 0
    for size in options["sizes"]:
        with repository.transaction() as tx:
            rows.fill_rows(tx, "mek", rows.usual(present), rows.usual(size))
        present = size
        if options.get("url"):
            # PostgreSQL does so by itself after a while; of SQLite nobody does
            with repository.transaction() as tx:
                tx.sites._connection.exec_driver_sql("ANALYZE")  # noqa: SLF001 no gateway does that
        found[size] = _asked(repository, site)
    repository.close()
    return found


def _asked(repository: Repository, site: str) -> dict[str, float]:
    with repository.reading() as tx:
        found = {name: _least_ms(tx, site, name) for name in ASKED}
        began = time.perf_counter()
        for name in NAMES:
            for _ in tx.rows.lines(name):
                pass
        found["all: rows of a backup"] = (time.perf_counter() - began) * 1000
    return found


def _least_ms(tx: Transaction, site: str, name: str) -> float:
    times = []
    for _ in range(_RUNS):
        began = time.perf_counter()
        ASKED[name](tx, site)
        times.append(time.perf_counter() - began)
    return min(times) * 1000


if __name__ == "__main__":
    common.main(measure)
