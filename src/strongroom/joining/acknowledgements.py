"""The word of a node that it has tried what is to come into force (docs/format/key-changes.md 2); pure.

The node signs by its own key. Every node has the key of the entries' MACs, and could else speak for another.
"""

from typing import NamedTuple

from strongroom.canonical import UTF_8, Kind, to_base64
from strongroom.coordination.floors import Point
from strongroom.crypto import said
from strongroom.crypto.statements import Origin, Purpose, Statement
from strongroom.errors import FormatError
from strongroom.joining.node_keys import NodeKeys

PREFIX = "kms/acks/"
"""Before the words on a staged KMS store."""
KEYS_PREFIX = "keystore/acks/"
"""Before the words on a bundle of keys."""
FORMAT = "strongroom-acknowledgement-1"
MAX_CAUSE = 1000
_KIND = Kind("the word of a node on a change of keys", UTF_8, most=16 << 10)


class Acknowledgement(NamedTuple):
    """The findings of a node that tried a change.

    Attributes:
        change_id: The change.
        staged: SHA-256 of the bytes that it tried, in hexadecimal digits.
        present: Epoch and digest of the KMS store that is in force.
        boot: The process that tried it.
        wrap: The wrap by which the store opened; empty if none did.
        cause: Why the node could not follow, in words; empty if it can.
        at: The time.
    """

    change_id: str
    staged: str
    present: Point
    boot: str
    wrap: str
    cause: str
    at: str

    def serialize(self) -> bytes:
        """The canonical bytes, which the node signs."""
        present = {"digest": self.present.digest.hex(), "epoch": self.present.number}
        return _KIND.dumps({**self._asdict(), "present": present})

    def signed(self, keys: NodeKeys) -> bytes:
        """The payload of the entry, signed by the node."""
        told = _statement(keys.installation_id, keys.node_id, self.serialize())
        return _KIND.dumps(
            {
                "format": FORMAT,
                "said": to_base64(told.payload),
                "signature": to_base64(told.signature(keys.signing)),
            }
        )


def entry(change_id: str, node_id: str, prefix: str = PREFIX) -> str:
    """The name of the entry in which a node acknowledges a change."""
    return f"{prefix}{change_id}/{node_id}"


def parse(data: bytes, installation_id: str, node_id: str, public: bytes) -> Acknowledgement:
    """The word of a node, after its signature was checked (key-changes.md 2.3).

    Args:
        data: The payload of the entry.
        installation_id: The installation.
        node_id: The node that must have said it.
        public: The key to sign of that node, by the registry.

    Raises:
        FormatError: The entry is damaged.
        IntegrityError: The node has not said it.
    """
    fields = _KIND.loads(data)
    fields.check_version("format", FORMAT)
    fields.check_names(("format", "said", "signature"))
    start = _statement(installation_id, node_id, b"").payload
    payload = fields.raw("said")
    Statement(Purpose.ACKNOWLEDGEMENT, Origin(installation_id), payload).check(
        fields.raw("signature"), public
    )
    if not payload.startswith(start):
        raise FormatError("a node has acknowledged a change in the name of another")
    inner = _KIND.loads(payload.removeprefix(start))
    inner.check_names(Acknowledgement._fields)
    present = inner.inner("present")
    present.check_names(("digest", "epoch"))
    digest = bytes.fromhex(present.hexadecimal("digest", 32))
    return Acknowledgement(
        inner.id("change_id"),
        inner.hexadecimal("staged", 32),
        Point(present.number("epoch", least=1), digest),
        inner.id("boot"),
        inner.text("wrap"),
        inner.text("cause"),
        inner.time("at"),
    )


def _statement(installation_id: str, node_id: str, payload: bytes) -> Statement:
    told = said.of_acknowledgement(node_id, payload)
    return Statement(Purpose.ACKNOWLEDGEMENT, Origin(installation_id), told)
