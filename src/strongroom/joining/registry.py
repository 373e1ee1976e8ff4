"""The registry of a cluster's nodes: one entry for each, as bytes and back (docs/format/nodes.md 2); pure.

The installation writes an entry when it admits a node. That the node is active, the node alone can say: by a report on
its own services and keys, which it signs with its own key.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple

from strongroom.canonical import UTF_8, Fields, Kind, to_base64
from strongroom.crypto import said
from strongroom.crypto.signing import PUBLIC_BYTES
from strongroom.crypto.statements import Origin, Purpose, Statement
from strongroom.errors import FormatError, IntegrityError
from strongroom.joining.bootstrap_file import check_node_id
from strongroom.joining.node_keys import NodeKeys, NodePublic

PREFIX = "topology/nodes/"
FORMAT = "strongroom-registered-node-1"
MAX_CAUSE = 1000
_KIND = Kind("the entry of a node", UTF_8, most=16 << 10)
_MEMBERS = frozenset(
    {"format", "node_id", "signing_key", "sealing_key", "state", "since", "report", "signature"}
)
_LOG_KEY = "log_key"


class NodeState(StrEnum):
    """The states of a node."""

    #: Admitted; the preflight of the node itself has not passed as yet.
    JOINING = "joining"
    #: The preflight of the node itself has passed.
    ACTIVE = "active"
    #: The KMS store was changed without it: it must prove that it opens the store before it serves again.
    STALE = "stale"
    #: Keys were changed without it: it opens nothing any more.
    LEFT_OUT = "left out"
    #: An administrator took it out: the passwords of the services were changed without it.
    REMOVED = "removed"

    @property
    def is_gone(self) -> bool:
        """Whether the node is no longer one of the installation; its id is given to no other."""
        return self in {NodeState.LEFT_OUT, NodeState.REMOVED}


class Report(NamedTuple):
    """The findings of a node that tried its services and keys.

    Attributes:
        at: The time, as documents have it.
        cause: The first thing that was not in order, in words; empty if all was.
        log_key: The public key by which the node alone signs its event log; empty while it has none, or of a release
            before there were such keys.
    """

    at: str
    cause: str
    log_key: bytes = b""

    @property
    def members(self) -> dict[str, str]:
        """The members of the entry; without a key of the log, those of a release that knew none."""
        found = {"at": self.at, "cause": self.cause}
        return {**found, _LOG_KEY: to_base64(self.log_key)} if self.log_key else found

    def serialize(self) -> bytes:
        """The canonical bytes, which the node signs."""
        return _KIND.dumps(self.members)


@dataclass(frozen=True)
class RegisteredNode:
    """A node in the registry.

    Attributes:
        node_id: Id of the node.
        keys: Public keys of the node.
        state: The state.
        since: The time since when the node is in that state, as documents have it.
        report: The newest report of the node on itself; None before the first one.
        signature: The signature of that report by its own key.
    """

    node_id: str
    keys: NodePublic
    state: NodeState
    since: str
    report: Report | None = None
    signature: bytes = b""

    @property
    def cause(self) -> str:
        """The reason why the node is not active, as far as it said so itself."""
        return self.report.cause if self.report is not None else ""

    @property
    def log_key(self) -> bytes:
        """The public key by which the node alone signs its event log, as it said itself; empty if it has not."""
        return self.report.log_key if self.report is not None else b""

    def reported(self, installation_id: str, keys: NodeKeys, report: Report) -> "RegisteredNode":
        """The entry after a report of the node itself, which is active if nothing was found.

        Args:
            installation_id: The installation.
            keys: The keys of the node.
            report: The findings.
        """
        cut = report._replace(cause=report.cause[:MAX_CAUSE], log_key=keys.log_public)
        amiss = NodeState.STALE if self.state is NodeState.STALE else NodeState.JOINING
        state = amiss if cut.cause else NodeState.ACTIVE
        return replace(
            self,
            state=state,
            since=self.since if state is self.state else cut.at,
            report=cut,
            signature=_said(installation_id, self.node_id, cut).signature(keys.signing),
        )

    def stale(self, at: str) -> "RegisteredNode":
        """The entry of a node without which the KMS store is changed."""
        return replace(self, state=NodeState.STALE, since=at)

    def left_out(self, at: str) -> "RegisteredNode":
        """The entry of a node without which keys are changed."""
        return replace(self, state=NodeState.LEFT_OUT, since=at)

    def removed(self, at: str) -> "RegisteredNode":
        """The entry of a node that an administrator takes out."""
        return replace(self, state=NodeState.REMOVED, since=at)

    def serialize(self) -> bytes:
        """The canonical bytes."""
        report = self.report
        return _KIND.dumps(
            {
                "format": FORMAT,
                "node_id": self.node_id,
                "signing_key": to_base64(self.keys.signing),
                "sealing_key": to_base64(self.keys.sealing),
                "state": self.state.value,
                "since": self.since,
                "report": None if report is None else report.members,
                "signature": to_base64(self.signature),
            }
        )


def parse(data: bytes, installation_id: str) -> RegisteredNode:
    """The node of an entry, after the signature of its report was checked.

    Raises:
        FormatError: The entry is damaged.
        IntegrityError: The report is not the node's own, or an active node has none that says so.
    """
    fields = _KIND.loads(data)
    fields.check_version("format", FORMAT)
    fields.check_names(_MEMBERS)
    found = RegisteredNode(
        check_node_id(fields.text("node_id")),
        NodePublic(_key(fields, "signing_key"), _key(fields, "sealing_key")),
        fields.one_of("state", NodeState),
        fields.time("since"),
        fields.optional("report", _report),
        fields.raw("signature"),
    )
    if found.report is not None:
        said_ = _said(installation_id, found.node_id, found.report)
        said_.check(found.signature, found.keys.signing)
    if found.state is NodeState.ACTIVE and (found.report is None or found.report.cause):
        raise IntegrityError(f"{found.node_id} is active without having said so itself")
    return found


def _said(installation_id: str, node_id: str, report: Report) -> Statement:
    payload = said.of_preflight(node_id, report.serialize())
    return Statement(Purpose.PREFLIGHT, Origin(installation_id), payload)


def _report(fields: Fields, name: str) -> Report:
    found = fields.inner(name)
    found.check_names(("at", "cause"), optional=(_LOG_KEY,))
    log_key = _key(found, _LOG_KEY) if _LOG_KEY in found.names else b""
    return Report(found.time("at"), found.text("cause"), log_key)


def _key(fields: Fields, name: str) -> bytes:
    key = fields.raw(name)
    if len(key) != PUBLIC_BYTES:
        raise FormatError(f"{name!r} of a node is no public key")
    return key
