"""The paths and records of the tree in ZooKeeper (docs/format/coordination.md 4); pure.

No path holds a secret: who may list a node of ZooKeeper may not be allowed to read it, and some of its servers have let
strangers learn paths. A path holds the keys of entries, names of locks and nodes, digests of sealed values, random ids.
"""

import hashlib
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple
from urllib.parse import quote, unquote

from strongroom.coordination.base import Group
from strongroom.errors import CoordinationError, UsageError

INLINE_BYTES: Final = 16 * 1024
"""The longest value that stands in its entry; a longer one is a blob."""
CHUNK_BYTES: Final = 508 * 1024
"""The length of a blob's chunks: with path, ACL and header a record of ZooKeeper's log stays within 512 KiB."""
MAX_VALUE_BYTES: Final = 8 * 1024 * 1024 + 4096
"""The longest value: a document of 8 MiB, and what authenticates it."""
MAX_MULTI_BYTES: Final = 256 * 1024
"""The longest transaction. ZooKeeper refuses one of 1 MiB by cutting the connection, which looks like a lost answer."""
MAX_KEY_BYTES: Final = 512
_INLINE, _BLOB = b"\0", b"\1"
_DIGEST_BYTES = 32
_REF = struct.Struct(">32sQ")
_DAMAGED_HINT = "restore the entries from a backup"


class BlobRef(NamedTuple):
    """A value that lies in chunks.

    Attributes:
        digest: SHA-256 of the value, and the name of the blob.
        length: The value's length in bytes.
    """

    digest: bytes
    length: int

    @property
    def chunks(self) -> int:
        """The number of the chunks."""
        return -(-self.length // CHUNK_BYTES)


class Tree:
    """The paths below an installation's root."""

    def __init__(self, root: str) -> None:
        self.root = root
        #: Parent of the entries. Every put writes it, so its version tells whether anything has changed.
        self.entries = f"{root}/kv"
        self.blobs = f"{root}/blob"
        self.markers = f"{root}/txn"
        self.locks = f"{root}/locks"
        #: Parent of the notes, which are no entries.
        self.notes = f"{root}/status"
        #: The node that is there while a node's entries are brought here, and names that attempt.
        self.arriving = f"{root}/arriving"

    @property
    def folders(self) -> tuple[str, ...]:
        """The nodes that are there from the beginning, each behind its parent."""
        return (
            *self.above,
            self.entries,
            self.blobs,
            self.markers,
            self.locks,
            *self.groups,
            self.notes,
        )

    @property
    def groups(self) -> tuple[str, ...]:
        """The parents of the members of each group."""
        return tuple(self.group(one) for one in Group)

    @property
    def above(self) -> tuple[str, ...]:
        """The root, behind the nodes above it."""
        parts = self.root.split("/")[1:]
        return tuple("/" + "/".join(parts[: n + 1]) for n in range(len(parts)))

    def entry(self, key: str) -> str:
        """The node of an entry.

        Raises:
            UsageError: The key is empty or too long.
        """
        if not 0 < len(key.encode()) <= MAX_KEY_BYTES:
            raise UsageError(f"{key[:80]!r} is no key of an entry")
        # a key is one level: ZooKeeper's own names must not hold controls, private characters or any beyond the first plane
        return f"{self.entries}/{quote(key, safe='').replace('.', '%2E')}"

    @staticmethod
    def key(name: str) -> str:
        """The key of an entry, by the name of its node."""
        return unquote(name)

    def blob(self, digest: bytes) -> str:
        """The node of a blob."""
        return f"{self.blobs}/{digest.hex()}"

    def chunk(self, digest: bytes, number: int) -> str:
        """The node of a blob's chunk."""
        return f"{self.blob(digest)}/{number}"

    def marker(self, put_id: str) -> str:
        """The node by which the outcome of a put is known."""
        return f"{self.markers}/{put_id}"

    def lock(self, name: str) -> str:
        """The node of a lock."""
        return f"{self.locks}/{name}"

    def epoch(self, name: str) -> str:
        """The node whose version counts the holders of a lock."""
        return f"{self.lock(name)}/epoch"

    def held(self, name: str) -> str:
        """The node that is there while somebody holds a lock."""
        return f"{self.lock(name)}/held"

    def group(self, group: Group) -> str:
        """The parent of the members of a group."""
        return f"{self.root}/{group}"

    def member(self, group: Group, node_id: str) -> str:
        """The node that is there while a node is a member of a group."""
        return f"{self.group(group)}/{node_id}"

    def note(self, name: str) -> str:
        """The node of a note, by which a node tells of itself."""
        return f"{self.notes}/{name}"


def ref_to(value: bytes) -> BlobRef:
    """The reference to a value that is to be a blob."""
    return BlobRef(hashlib.sha256(value).digest(), len(value))


def chunks_of(value: bytes) -> Iterator[bytes]:
    """The chunks of a value, in their order."""
    for start in range(0, len(value), CHUNK_BYTES):
        yield value[start : start + CHUNK_BYTES]


def record(key: str, version: int, content: bytes | BlobRef) -> bytes:
    """The bytes of an entry's node: digest, kind, and the value or the reference to it (4.3)."""
    payload = _BLOB + _REF.pack(*content) if isinstance(content, BlobRef) else _INLINE + content
    return _digest(key, version, payload) + payload


def content_of(key: str, version: int, raw: bytes) -> bytes | BlobRef:
    """The value of an entry's node, or the reference to it.

    Raises:
        CoordinationError: The node is damaged, or of another version or key (4.3).
    """
    digest, payload = raw[:_DIGEST_BYTES], raw[_DIGEST_BYTES:]
    if digest != _digest(key, version, payload):
        raise damaged(key)
    if payload.startswith(_INLINE):
        return payload[1:]
    if not payload.startswith(_BLOB) or len(payload) != 1 + _REF.size:
        raise damaged(key)
    ref = BlobRef(*_REF.unpack(payload[1:]))
    if ref.length > MAX_VALUE_BYTES:
        raise damaged(key)
    return ref


def joined(key: str, ref: BlobRef, chunks: list[bytes]) -> bytes:
    """The value of a blob's chunks, after its length and digest were compared (4.4).

    Raises:
        CoordinationError: The chunks are not those of the reference.
    """
    value = b"".join(chunks)
    if ref_to(value) != ref:
        raise damaged(key)
    return value


def damaged(key: str) -> CoordinationError:
    """The error of an entry that cannot be what was put."""
    return CoordinationError(f"the entry {key!r} in ZooKeeper is damaged", hint=_DAMAGED_HINT)


def _digest(key: str, version: int, payload: bytes) -> bytes:
    return hashlib.sha256(b"%s\0%d\0%s" % (key.encode(), version, payload)).digest()
