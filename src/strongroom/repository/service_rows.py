"""The rows of service keys, values and the programs that use them, as `repository.rows` has those of all else; pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Json = Mapping[str, object]


@dataclass(frozen=True)
class ServiceMountRow:
    """A path under which keys or values lie.

    Attributes:
        path: Without slashes at the ends.
        id: The id that keys, values and their seals name; another mount at the same path has another one.
        kind: `transit`, `kv-v1` or `kv-v2`.
    """

    path: str
    id: str
    kind: str
    description: str
    created_at: str
    options: Json = field(default_factory=dict)


@dataclass(frozen=True)
class ServiceKeyRow:
    """A service key; its material is in the rows of its versions."""

    id: str
    mount_id: str
    name: str
    kind: str
    created_at: str
    updated_at: str
    state: str = "enabled"
    exportable: bool = False
    deletion_allowed: bool = False
    backup_allowed: bool = False
    latest: int = 1
    available: int = 1
    to_decrypt: int = 1
    to_encrypt: int = 0
    delete_at: str | None = None


@dataclass(frozen=True)
class ServiceKeyVersionRow:
    """The material of a version, sealed under a MEK; the public part of a key that signs is plain."""

    key_id: str
    version: int
    mek_id: str
    sealed: str = field(repr=False)
    public: str
    created_at: str


@dataclass(frozen=True)
class ServiceSecretRow:
    """A secret of a KV mount: its present version, the oldest that is kept, and what its owner says of it."""

    mount_id: str
    path: str
    latest: int
    oldest: int
    created_at: str
    updated_at: str
    options: Json = field(default_factory=dict)
    metadata: Json = field(default_factory=dict)


@dataclass(frozen=True)
class ServiceValueRow:
    """A version of a secret; `sealed` is empty once the version was destroyed."""

    mount_id: str
    path: str
    version: int
    mek_id: str
    sealed: str = field(repr=False)
    created_at: str
    deleted_at: str | None = None
    destroyed: bool = False


@dataclass(frozen=True)
class ServicePolicyRow:
    """A policy, in the words of its author."""

    name: str
    text: str
    updated_at: str


@dataclass(frozen=True)
class ServiceTokenRow:
    """A token of a service; only the hash of its secret is stored.

    Attributes:
        id: The accessor, which tells of the token to others.
        parent_id: The token that made it, with which it ends; empty without one.
        origin: The path by which it was made.
        uses_left: 0 for any number.
    """

    id: str
    secret_hash: str = field(repr=False)
    parent_id: str
    name: str
    origin: str
    created_at: str
    expires_at: str | None
    policies: Sequence[str] = ()
    metadata: Json = field(default_factory=dict)
    ttl_s: int = 0
    max_ttl_s: int = 0
    period_s: int = 0
    uses_left: int = 0
    renewable: bool = True


@dataclass(frozen=True)
class ServiceRoleRow:
    """A role by which a program signs in with a role id and a secret id."""

    name: str
    role_id: str
    created_at: str
    options: Json = field(default_factory=dict)


@dataclass(frozen=True)
class ServiceSecretIdRow:
    """A secret id of a role; only its hash is stored."""

    id: str
    secret_hash: str = field(repr=False)
    role: str
    created_at: str
    expires_at: str | None
    uses_left: int = 0
    metadata: Json = field(default_factory=dict)
    cidrs: Sequence[str] = ()
