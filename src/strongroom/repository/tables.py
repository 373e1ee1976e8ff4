"""The repository's tables as SQLAlchemy Core describes them: one schema for SQLite and PostgreSQL.

A change here needs a migration; a test compares the two. Ids and times are texts (K-10, K-12). A
`_folded` column holds `folding.fold` of its neighbour.
"""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False)


def _added_text(name: str) -> Column[str]:
    """A text that rows of an older program lack."""
    return Column(name, Text, nullable=False, server_default="")


def _number(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False)


def _flag(name: str) -> Column[bool]:
    return Column(name, Boolean, nullable=False)


def _reference(name: str, target: str, *, nullable: bool = False) -> Column[str]:
    """A reference whose row is deleted with its target."""
    return Column(name, Text, ForeignKey(target, ondelete="CASCADE"), nullable=nullable)


def _owner() -> Column[str]:
    """A reference to a user, who cannot be deleted while it exists."""
    return Column("owner_id", Text, ForeignKey("users.id"), nullable=False)


sites = Table(
    "sites",
    metadata,
    Column("id", Text, primary_key=True),
    _text("name"),
    _text("name_folded"),
    _text("content_url"),
    _text("content_url_folded"),
    Column("mode", Integer, nullable=False),
    _text("state"),
    _text("admin_mode"),
    Column("user_quota", BigInteger),
    Column("storage_quota", BigInteger),
    Column("attributes", JSON, nullable=False),
    _text("created_at"),
    UniqueConstraint("name_folded"),
    UniqueConstraint("content_url_folded"),
)

users = Table(
    "users",
    metadata,
    Column("id", Text, primary_key=True),
    _text("name"),
    _text("name_folded"),
    _text("full_name"),
    Column("password_hash", Text),
    _flag("is_server_admin"),
    _text("created_at"),
    Column("failed_logins", Integer, nullable=False),
    Column("locked_until", Text),
    UniqueConstraint("name_folded"),
    # the few administrators, oldest first, without a look at the others
    Index(None, "is_server_admin", "created_at", "id"),
)

site_users = Table(
    "site_users",
    metadata,
    _reference("site_id", "sites.id"),
    _reference("user_id", "users.id"),
    _text("site_role"),
    PrimaryKeyConstraint("site_id", "user_id"),
    Index(None, "user_id"),
)

groups = Table(
    "groups",
    metadata,
    Column("id", Text, primary_key=True),
    _reference("site_id", "sites.id"),
    _text("name"),
    _text("name_folded"),
    _text("created_at"),
    UniqueConstraint("site_id", "name_folded"),
)

group_users = Table(
    "group_users",
    metadata,
    _reference("group_id", "groups.id"),
    _reference("user_id", "users.id"),
    PrimaryKeyConstraint("group_id", "user_id"),
    Index(None, "user_id"),
)

projects = Table(
    "projects",
    metadata,
    Column("id", Text, primary_key=True),
    _reference("site_id", "sites.id"),
    _text("name"),
    _text("name_folded"),
    _reference("parent_id", "projects.id", nullable=True),
    # parent_id, or "" at the top: SQL's uniqueness does not count nulls as equal
    _text("parent_key"),
    _text("description"),
    _owner(),
    _text("content_permissions"),
    _text("created_at"),
    _text("updated_at"),
    UniqueConstraint("site_id", "parent_key", "name_folded"),
    # in the order of lists
    Index(None, "site_id", "name_folded", "id"),
    Index(None, "parent_id"),
    Index(None, "owner_id"),
)

contents = Table(
    "contents",
    metadata,
    Column("id", Text, primary_key=True),
    _reference("site_id", "sites.id"),
    _reference("project_id", "projects.id"),
    _owner(),
    _text("kind"),
    _text("name"),
    _text("name_folded"),
    _text("content_url"),
    _text("content_url_folded"),
    _text("file_name"),
    _text("file_type"),
    _text("storage_key"),
    _text("file_id"),
    _text("mek_id"),
    _number("plaintext_bytes"),
    _number("stored_bytes"),
    Column("state", Integer, nullable=False),
    _flag("has_extract"),
    Column("tags", JSON, nullable=False),
    Column("attributes", JSON, nullable=False),
    _text("created_at"),
    _text("updated_at"),
    UniqueConstraint("project_id", "kind", "name_folded"),
    UniqueConstraint("site_id", "kind", "content_url_folded"),
    Index(None, "site_id", "id"),
    # for the items that a job has marked, and for how many are encrypted
    Index(None, "site_id", "state", "id"),
    # in the order of lists, so a page is a range of the index
    Index(None, "site_id", "kind", "name_folded", "id"),
    Index(None, "owner_id"),
    Index(None, "mek_id"),
    Index(None, "storage_key"),
)

credentials = Table(
    "credentials",
    metadata,
    Column("id", Text, primary_key=True),
    _reference("content_id", "contents.id"),
    _text("name"),
    _text("sealed"),
    _text("asset_key_id"),
    Index(None, "content_id"),
    Index(None, "asset_key_id"),
)

tokens = Table(
    "tokens",
    metadata,
    Column("id", Text, primary_key=True),
    _reference("user_id", "users.id"),
    _text("name"),
    _text("name_folded"),
    _text("secret_hash"),
    _text("created_at"),
    Column("expires_at", Text),
    Column("last_used_at", Text),
    UniqueConstraint("user_id", "name_folded"),
    UniqueConstraint("secret_hash"),
)

sessions = Table(
    "sessions",
    metadata,
    Column("token_hash", Text, primary_key=True),
    _reference("user_id", "users.id"),
    _reference("site_id", "sites.id"),
    _reference("token_id", "tokens.id", nullable=True),
    _text("created_at"),
    _text("last_seen_at"),
    Index(None, "user_id", "last_seen_at"),
    Index(None, "site_id"),
    Index(None, "token_id"),
    Index(None, "last_seen_at"),
)

uploads = Table(
    "uploads",
    metadata,
    Column("id", Text, primary_key=True),
    _reference("site_id", "sites.id"),
    _reference("user_id", "users.id"),
    _text("created_at"),
    _text("last_at"),
    _number("bytes"),
    Index(None, "site_id"),
    Index(None, "user_id"),
    Index(None, "last_at"),
)

upload_parts = Table(
    "upload_parts",
    metadata,
    _reference("upload_id", "uploads.id"),
    Column("number", Integer, nullable=False),
    _text("storage_key"),
    _text("file_id"),
    _text("mek_id"),
    _number("plaintext_bytes"),
    _number("stored_bytes"),
    PrimaryKeyConstraint("upload_id", "number"),
    Index(None, "storage_key"),
)

# no reference to sites or contents: a job's row and receipt stay when its site or its extracts are deleted
jobs = Table(
    "jobs",
    metadata,
    Column("id", Text, primary_key=True),
    _text("kind"),
    _text("site_id"),
    Column("content_id", Text),
    _text("title"),
    _text("state"),
    _text("actor"),
    _text("created_at"),
    _number("done"),
    _number("total"),
    _number("bytes_done"),
    Column("bytes_total", BigInteger, nullable=False, server_default="0"),
    _text("note"),
    _flag("cancel_requested"),
    Column("receipt", JSON(none_as_null=True)),
    Column("options", JSON, nullable=False),
    Column("started_at", Text),
    Column("finished_at", Text),
    # the process that works on it: a node, and what this process calls itself; the number rises with each owner
    _added_text("owner_node"),
    _added_text("owner_boot"),
    Column("owner_epoch", BigInteger, nullable=False, server_default="0"),
    # newest first, of all sites
    Index(None, "created_at", "id"),
    Index(None, "state", "created_at"),
    Index(None, "site_id", "created_at"),
    Index(None, "site_id", "state", "content_id", "created_at"),
    Index(None, "finished_at"),
)

intents = Table(
    "intents",
    metadata,
    Column("storage_key", Text, primary_key=True),
    _text("file_id"),
    _text("mek_id"),
    _text("purpose"),
    _text("created_at"),
    # the process that writes or deletes the file
    _added_text("node_id"),
    _added_text("boot_id"),
    Index(None, "node_id", "created_at"),
)

# the one row says which revision of this schema the database has
schema_version = Table(
    "schema_version",
    metadata,
    Column("revision", Text, primary_key=True),
)

marks = Table(
    "marks",
    metadata,
    Column("name", Text, primary_key=True),
    _text("value"),
)

# a row for each committed transaction of the last hour, by which a commit whose answer was lost is found (PostgreSQL)
commits = Table(
    "commits",
    metadata,
    Column("id", Text, primary_key=True),
    _flag("done"),
    _number("at"),
    Index(None, "at"),
)

# the highest epoch of each lock of the coordination service under which somebody wrote here
fence = Table("fence", metadata, Column("name", Text, primary_key=True), _number("epoch"))

# MEKs under which nothing new may be written; a MEK without a row is usable
meks = Table(
    "meks", metadata, Column("id", Text, primary_key=True), _text("state"), _number("epoch")
)

# the one row says to which life of the installation this database belongs: a restored copy gets another
incarnation = Table("incarnation", metadata, Column("name", Text, primary_key=True), _text("value"))

kms_proofs = Table(
    "kms_proofs", metadata, Column("node_id", Text, primary_key=True), _text("proof")
)

# how far each node's event log was seen, so that a shortened one is noticed
event_heads = Table(
    "event_heads",
    metadata,
    Column("node_id", Text, primary_key=True),
    _number("seq"),
    _text("hash"),
)

# ---- service keys, values, and who uses them (docs/format/service-keys.md) -----------------------

service_mounts = Table(
    "service_mounts",
    metadata,
    Column("path", Text, primary_key=True),
    _text("id"),
    _text("kind"),
    _text("description"),
    Column("options", JSON, nullable=False),
    _text("created_at"),
    UniqueConstraint("id"),
)

service_keys = Table(
    "service_keys",
    metadata,
    Column("id", Text, primary_key=True),
    _text("mount_id"),
    _text("name"),
    _text("kind"),
    _text("state"),
    _flag("exportable"),
    _flag("deletion_allowed"),
    _flag("backup_allowed"),
    _number("latest"),
    _number("available"),
    _number("to_decrypt"),
    _number("to_encrypt"),
    Column("delete_at", Text),
    _text("created_at"),
    _text("updated_at"),
    UniqueConstraint("mount_id", "name"),
    Index(None, "delete_at"),
)

service_key_versions = Table(
    "service_key_versions",
    metadata,
    _reference("key_id", "service_keys.id"),
    _number("version"),
    _text("mek_id"),
    _text("sealed"),
    _text("public"),
    _text("created_at"),
    PrimaryKeyConstraint("key_id", "version"),
    Index(None, "mek_id"),
)

# a secret of a KV mount; its values are versions
service_secrets = Table(
    "service_secrets",
    metadata,
    _text("mount_id"),
    _text("path"),
    _number("latest"),
    _number("oldest"),
    Column("options", JSON, nullable=False),
    Column("metadata", JSON, nullable=False),
    _text("created_at"),
    _text("updated_at"),
    PrimaryKeyConstraint("mount_id", "path"),
)

service_values = Table(
    "service_values",
    metadata,
    _text("mount_id"),
    _text("path"),
    _number("version"),
    _text("mek_id"),
    _text("sealed"),
    _text("created_at"),
    Column("deleted_at", Text),
    _flag("destroyed"),
    PrimaryKeyConstraint("mount_id", "path", "version"),
    Index(None, "mek_id"),
)

service_policies = Table(
    "service_policies",
    metadata,
    Column("name", Text, primary_key=True),
    _text("text"),
    _text("updated_at"),
)

service_tokens = Table(
    "service_tokens",
    metadata,
    Column("id", Text, primary_key=True),
    _text("secret_hash"),
    _text("parent_id"),
    _text("name"),
    _text("origin"),
    Column("policies", JSON, nullable=False),
    Column("metadata", JSON, nullable=False),
    _text("created_at"),
    Column("expires_at", Text),
    _number("ttl_s"),
    _number("max_ttl_s"),
    _number("period_s"),
    _number("uses_left"),
    _flag("renewable"),
    UniqueConstraint("secret_hash"),
    Index(None, "parent_id"),
    Index(None, "expires_at"),
)

service_roles = Table(
    "service_roles",
    metadata,
    Column("name", Text, primary_key=True),
    _text("role_id"),
    Column("options", JSON, nullable=False),
    _text("created_at"),
    UniqueConstraint("role_id"),
)

service_secret_ids = Table(
    "service_secret_ids",
    metadata,
    Column("id", Text, primary_key=True),
    _text("secret_hash"),
    _reference("role", "service_roles.name"),
    Column("metadata", JSON, nullable=False),
    Column("cidrs", JSON, nullable=False),
    _text("created_at"),
    Column("expires_at", Text),
    _number("uses_left"),
    UniqueConstraint("secret_hash"),
    Index(None, "role"),
    Index(None, "expires_at"),
)
