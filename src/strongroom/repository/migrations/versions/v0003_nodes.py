"""Columns and tables for several nodes on one repository: owners of jobs and intents, guards, and one row per node.

The new columns have defaults, so that rows of an older backup can be imported.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"


def upgrade() -> None:
    """Add columns and tables; no row is rewritten."""
    _owners()
    _guards()
    _nodes()


def _owners() -> None:
    for table, column in (
        ("jobs", "owner_node"),
        ("jobs", "owner_boot"),
        ("intents", "node_id"),
        ("intents", "boot_id"),
    ):
        op.add_column(table, sa.Column(column, sa.Text(), nullable=False, server_default=""))
    op.add_column(
        "jobs", sa.Column("owner_epoch", sa.BigInteger(), nullable=False, server_default="0")
    )


def _guards() -> None:
    op.create_table(
        "commits",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("done", sa.Boolean(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_commits")),
    )
    op.create_index(op.f("ix_commits_at"), "commits", ["at"], unique=False)
    op.create_table(
        "fence",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_fence")),
    )
    op.create_table(
        "meks",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_meks")),
    )


def _nodes() -> None:
    op.create_table(
        "incarnation",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_incarnation")),
    )
    op.create_table(
        "kms_proofs",
        sa.Column("node_id", sa.Text(), nullable=False),
        sa.Column("proof", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("node_id", name=op.f("pk_kms_proofs")),
    )
    op.create_table(
        "event_heads",
        sa.Column("node_id", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("node_id", name=op.f("pk_event_heads")),
    )
