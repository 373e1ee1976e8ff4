"""Runs Alembic in-process and in the caller's transaction, without ini file and `env.py`."""

from collections.abc import Iterable
from pathlib import Path

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext, RevisionStep
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

_HEAD = "head"


def revisions() -> list[str]:
    """The known revisions, newest first."""
    return [script.revision for script in _scripts().walk_revisions()]


def upgrade(connection: Connection) -> None:
    """Bring the schema to the newest revision; the transaction decides whether it is kept."""
    scripts = _scripts()

    def steps(revision: tuple[str, ...], _context: MigrationContext) -> Iterable[RevisionStep]:
        # what `alembic upgrade` itself calls; there is no public name for it
        return scripts._upgrade_revs(_HEAD, revision)  # type: ignore[arg-type]  # noqa: SLF001

    with EnvironmentContext(Config(), scripts, fn=steps) as environment:
        environment.configure(
            connection=connection,
            transactional_ddl=True,  # true for SQLite too, since we say BEGIN ourselves
            render_as_batch=True,
        )
        environment.run_migrations()


def _scripts() -> ScriptDirectory:
    return ScriptDirectory(str(Path(__file__).parent))
