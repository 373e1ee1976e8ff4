"""The anchor of a node, as far as it lies outside the coordination service (docs/format/anchor.md 2); for each put.

This is a module of its own with few imports, since every command that changes a setting starts here.
"""

import base64
import binascii
import hashlib
from collections.abc import Callable, Mapping
from typing import Protocol

from strongroom.clock import Clock, format_utc
from strongroom.config import versions
from strongroom.config.document import ConfigDocument
from strongroom.coordination import anchor
from strongroom.coordination.anchor import LogPoint, StorePoint
from strongroom.coordination.anchoring import Before, Described, Row
from strongroom.coordination.entries import EntryKeys
from strongroom.coordination.floors import Point
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import StrongroomError
from strongroom.eventlog.checkpoints import CheckpointFile
from strongroom.eventlog.merkle import EMPTY, Frontier
from strongroom.repository.marks_alone import Marks
from strongroom.secrets import committed
from strongroom.services.keys.stored import STORE


class SignedLog(Protocol):
    """An event log with a checkpoint."""

    checkpoints: CheckpointFile

    def signed_since(self, before: Frontier) -> Frontier:
        """The tree over all signed lines, proved to go on from an earlier state."""
        ...


class NodeAnchor:
    """The parts of which the anchor speaks beside the entries, and the row; implements `coordination.anchoring.AnchorPorts`."""

    document = versions.CURRENT

    def __init__(
        self,
        marks: Marks,
        node_id: str,
        clock: Clock,
        find_log: Callable[[], SignedLog],
        open_key: Callable[[str], SecretBytes],
    ) -> None:
        """Take the ports.

        Args:
            marks: The marks of the repository.
            node_id: The node.
            clock: Gives the time of the anchor.
            find_log: Returns the event log of the node.
            open_key: Opens a configuration key that only decrypts.
        """
        self._marks = marks
        self._node_id = node_id
        self._clock = clock
        self._find_log = find_log
        self._open_key = open_key

    def row(self) -> Row:
        """The row of the repository as it lies now; without a repository there is none."""
        from strongroom.services.keys import follows

        found = self._marks.find((anchor.MARK, follows.ACCEPTED))
        if found is None:
            return Row(None, is_readable=False)
        accepted = found.get(follows.ACCEPTED)
        store = None
        if accepted is not None:
            known = follows.parse(accepted)
            store = StorePoint(known.epoch, bytes.fromhex(known.digest), known.key)
        text = found.get(anchor.MARK)
        return Row(None if text is None else _decoded(text), store)

    def keep_row(self, row: bytes, *, instead_of: bytes | None) -> None:
        """Keep a row, if it is newer than the one that lies there, or if that is the one that it is to stand instead of.

        A repository that refuses is no error: the put was made. Without its row the next put finds an older one, as after
        a kill in between. A writer that comes late finds the row of a later put, and leaves it.
        """
        number = anchor.number_of(row)

        def is_wanted(present: str | None) -> bool:
            if present is None:
                return True
            lies = _decoded(present)
            return lies == instead_of or anchor.number_of(lies) < number

        text = base64.b64encode(row).decode("ascii")
        self._marks.replace(anchor.MARK, text, is_wanted)

    def describe(self, payload: bytes, keys: EntryKeys, before: Before | None) -> Described:
        """The configuration document and the KMS store of an entry's payload."""
        document = ConfigDocument.parse(payload)
        point = Point(document.version, hashlib.sha256(payload).digest())
        text = document.values.get(STORE)
        if text is None:
            return Described(point, None)
        # a text is made with a salt of its own, so the same text holds the same store
        if before is not None and f'"{STORE}":"{text}"'.encode() in before.payload:
            return Described(point, before.kms)
        return Described(point, self._store(document, keys, text))

    def logs(self, before: Mapping[str, LogPoint], *, anew: bool) -> Mapping[str, LogPoint]:
        """How far the event log has come; if it does not go on from `before`, that stays, unless `anew`.

        So a log that was put back is still told of, whatever is put meanwhile.
        """
        others = {node: point for node, point in before.items() if node != self._node_id}
        known = None if anew else before.get(self._node_id)
        log = self._find_log()
        try:
            tree = log.signed_since(EMPTY if known is None else Frontier(*known))
            # a power failure may take back the newest checkpoint, but none of which the anchor knows
            log.checkpoints.sync()
        except StrongroomError:
            return others if known is None else before
        return {**others, self._node_id: LogPoint(*tree)}

    def now(self) -> str:
        """The present time, as documents have it."""
        return format_utc(self._clock.now())

    def _store(self, document: ConfigDocument, keys: EntryKeys, text: str) -> StorePoint | None:
        """The KMS store of an encrypted value; None if the value is none of format 2, as during an upgrade."""
        from strongroom.kms import store as kms_store

        def open_key(key_id: str) -> SecretBytes:
            found = keys.named(key_id)
            return self._open_key(key_id) if found is None else found.key

        try:
            raw = committed.open_text(document.installation_id, open_key, STORE, text)
            store = kms_store.parse(raw)
        except StrongroomError:
            return None
        return StorePoint(store.epoch, hashlib.sha256(raw).digest(), store.successor)


def _decoded(text: str) -> bytes:
    """The bytes of a mark; none where it is no base64, which is no anchor either."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
