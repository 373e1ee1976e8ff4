"""The maintenance of an installation or of one node, and the word of a node that it has drained: as bytes and back; pure.

The format is that of docs/format/maintenance.md. Every node has the key of the entries' MACs, and could else speak for
another: so a node of a cluster signs its word by its own key. A single node has none, and nobody to speak for.
"""

from enum import StrEnum
from typing import Final, NamedTuple

from strongroom.canonical import UTF_8, Kind, to_base64
from strongroom.crypto import said
from strongroom.crypto.signing import SigningKey
from strongroom.crypto.statements import Origin, Purpose, Statement
from strongroom.errors import FormatError, IntegrityError
from strongroom.joining.bootstrap_file import check_node_id

ENTRY: Final = "maintenance"
PREFIX: Final = "maintenance/"
"""Before the words of the nodes."""
DRAINS: Final = "draining/"
"""Before the entries of nodes that are drained alone, and of their words."""
FORMAT: Final = "strongroom-maintenance-1"
DRAINED_FORMAT: Final = "strongroom-drained-1"
MAX_REASON: Final = 400
MOST_WITHIN_S: Final = 86_400
_KIND: Final = Kind("the entry of the maintenance", UTF_8, most=16 << 10)
_WORD: Final = Kind("the word of a node that it has drained", UTF_8, most=4 << 10)


class Standing(StrEnum):
    """Whether a maintenance goes on."""

    #: No client is served, and no job is worked on.
    ENTERED = "entered"
    #: All is as usual; the entry counts the maintenances that there were.
    LEFT = "left"


class Maintenance(NamedTuple):
    """A maintenance of the installation.

    Attributes:
        epoch: The number of this maintenance, one more than that of the one before.
        state: Whether the maintenance goes on.
        what: The reason, in words.
        by: The person or process that entered it or, once it is over, left it.
        node: The node on which that was.
        since: The time since when it is in that state.
        within_s: The seconds that requests and extracts under way have to end, on each node.
        without: The nodes that are not waited for, since somebody knows of them that they do not serve.
    """

    epoch: int
    state: Standing
    what: str
    by: str
    node: str
    since: str
    within_s: int
    without: tuple[str, ...] = ()

    @property
    def is_on(self) -> bool:
        """Whether the maintenance goes on."""
        return self.state is Standing.ENTERED

    def is_same(self, other: "Maintenance") -> bool:
        """Whether both are one maintenance, to which nodes that are not waited for may have been added."""
        return self._replace(without=other.without) == other

    @property
    def words(self) -> str:
        """The maintenance in words, for people."""
        return f"since {self.since}, entered by {self.by} on {self.node}: {self.what}"

    def serialize(self) -> bytes:
        """The canonical bytes."""
        shown = {**self._asdict(), "state": self.state.value, "without": list(self.without)}
        return _KIND.dumps({"format": FORMAT, **shown})


def parse(data: bytes) -> Maintenance:
    """The maintenance in the payload of the entry.

    Raises:
        FormatError: The entry is damaged, or of a version that is not known here.
    """
    fields = _KIND.loads(data)
    fields.check_version("format", FORMAT)
    fields.check_names(("format", *Maintenance._fields))
    found = Maintenance(
        fields.number("epoch", least=1),
        fields.one_of("state", Standing),
        fields.text("what"),
        fields.text("by"),
        fields.text("node"),
        fields.time("since"),
        fields.number("within_s"),
        fields.texts("without"),
    )
    if len(found.what) > MAX_REASON or found.within_s > MOST_WITHIN_S:
        raise FormatError("the entry of the maintenance has a value that is too large")
    for name in (found.node, *found.without):
        check_node_id(name)
    return found


class Drained(NamedTuple):
    """The word of a node that it serves no client and works on no job.

    Attributes:
        epoch: The maintenance.
        boot: The process that serves the node.
        cut: How many requests were cut off, because they did not end in time.
        at: The time, by the node's own clock.
    """

    epoch: int
    boot: str
    cut: int
    at: str

    def signed(self, installation_id: str, node_id: str, key: SigningKey | None) -> bytes:
        """The payload of the entry.

        Args:
            installation_id: The installation.
            node_id: The node whose word it is.
            key: The key by which that node signs; None for a single node, which has none.
        """
        told = _statement(installation_id, node_id, _WORD.dumps(self._asdict()))
        return _WORD.dumps(
            {
                "format": DRAINED_FORMAT,
                "said": to_base64(told.payload),
                "signature": "" if key is None else to_base64(told.signature(key)),
            }
        )


class Place(NamedTuple):
    """The place of a maintenance: of all nodes, or of one that is drained alone.

    Attributes:
        node_id: The node; empty for all.
    """

    node_id: str = ""

    @property
    def entry(self) -> str:
        """The name of the entry."""
        return DRAINS + self.node_id if self.node_id else ENTRY

    @property
    def words(self) -> str:
        """The beginning of the names of the nodes' words."""
        return f"{self.entry}/"

    def word(self, node_id: str) -> str:
        """The name of the entry in which a node says that it has drained."""
        return self.words + node_id


def parse_drained(data: bytes, installation_id: str, node_id: str, public: bytes | None) -> Drained:
    """The word of a node, after its signature was checked.

    Args:
        data: The payload of the entry.
        installation_id: The installation.
        node_id: The node that must have said it.
        public: The key to sign of that node, by the registry; None for a single node.

    Raises:
        FormatError: The entry is damaged.
        IntegrityError: The node has not said it.
    """
    fields = _WORD.loads(data)
    fields.check_version("format", DRAINED_FORMAT)
    fields.check_names(("format", "said", "signature"))
    payload, signature = fields.raw("said"), fields.raw("signature")
    told = Statement(Purpose.DRAINED, Origin(installation_id), payload)
    if public is not None:
        told.check(signature, public)
    elif signature:
        raise IntegrityError("the word is signed, and a single node has no key to sign")
    start = _statement(installation_id, node_id, b"").payload
    if not payload.startswith(start):
        raise FormatError("a node has said in the name of another that it has drained")
    inner = _WORD.loads(payload.removeprefix(start))
    inner.check_names(Drained._fields)
    return Drained(
        inner.number("epoch", least=1), inner.id("boot"), inner.number("cut"), inner.time("at")
    )


def _statement(installation_id: str, node_id: str, payload: bytes) -> Statement:
    told = said.of_drained(node_id, payload)
    return Statement(Purpose.DRAINED, Origin(installation_id), told)
