"""Indexes for what was looked up by walking a site's rows, and the bytes that a job has before it (findings R6, R14, D1).

A program of revision 0001 goes on working on this schema: the new column has a default.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"


def upgrade() -> None:
    """Add them; no row is rewritten."""
    op.add_column(
        "jobs", sa.Column("bytes_total", sa.BigInteger(), nullable=False, server_default="0")
    )
    for table, columns in (
        ("contents", ["site_id", "kind", "name_folded", "id"]),
        ("jobs", ["site_id", "state", "content_id", "created_at"]),
        ("jobs", ["finished_at"]),
    ):
        op.create_index(op.f(f"ix_{table}_{'_'.join(columns)}"), table, columns, unique=False)
