"""Runs the steps of the schema with Alembic's operations, within the caller's transaction.

There is no ini file, no `env.py` and no graph: one line of steps, and the revision in the database's own
table of versions.
"""

from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection

from strongroom.repository.migrations.versions import (
    v0001_first,
    v0002_growth,
    v0003_nodes,
    v0004_services,
    v0005_scale,
)

STEPS = (
    v0001_first,
    v0002_growth,
    v0003_nodes,
    v0004_services,
    v0005_scale,
)  # oldest first; each has a `revision` and an `upgrade`


def revisions() -> list[str]:
    """The known revisions, oldest first."""
    return [step.revision for step in STEPS]


def upgrade(connection: Connection, present: str | None) -> str:
    """Take the steps after the present revision; returns the revision that the schema has then.

    The steps run in the caller's transaction, and are undone with it: every engine in use includes changes of tables in
    a transaction.
    """
    done = 0 if present is None else revisions().index(present) + 1
    with Operations.context(MigrationContext.configure(connection)):
        for step in STEPS[done:]:
            step.upgrade()
    return revisions()[-1]
