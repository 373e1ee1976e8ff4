"""A Merkle tree that grows leaf by leaf (RFC 6962, section 2.1; format/events.md §5.1). Pure."""

import hashlib
from typing import NamedTuple

HASH_BYTES = 32


class Frontier(NamedTuple):
    """The part of a Merkle tree that suffices to append leaves and to compute the root.

    Attributes:
        size: How many leaves it has.
        nodes: Roots of its full subtrees, the largest first: one for each bit set in `size`.
    """

    size: int = 0
    nodes: tuple[bytes, ...] = ()

    def grown(self, leaf: bytes) -> "Frontier":
        """The tree with one leaf more."""
        nodes, rest = list(self.nodes), self.size
        node = hashlib.sha256(b"\x00" + leaf).digest()
        while rest & 1:
            node, rest = _parent(nodes.pop(), node), rest >> 1
        return Frontier(self.size + 1, (*nodes, node))

    @property
    def root(self) -> bytes:
        """The root hash."""
        if not self.nodes:
            return hashlib.sha256(b"").digest()
        *others, root = self.nodes
        for node in reversed(others):
            root = _parent(node, root)
        return root

    @property
    def is_sound(self) -> bool:
        """Whether the number and the length of the nodes are those of a tree of this size."""
        lengths = {len(node) for node in self.nodes} <= {HASH_BYTES}
        return lengths and len(self.nodes) == self.size.bit_count()


EMPTY = Frontier()
"""The tree without leaves."""


def _parent(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()
