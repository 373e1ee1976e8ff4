"""The anchor of event logs: how far each had come, with a MAC, outside the folder of the logs (format/anchor.md §5). Pure.

Whoever may write the logs' folder puts back a log together with its checkpoint, and both are genuine. So the size of the
log and the frontier of the tree over its lines are also kept where such a writer cannot write, and the log must go on
from there. The frontier gives the root, and from it the lines that came since are enough to see that the log goes on.
"""

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import NamedTuple

from strongroom.canonical import ASCII, Fields, Kind, to_base64
from strongroom.crypto import kdf, labels
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import IntegrityError
from strongroom.eventlog.merkle import Frontier
from strongroom.ids import id_bytes, id_text

VERSION = 1
KIND = Kind("the anchor of the event logs", ASCII, 1 << 20)
_KEY_ID = slice(0, 16)
_MAC = slice(16, 48)
_HEAD_BYTES = 48


class Anchored(NamedTuple):
    """How far the event logs had come.

    Attributes:
        at: The time of writing; for people.
        logs: The trees over the signed lines, by nodes.
    """

    at: str
    logs: Mapping[str, Frontier]

    def serialize(self) -> bytes:
        """The canonical bytes."""
        return KIND.dumps(
            {
                "at": self.at,
                "logs": {
                    node: {"nodes": [to_base64(one) for one in tree.nodes], "size": tree.size}
                    for node, tree in self.logs.items()
                },
                "v": VERSION,
            }
        )

    def row(self, installation_id: str, key_id: str, key: SecretBytes) -> bytes:
        """The stored bytes: key id, MAC, document."""
        raw = self.serialize()
        return id_bytes(key_id) + _mac(installation_id, key_id, key, raw) + raw


def key_of(row: bytes) -> str:
    """The id of the configuration key by which a row is read; the row is not proved by that.

    Raises:
        FormatError: The row is cut short.
    """
    if len(row) < _HEAD_BYTES:
        raise KIND.damaged("it is cut short")
    return id_text(row[_KEY_ID])


def open_row(row: bytes, installation_id: str, key: SecretBytes) -> Anchored:
    """The anchor of a row, after its MAC was checked.

    Args:
        row: The stored bytes.
        installation_id: The installation.
        key: The configuration key that `key_of` names.

    Raises:
        FormatError: The row is no anchor.
        IntegrityError: The row is of another installation, or was changed.
    """
    raw = row[_HEAD_BYTES:]
    if not hmac.compare_digest(_mac(installation_id, key_of(row), key, raw), row[_MAC]):
        raise IntegrityError("the MAC of the event log's anchor does not fit")
    return parse(raw)


def parse(raw: bytes) -> Anchored:
    """The anchor of its canonical bytes.

    Raises:
        FormatError: The bytes are no anchor, or of another version.
    """
    fields = KIND.loads(raw)
    fields.check_version("v", VERSION)
    fields.check_names(("at", "logs", "v"))
    logs = {node: _tree(one) for node, one in fields.object_map("logs").items()}
    return Anchored(fields.time("at"), logs)


def goes_on(before: Frontier, backwards: Iterable[bytes], after: tuple[int, bytes]) -> bool:
    """Whether lines were only added to a log.

    Args:
        before: The tree over the first lines, as it was.
        backwards: The lines of the log up to the size after, the last one first.
        after: Size and root of the log now.
    """
    size, root = after
    count = size - before.size
    if count < 0:
        return False
    tree, new = before, list(islice(backwards, count))
    for line in reversed(new):
        tree = tree.grown(line)
    return (tree.size, tree.root) == (size, root)


def _tree(fields: Fields) -> Frontier:
    fields.check_names(("nodes", "size"))
    tree = Frontier(fields.number("size"), fields.raws("nodes"))
    if not tree.is_sound:
        raise fields.refused("a tree has another size")
    return tree


def _mac(installation_id: str, key_id: str, key: SecretBytes, raw: bytes) -> bytes:
    place = id_bytes(installation_id) + id_bytes(key_id)
    subkey = kdf.hkdf(key, salt=b"", info=labels.LOG_ANCHOR + place)
    return hmac.digest(subkey.reveal(), raw, hashlib.sha256)
