"""The rows of the repository's tables, as a frozen dataclass for each table; pure.

Times are texts of the K-12 form. Field names are the column names; folded columns are left to the table gateways.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Generic, Protocol, TypeVar

Json = Mapping[str, object]
DELETE_INTENT = "delete"  # the purpose of an intent for a file that must be deleted
RowT = TypeVar("RowT")


class SiteMode(IntEnum):
    """Encryption mode of a site (E-01); the integers of Q-17."""

    DISABLED = 0
    ENABLED = 1
    ENFORCED = 2

    @property
    def word(self) -> str:
        """The lower-case word that the clients print."""
        return self.name.lower()


class ContentState(IntEnum):
    """Encryption state of an extract (E-12); 4 is reserved (Q-16)."""

    UNENCRYPTED = 0
    ENCRYPTED = 1
    PENDING_ENCRYPTION = 2
    PENDING_DECRYPTION = 3
    PENDING_REENCRYPTION = 5

    @property
    def words(self) -> str:
        """The words that scripts see."""
        return self.name.lower().replace("_", " ")


@dataclass(frozen=True)
class SiteRow:
    """A site; the default site has the content URL `""`."""

    id: str
    name: str
    content_url: str
    mode: int
    created_at: str
    state: str = "Active"
    admin_mode: str = "ContentAndUsers"
    user_quota: int | None = None
    storage_quota: int | None = None
    attributes: Json = field(default_factory=dict)


@dataclass(frozen=True)
class UserRow:
    """A user of the installation; `site_users` gives it roles on sites.

    Without a password hash the user can sign in with an access token only.
    """

    id: str
    name: str
    full_name: str
    password_hash: str | None = field(repr=False)
    is_server_admin: bool
    created_at: str
    failed_logins: int = 0
    locked_until: str | None = None


@dataclass(frozen=True)
class GroupRow:
    """A group of a site's users."""

    id: str
    site_id: str
    name: str
    created_at: str


@dataclass(frozen=True)
class ProjectRow:
    """A project; names are unique below one parent."""

    id: str
    site_id: str
    name: str
    parent_id: str | None
    description: str
    owner_id: str
    content_permissions: str
    created_at: str
    updated_at: str


@dataclass(frozen=True)
class ContentRow:
    """A published data source or workbook and the one file that is stored for it.

    Attributes:
        kind: `datasource` or `workbook`.
        file_type: `hyper`, `tdsx`, `parquet` …
        storage_key: The file's key in the file store; empty without a file.
        file_id: The envelope's file id; empty if the file is plain.
        mek_id: The MEK that the envelope's newest slot names; empty if the file is plain.
        state: `ContentState`.
    """

    id: str
    site_id: str
    project_id: str
    owner_id: str
    kind: str
    name: str
    content_url: str
    file_name: str
    file_type: str
    storage_key: str
    file_id: str
    mek_id: str
    plaintext_bytes: int
    stored_bytes: int
    state: int
    has_extract: bool
    created_at: str
    updated_at: str
    tags: Sequence[str] = ()
    attributes: Json = field(default_factory=dict)


@dataclass(frozen=True)
class CredentialRow:
    """A credential embedded in published content, sealed under an asset key (C-08)."""

    id: str
    content_id: str
    name: str
    sealed: str = field(repr=False)
    asset_key_id: str


@dataclass(frozen=True)
class TokenRow:
    """A personal access token; only the hash of its secret is stored."""

    id: str
    user_id: str
    name: str
    secret_hash: str = field(repr=False)
    created_at: str
    expires_at: str | None = None
    last_used_at: str | None = None


@dataclass(frozen=True)
class SessionRow:
    """A signed-in session, by its token's hash; `token_id` names the access token it came from."""

    token_hash: str = field(repr=False)
    user_id: str
    site_id: str
    token_id: str | None
    created_at: str
    last_seen_at: str


@dataclass(frozen=True)
class UploadRow:
    """A chunked upload; `bytes` counts plaintext of the parts that are whole."""

    id: str
    site_id: str
    user_id: str
    created_at: str
    last_at: str
    bytes: int = 0


@dataclass(frozen=True)
class UploadPartRow:
    """A part of an upload, which is an envelope of its own."""

    upload_id: str
    number: int
    storage_key: str
    file_id: str
    mek_id: str
    plaintext_bytes: int
    stored_bytes: int


@dataclass(frozen=True)
class Owner:
    """A process that works on jobs or writes files: its node, and what the process calls itself.

    A node has one such process of a kind and place at a time, so another one of the same node and place is dead.
    """

    node_id: str = ""
    boot_id: str = ""

    @classmethod
    def in_place(cls, node_id: str, boot_id: str, place: int) -> "Owner":
        """A process of a node that works on jobs in one of its places; that of the first has a plain id."""
        return cls(node_id, f"{boot_id}.{place}" if place else boot_id)

    @property
    def place(self) -> int:
        """The place of the process on its node."""
        number = self.boot_id.partition(".")[2]
        return int(number) if number.isascii() and number.isdecimal() else 0


NOBODY = Owner()
"""The owner of what no process works on."""


@dataclass(frozen=True)
class JobRow:
    """A job on extracts (E-11); `kind` and `state` are the words of `jobs.model`.

    Attributes:
        bytes_total: Plaintext bytes that the job will change, as counted at its beginning.
        owner_node: The node whose process works on it; empty while it is queued.
        owner_boot: The id of the process.
        owner_epoch: How often a process began to work on it, or it was given back.
    """

    id: str
    kind: str
    site_id: str
    content_id: str | None
    title: str
    state: str
    actor: str
    created_at: str
    done: int = 0
    total: int = 0
    bytes_done: int = 0
    bytes_total: int = 0
    note: str = ""
    cancel_requested: bool = False
    receipt: Json | None = None
    options: Json = field(default_factory=dict)
    started_at: str | None = None
    finished_at: str | None = None
    owner_node: str = ""
    owner_boot: str = ""
    owner_epoch: int = 0

    @property
    def owner(self) -> Owner:
        """The process that works on it."""
        return Owner(self.owner_node, self.owner_boot)


@dataclass(frozen=True)
class IntentRow:
    """An intent: a file that is being written and has no row yet, or must be deleted; counts as a use of its MEK.

    Attributes:
        node_id: The node of the process that writes or deletes the file; empty in rows of an older program.
        boot_id: The id of the process.
    """

    storage_key: str
    file_id: str
    mek_id: str
    purpose: str
    created_at: str
    node_id: str = ""
    boot_id: str = ""

    @property
    def owner(self) -> Owner:
        """The process that writes or deletes the file."""
        return Owner(self.node_id, self.boot_id)


class StoredFields(Protocol):
    """The fields of a row that describe its file; `extracts.stored.StoredFile` has them as well."""

    @property
    def storage_key(self) -> str:
        """Key in the file store."""
        ...

    @property
    def file_id(self) -> str:
        """Envelope's file id, or empty."""
        ...

    @property
    def mek_id(self) -> str:
        """MEK, or empty."""
        ...

    @property
    def plaintext_bytes(self) -> int:
        """Plaintext size."""
        ...

    @property
    def stored_bytes(self) -> int:
        """Size in the store."""
        ...


@dataclass(frozen=True)
class Filter:
    """A condition of a list: operators eq, cieq, in (several values), gt, gte, lt, lte, has."""

    field: str
    operator: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Query:
    """A query for a list: filters that must all hold, the sort order as (field, descending), and the window."""

    filters: tuple[Filter, ...] = ()
    sort: tuple[tuple[str, bool], ...] = ()
    offset: int = 0
    limit: int | None = None


@dataclass(frozen=True)
class Page(Generic[RowT]):
    """A window of a list, and how many rows there are in all."""

    rows: list[RowT]
    total: int
