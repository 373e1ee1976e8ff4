"""Tables for service keys, values, and the programs that use them (docs/format/service-keys.md)."""

import sqlalchemy as sa
from alembic import op

revision = "0004"


def upgrade() -> None:
    """Add tables; no row is touched."""
    _keys()
    _values()
    _identities()


def _text(name: str, *, nullable: bool = False) -> "sa.Column[str]":
    return sa.Column(name, sa.Text(), nullable=nullable)


def _number(name: str) -> "sa.Column[int]":
    return sa.Column(name, sa.BigInteger(), nullable=False)


def _flag(name: str) -> "sa.Column[bool]":
    return sa.Column(name, sa.Boolean(), nullable=False)


def _json(name: str) -> "sa.Column[object]":
    return sa.Column(name, sa.JSON(), nullable=False)


def _table(name: str, *columns: object, key: tuple[str, ...], unique: tuple[str, ...] = ()) -> None:
    rules: list[object] = [sa.PrimaryKeyConstraint(*key, name=op.f(f"pk_{name}"))]
    if unique:
        rules.append(sa.UniqueConstraint(*unique, name=op.f(f"uq_{name}_{'_'.join(unique)}")))
    op.create_table(name, *columns, *rules)  # type: ignore[arg-type]


def _index(table: str, column: str) -> None:
    op.create_index(op.f(f"ix_{table}_{column}"), table, [column], unique=False)


def _keys() -> None:
    _table(
        "service_mounts",
        *map(_text, ("path", "id", "kind", "description")),
        _json("options"),
        _text("created_at"),
        key=("path",),
        unique=("id",),
    )
    _table(
        "service_keys",
        *map(_text, ("id", "mount_id", "name", "kind", "state")),
        *map(_flag, ("exportable", "deletion_allowed", "backup_allowed")),
        *map(_number, ("latest", "available", "to_decrypt", "to_encrypt")),
        _text("delete_at", nullable=True),
        *map(_text, ("created_at", "updated_at")),
        key=("id",),
        unique=("mount_id", "name"),
    )
    _index("service_keys", "delete_at")
    _table(
        "service_key_versions",
        _text("key_id"),
        _number("version"),
        *map(_text, ("mek_id", "sealed", "public", "created_at")),
        sa.ForeignKeyConstraint(
            ["key_id"],
            ["service_keys.id"],
            name=op.f("fk_service_key_versions_key_id"),
            ondelete="CASCADE",
        ),
        key=("key_id", "version"),
    )
    _index("service_key_versions", "mek_id")


def _values() -> None:
    _table(
        "service_secrets",
        *map(_text, ("mount_id", "path")),
        *map(_number, ("latest", "oldest")),
        *map(_json, ("options", "metadata")),
        *map(_text, ("created_at", "updated_at")),
        key=("mount_id", "path"),
    )
    _table(
        "service_values",
        *map(_text, ("mount_id", "path")),
        _number("version"),
        *map(_text, ("mek_id", "sealed", "created_at")),
        _text("deleted_at", nullable=True),
        _flag("destroyed"),
        key=("mount_id", "path", "version"),
    )
    _index("service_values", "mek_id")


def _identities() -> None:
    _table("service_policies", *map(_text, ("name", "text", "updated_at")), key=("name",))
    _table(
        "service_tokens",
        *map(_text, ("id", "secret_hash", "parent_id", "name", "origin")),
        *map(_json, ("policies", "metadata")),
        _text("created_at"),
        _text("expires_at", nullable=True),
        *map(_number, ("ttl_s", "max_ttl_s", "period_s", "uses_left")),
        _flag("renewable"),
        key=("id",),
        unique=("secret_hash",),
    )
    _index("service_tokens", "parent_id")
    _index("service_tokens", "expires_at")
    _table(
        "service_roles",
        *map(_text, ("name", "role_id")),
        _json("options"),
        _text("created_at"),
        key=("name",),
        unique=("role_id",),
    )
    _table(
        "service_secret_ids",
        *map(_text, ("id", "secret_hash", "role")),
        *map(_json, ("metadata", "cidrs")),
        _text("created_at"),
        _text("expires_at", nullable=True),
        _number("uses_left"),
        sa.ForeignKeyConstraint(
            ["role"],
            ["service_roles.name"],
            name=op.f("fk_service_secret_ids_role"),
            ondelete="CASCADE",
        ),
        key=("id",),
        unique=("secret_hash",),
    )
    _index("service_secret_ids", "role")
