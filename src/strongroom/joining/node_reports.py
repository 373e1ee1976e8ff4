"""The reports of nodes on themselves, as signed bytes and back (docs/format/node-reports.md 2); pure.

A report says at which place, and as which version of its note, it was posted: so a reader that was never there before
knows an older report that somebody posted again. No configuration key is needed to write or to read one, since a node
whose keys are not in order has to say so.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from strongroom.canonical import UTF_8, Fields, Kind
from strongroom.crypto import said, statements
from strongroom.crypto.signing import SigningKey
from strongroom.crypto.statements import Origin, Purpose, Statement
from strongroom.errors import IntegrityError
from strongroom.joining.bootstrap_file import check_node_id

FORMAT: Final = "strongroom-node-report-1"
MAX_WORDS: Final = 400
MAX_WRAPS: Final = 32
_DIGEST_BYTES: Final = 32
_KIND = Kind("the report of a node", UTF_8, most=15 << 10)


class StoreSeen(NamedTuple):
    """A KMS store, as a node knows it.

    Attributes:
        epoch: The store's epoch.
        digest: SHA-256 of its bytes, hexadecimal.
    """

    epoch: int
    digest: str


class KeysSeen(NamedTuple):
    """The configuration keys that a node has.

    Attributes:
        id: The active one.
        generation: The generation of their records.
    """

    id: str
    generation: int


class OwnProof(NamedTuple):
    """The last proof that a node made of the keys, by its own identity and without anything that it remembered.

    Attributes:
        at: The time, by the node's clock.
        nonces: The nonces of those who had asked when it began.
        store: The store that was proved; None if none could be read.
        cause: The first thing that was not in order, in words; empty if all was.
        identity: The identity under which the mode's root let the node in, as the root tells it.
        wraps: Ids of the wraps that opened.
    """

    at: str
    nonces: tuple[str, ...] = ()
    store: StoreSeen | None = None
    cause: str = ""
    identity: str = ""
    wraps: tuple[str, ...] = ()


class NodeReport(NamedTuple):
    """How a node is, as it says itself.

    Attributes:
        node_id: The node.
        boot_id: The process that serves it.
        born: The place of the note for which the report was made.
        version: The version of the note that it was made to be.
        at: The time, by the node's clock.
        software: The version of its software.
        host: The name of its machine.
        document: The version of the configuration that it read last; None if it could not.
        keys: The configuration keys; None if it has none that can be used.
        store: The KMS store that it read last; None if it could not.
        processes: The state of each process: `running`, `stopped`, or what is wrong with it.
        free_bytes: The room on the disk of its data directory; None if it is not known.
        cause: Why it cannot read what it needs, in words; empty if it can.
        proof: The last proof of the keys; None before the first.
    """

    node_id: str
    boot_id: str
    born: int
    version: int
    at: str
    software: str
    host: str
    document: int | None = None
    keys: KeysSeen | None = None
    store: StoreSeen | None = None
    processes: Mapping[str, str] = {}
    free_bytes: int | None = None
    cause: str = ""
    proof: OwnProof | None = None

    def serialize(self) -> bytes:
        """The canonical bytes, which the node signs."""
        members = self._asdict()
        del members["node_id"]
        proof = self.proof
        return _KIND.dumps(
            {
                **members,
                "format": FORMAT,
                "keys": None if self.keys is None else self.keys._asdict(),
                "store": _store_json(self.store),
                "processes": {name: shortened(word) for name, word in self.processes.items()},
                "host": shortened(self.host),
                "cause": shortened(self.cause),
                "proof": None if proof is None else _proof_json(proof),
            }
        )

    def signed(self, installation_id: str, by: SigningKey) -> bytes:
        """The note: the statement, with its signature behind it."""
        payload = said.of_report(self.node_id, self.serialize())
        return Statement(Purpose.REPORT, Origin(installation_id), payload).signed(by)


def opened(note: bytes, installation_id: str, node_id: str, public: bytes) -> NodeReport:
    """The report of a note, after its signature was checked.

    Args:
        note: The bytes of the note.
        installation_id: The installation.
        node_id: The node that should have written it.
        public: The key of that node, as the registry names it.

    Raises:
        FormatError: The note is damaged.
        IntegrityError: Another key signed it, or it is of another node, installation or purpose.
    """
    payload = statements.opened(note, public, Origin(installation_id), {Purpose.REPORT}).payload
    name, _, report = payload.partition(b"\0")
    if name != node_id.encode("ascii"):
        raise IntegrityError("a signed report is of another node")
    return _parse(check_node_id(node_id), report)


def shortened(words: str) -> str:
    """Words as they stand in a report: not too many, and of characters that have bytes in UTF-8."""
    return words[:MAX_WORDS].encode("utf-8", "replace").decode("utf-8")


def _parse(node_id: str, data: bytes) -> NodeReport:
    fields = _KIND.loads(data)
    fields.check_version("format", FORMAT)
    fields.check_names({"format", *NodeReport._fields} - {"node_id"})
    return NodeReport(
        node_id,
        fields.id("boot_id"),
        fields.number("born"),
        fields.number("version", 1),
        fields.time("at"),
        fields.text("software"),
        fields.text("host"),
        fields.optional("document", Fields.number),
        fields.optional("keys", _keys),
        fields.optional("store", _store),
        fields.text_map("processes"),
        fields.optional("free_bytes", Fields.number),
        fields.text("cause"),
        fields.optional("proof", _proof),
    )


def _keys(fields: Fields, name: str) -> KeysSeen:
    found = fields.inner(name)
    found.check_names(KeysSeen._fields)
    return KeysSeen(found.id("id"), found.number("generation"))


def _store(fields: Fields, name: str) -> StoreSeen:
    found = fields.inner(name)
    found.check_names(StoreSeen._fields)
    return StoreSeen(found.number("epoch", 1), found.hexadecimal("digest", _DIGEST_BYTES))


def _proof(fields: Fields, name: str) -> OwnProof:
    found = fields.inner(name)
    found.check_names(OwnProof._fields)
    return OwnProof(
        found.time("at"),
        found.texts("nonces"),
        found.optional("store", _store),
        found.text("cause"),
        found.text("identity"),
        found.ids("wraps"),
    )


def _store_json(store: StoreSeen | None) -> dict[str, object] | None:
    return None if store is None else store._asdict()


def _proof_json(proof: OwnProof) -> dict[str, object]:
    return {
        **proof._asdict(),
        "nonces": list(proof.nonces),
        "store": _store_json(proof.store),
        "cause": shortened(proof.cause),
        "identity": shortened(proof.identity),
        "wraps": list(proof.wraps[:MAX_WRAPS]),
    }
