"""A Merkle tree that grows leaf by leaf (RFC 6962, section 2.1; format/events.md §5.1). Pure."""

import hashlib
from collections.abc import Iterable
from typing import NamedTuple

from strongroom.errors import IntegrityError

HASH_BYTES = 32


class Frontier(NamedTuple):
    """The part of a Merkle tree that suffices to append leaves and to compute the root.

    Attributes:
        size: How many leaves it has.
        nodes: Roots of its full subtrees, the largest first: one for each bit set in `size`.
    """

    size: int = 0
    nodes: tuple[bytes, ...] = ()

    def grown(self, *leaves: bytes) -> "Frontier":
        """The tree with some leaves more."""
        nodes, size = list(self.nodes), self.size
        for leaf in leaves:
            node, rest = _hashed(leaf), size
            while rest & 1:
                node, rest = _parent(nodes.pop(), node), rest >> 1
            nodes.append(node)
            size += 1
        return Frontier(size, tuple(nodes))

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

    def followed_by(self, span: "Span") -> "Frontier":
        """The tree with the leaves of a span behind its own: none of them is needed.

        Raises:
            IntegrityError: The span does not begin behind this tree, or has not the nodes of its leaves.
        """
        if span.begin != self.size or not span.is_sound:
            raise IntegrityError("the nodes of a tree do not follow on it")
        found = [
            *zip(_sizes(0, self.size), self.nodes, strict=True),
            *zip(_sizes(span.begin, span.end), span.nodes, strict=True),
        ]
        return Frontier(span.end, _joined(found, 0))


class Span(NamedTuple):
    """The part of a tree that its leaves from one to another are: the roots of the full subtrees over just those.

    Attributes:
        begin: How many leaves stand before it.
        end: How many leaves the tree has up to its end.
        nodes: The roots, in the order of their leaves.
    """

    begin: int
    end: int
    nodes: tuple[bytes, ...]

    @property
    def is_sound(self) -> bool:
        """Whether number and length of the nodes are those of a span of so many leaves."""
        if not 0 <= self.begin <= self.end < _MOST_LEAVES:
            return False
        lengths = {len(node) for node in self.nodes} <= {HASH_BYTES}
        return lengths and len(self.nodes) == len(_sizes(self.begin, self.end))


def span(begin: int, leaves: Iterable[bytes]) -> Span:
    """The span of leaves that stand behind `begin` others."""
    nodes, at = list[tuple[int, bytes]](), begin
    for leaf in leaves:
        nodes.append((1, _hashed(leaf)))
        at += 1
        _join(nodes, at)
    return Span(begin, at, tuple(node for _, node in nodes))


def _joined(nodes: Iterable[tuple[int, bytes]], at: int) -> tuple[bytes, ...]:
    found = list[tuple[int, bytes]]()
    for size, node in nodes:
        found.append((size, node))
        at += size
        _join(found, at)
    return tuple(node for _, node in found)


def _join(nodes: list[tuple[int, bytes]], end: int) -> None:
    """Put subtrees of one size together that are the halves of a subtree which ends at `end`."""
    while len(nodes) > 1 and nodes[-1][0] == nodes[-2][0] and end % (2 * nodes[-1][0]) == 0:
        size, right = nodes.pop()
        _, left = nodes.pop()
        nodes.append((2 * size, _parent(left, right)))


def _sizes(begin: int, end: int) -> tuple[int, ...]:
    """How many leaves each of the full subtrees has that a span is the sum of."""
    found = list[int]()
    while begin < end:
        most = 1 << (end - begin).bit_length() - 1
        size = min(begin & -begin, most) if begin else most
        found.append(size)
        begin += size
    return tuple(found)


_MOST_LEAVES = 2**63
EMPTY = Frontier()
"""The tree without leaves."""


def _hashed(leaf: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + leaf).digest()


def _parent(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()
