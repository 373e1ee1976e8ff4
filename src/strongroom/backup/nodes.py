"""The entry of a backup that says of each node of the cluster what the backup has of it (docs/format/backup.md 6); pure."""

from typing import Final, NamedTuple

from strongroom.backup import manifest
from strongroom.canonical import UTF_8, Fields, Kind

NODES: Final = "nodes.json"
LOGS: Final = "events/"
SHARED, DISKS = "shared", "disks"
_VERSION: Final = 1
_KIND: Final = Kind("the backup's list of nodes", UTF_8, manifest.MAX_KEY_BYTES)


class NodeShare(NamedTuple):
    """The part of a node in a backup.

    Attributes:
        node: Id of the node.
        state: The state of the node in the registry.
        log_key: The key that verifies the node's checkpoints, as `events checkpoint` prints it; empty if it has none.
        files: The entries of the node's event log.
        events: The number of lines of its present log.
        missing: The reason why something of the node is not in the backup, in words; empty if nothing is missing.
    """

    node: str
    state: str
    log_key: str = ""
    files: tuple[str, ...] = ()
    events: int = 0
    missing: str = ""


class NodesInBackup(NamedTuple):
    """All nodes of the cluster that made a backup.

    Attributes:
        extracts: `shared` if the extracts lie in a store of all nodes, or `disks`.
        nodes: The nodes.
    """

    extracts: str
    nodes: tuple[NodeShare, ...]

    @property
    def may_be_elsewhere(self) -> bool:
        """Whether a file that the backup lacks may lie on the disk of another node than the one that made it."""
        return self.extracts == DISKS and len(self.nodes) > 1

    @property
    def missing(self) -> tuple[str, ...]:
        """Sentences on what is not in the backup."""
        return tuple(f"{one.node}: {one.missing}" for one in self.nodes if one.missing)

    def serialize(self) -> bytes:
        """The canonical bytes."""
        nodes = [{**one._asdict(), "files": list(one.files)} for one in self.nodes]
        return _KIND.dumps({"extracts": self.extracts, "nodes": nodes, "v": _VERSION})


def parse(data: bytes) -> NodesInBackup:
    """The list of its bytes.

    Raises:
        FormatError: The bytes are none, or of a version that is not known here.
    """
    fields = _KIND.loads(data)
    fields.check_version("v", _VERSION)
    fields.check_names(("extracts", "nodes", "v"))
    return NodesInBackup(fields.text("extracts"), tuple(map(_share, fields.objects("nodes"))))


def _share(fields: Fields) -> NodeShare:
    fields.check_names(NodeShare._fields)
    return NodeShare(
        fields.text("node"),
        fields.text("state"),
        fields.text("log_key"),
        fields.texts("files"),
        fields.number("events"),
        fields.text("missing"),
    )
