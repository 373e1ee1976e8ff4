"""The public keys of the other nodes, as a node keeps them on its own disk (docs/format/key-changes.md 3.4); pure.

A node that was off while the keys were changed proves nothing in ZooKeeper any more, the registry neither. By these keys
it knows who gives it the new ones.
"""

from collections.abc import Mapping
from typing import Final

from strongroom.canonical import ASCII_LINE, Fields, Kind, to_base64
from strongroom.crypto.signing import PUBLIC_BYTES
from strongroom.joining.bootstrap_file import check_node_id
from strongroom.joining.node_keys import NodePublic

FORMAT: Final = "strongroom-known-nodes-1"
MAX_BYTES: Final = 1 << 20
_KIND = Kind(
    "the file of known nodes",
    ASCII_LINE,
    most=MAX_BYTES,
    hint="bring this node in anew, by a new bootstrap file",
)


def serialize(nodes: Mapping[str, NodePublic]) -> bytes:
    """The bytes of the file."""
    members = {
        node: {"signing_key": to_base64(one.signing), "sealing_key": to_base64(one.sealing)}
        for node, one in nodes.items()
    }
    return _KIND.dumps({"format": FORMAT, "nodes": members})


def parse(data: bytes) -> dict[str, NodePublic]:
    """The public keys by node.

    Raises:
        FormatError: The file is damaged.
    """
    fields = _KIND.loads(data)
    fields.check_version("format", FORMAT)
    fields.check_names(("format", "nodes"))
    return {check_node_id(node): _node(one) for node, one in fields.object_map("nodes").items()}


def _node(fields: Fields) -> NodePublic:
    fields.check_names(("signing_key", "sealing_key"))
    found = NodePublic(fields.raw("signing_key"), fields.raw("sealing_key"))
    if {len(found.signing), len(found.sealing)} != {PUBLIC_BYTES}:
        raise fields.refused("a key of a node has another length")
    return found
