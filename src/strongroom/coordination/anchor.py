"""The anchor: how far everything had come, in one document with a MAC (docs/format/anchor.md); pure.

It lies in two places, as the entry `anchor` of the coordination service and as a row of the repository. `comparison` says
what is behind it.
"""

import hashlib
import hmac
from collections.abc import Mapping
from typing import NamedTuple

from strongroom.canonical import ASCII, Fields, Kind, to_base64
from strongroom.coordination.entries import EntryKey
from strongroom.coordination.floors import Point
from strongroom.crypto import kdf, labels, signing
from strongroom.errors import FormatError, IntegrityError
from strongroom.ids import id_bytes, id_text

ENTRY = "anchor"
MARK = "anchor"
"""The name of its row among the marks of the repository."""
VERSION = 2
MAX_BYTES = 1 << 20
KIND = Kind("the anchor", ASCII, MAX_BYTES)
_MEMBERS = (
    "at",
    "document",
    "entries",
    "kms",
    "logs",
    "n",
    "records",
    "registry",
    "repository",
    "v",
)
_STORE_MEMBERS = ("digest", "epoch", "successor")
_HASH_BYTES = 32
_KEY_ID = slice(0, 16)
_MAC = slice(16, 48)
_HEAD_BYTES = 48


class StorePoint(NamedTuple):
    """A KMS store.

    Attributes:
        epoch: The epoch of the store.
        digest: SHA-256 of the store's bytes.
        successor: The public half of the key that signs the store after it.
    """

    epoch: int
    digest: bytes
    successor: bytes


class LogPoint(NamedTuple):
    """The event log of one node.

    Attributes:
        size: The number of lines, all of them signed.
        nodes: The frontier of the Merkle tree over them, the largest first; it gives the root.
    """

    size: int
    nodes: tuple[bytes, ...]


class Anchor(NamedTuple):
    """The state of everything at one put (1).

    Attributes:
        number: The number of this anchor, from 1.
        at: The time of the put; for people.
        document: The configuration document: its version, and the digest of its bytes.
        entries: Every other entry of the coordination service: its version, and the digest of its stored bytes.
        kms: The KMS store; None where the configuration holds none of format 2, as before the end of an upgrade.
        accepted: The newest KMS store that an administrator accepted without a signature; None if there is none.
        logs: The event logs by their nodes.
        records: The configuration-key records: their generation and digest.
        registry: The registry of nodes; None on a single node.
        repository: The number of the anchor that the repository had when this one was written; 0 for none.
    """

    number: int
    at: str
    document: Point
    entries: Mapping[str, Point]
    kms: StorePoint | None
    logs: Mapping[str, LogPoint]
    records: Point
    registry: Point | None = None
    repository: int = 0
    accepted: StorePoint | None = None

    def serialize(self) -> bytes:
        """The canonical bytes."""
        return KIND.dumps(
            {
                "at": self.at,
                "document": _fields(self.document, "version"),
                "entries": {name: _fields(one, "version") for name, one in self.entries.items()},
                "kms": self.kms
                and {
                    **_store_fields(self.kms),
                    "accepted": self.accepted and _store_fields(self.accepted),
                },
                "logs": {
                    node: {"nodes": [to_base64(one) for one in log.nodes], "size": log.size}
                    for node, log in self.logs.items()
                },
                "n": self.number,
                "records": _fields(self.records, "generation"),
                "registry": self.registry and _fields(self.registry, "version"),
                "repository": self.repository,
                "v": VERSION,
            }
        )

    def row(self, installation_id: str, by: EntryKey) -> bytes:
        """The row of the repository: key id, MAC and document (2.2)."""
        raw = self.serialize()
        return id_bytes(by.id) + _mac(by, installation_id, raw) + raw


def parse(raw: bytes) -> Anchor:
    """The anchor of its canonical bytes.

    Raises:
        FormatError: The bytes are no anchor, or of another version.
    """
    fields = KIND.loads(raw)
    fields.check_version("v", VERSION)
    fields.check_names(_MEMBERS)
    registry = fields.optional("registry", Fields.inner)
    kms, accepted = _stores(fields.optional("kms", Fields.inner))
    return Anchor(
        number=fields.number("n", least=1),
        at=fields.time("at"),
        document=_point(fields.inner("document"), "version"),
        entries={
            name: _point(one, "version") for name, one in fields.object_map("entries").items()
        },
        kms=kms,
        logs={node: _log(one) for node, one in fields.object_map("logs").items()},
        records=_point(fields.inner("records"), "generation"),
        registry=None if registry is None else _point(registry, "version"),
        repository=fields.number("repository"),
        accepted=accepted,
    )


def number_of(row: bytes) -> int:
    """The number that a row claims to have; 0 if it is no anchor. Nothing is proved."""
    try:
        return parse(row[_HEAD_BYTES:]).number
    except FormatError:
        return 0


def open_row(row: bytes, installation_id: str, keys: Mapping[str, EntryKey]) -> Anchor:
    """The anchor of a row of the repository, after its MAC was checked (2.2).

    Args:
        row: The stored bytes.
        installation_id: The installation.
        keys: The keys that are taken, by their ids: the active one, and, while a regeneration is unfinished, the other.

    Raises:
        FormatError: The row is no anchor.
        IntegrityError: The row is of another key or installation, or was changed; never "no anchor".
    """
    if len(row) < _HEAD_BYTES:
        raise KIND.damaged("it is cut short")
    by = keys.get(id_text(row[_KEY_ID]))
    if by is None:
        raise IntegrityError("the anchor in the repository is of a key that is not in force")
    raw = row[_HEAD_BYTES:]
    if not hmac.compare_digest(_mac(by, installation_id, raw), row[_MAC]):
        raise IntegrityError("the MAC of the anchor in the repository does not fit")
    return parse(raw)


def _mac(by: EntryKey, installation_id: str, raw: bytes) -> bytes:
    place = id_bytes(installation_id) + id_bytes(by.id)
    key = kdf.hkdf(by.key, salt=b"", info=labels.ANCHOR + place)
    return hmac.digest(key.reveal(), raw, hashlib.sha256)


def _fields(point: Point, number: str) -> dict[str, object]:
    return {number: point.number, "digest": point.digest.hex()}


def _point(fields: Fields, number: str) -> Point:
    fields.check_names((number, "digest"))
    digest = fields.hexadecimal("digest", _HASH_BYTES)
    return Point(fields.number(number, least=1), bytes.fromhex(digest))


def _stores(kms: Fields | None) -> tuple[StorePoint | None, StorePoint | None]:
    """The KMS store, and the one that was accepted."""
    if kms is None:
        return None, None
    kms.check_names((*_STORE_MEMBERS, "accepted"))
    accepted = kms.optional("accepted", Fields.inner)
    if accepted is not None:
        accepted.check_names(_STORE_MEMBERS)
    return _store(kms), None if accepted is None else _store(accepted)


def _store(fields: Fields) -> StorePoint:
    digest = fields.hexadecimal("digest", _HASH_BYTES)
    successor = fields.raw("successor")
    if len(successor) != signing.PUBLIC_BYTES:
        raise fields.refused("its successor key has another length")
    return StorePoint(fields.number("epoch", least=1), bytes.fromhex(digest), successor)


def _store_fields(store: StorePoint) -> dict[str, object]:
    return {
        "digest": store.digest.hex(),
        "epoch": store.epoch,
        "successor": to_base64(store.successor),
    }


def _log(fields: Fields) -> LogPoint:
    fields.check_names(("nodes", "size"))
    found = LogPoint(fields.number("size"), fields.raws("nodes"))
    is_sound = {len(node) for node in found.nodes} <= {_HASH_BYTES}
    if not is_sound or len(found.nodes) != found.size.bit_count():
        raise fields.refused("a tree has another size")
    return found
