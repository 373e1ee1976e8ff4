"""Indexes for what was looked up by walking a table: with each a page, a look-up or a regular duty reads what it shows (ADR 59).

A program of revision 0004 goes on working on this schema: no column changes.
"""

from alembic import op

revision = "0005"

_INDEXES = (
    ("users", ("is_server_admin", "created_at", "id")),
    ("projects", ("site_id", "name_folded", "id")),
    ("contents", ("site_id", "state", "id")),
    ("credentials", ("asset_key_id",)),
    ("uploads", ("last_at",)),
    ("upload_parts", ("storage_key",)),
    ("jobs", ("created_at", "id")),
    ("intents", ("node_id", "created_at")),
    ("service_secret_ids", ("expires_at",)),
)


def upgrade() -> None:
    """Add them; no row is rewritten."""
    for table, columns in _INDEXES:
        op.create_index(op.f(f"ix_{table}_{'_'.join(columns)}"), table, columns, unique=False)
