"""Subtrees over lines from one to another: with the tree before them they are the tree of all (docs/format/log-heads.md 3.2)."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.errors import IntegrityError
from strongroom.eventlog import merkle
from strongroom.eventlog.merkle import EMPTY, Frontier, Span


def tree_of(leaves: list[bytes]) -> Frontier:
    found = EMPTY
    for leaf in leaves:
        found = found.grown(leaf)
    return found


def root(leaves: list[bytes]) -> bytes:
    """RFC 6962 2.1, as its text has it."""
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    half = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\1" + root(leaves[:half]) + root(leaves[half:])).digest()


def test_a_tree_and_the_span_behind_it_are_the_tree_of_all() -> None:
    """(f) 12, RFC 6962 2.1.2: for every two sizes up to 40; and the root is that of the RFC's own words."""
    leaves = [b"%d" % number for number in range(40)]
    trees = [tree_of(leaves[:size]) for size in range(41)]
    assert all(trees[size].root == root(leaves[:size]) for size in range(1, 41))
    for begin in range(41):
        for end in range(begin, 41):
            span = merkle.span(begin, leaves[begin:end])
            assert span.is_sound
            assert len(span.nodes) <= 2 * max(1, (end - begin).bit_length())
            assert trees[begin].followed_by(span) == trees[end]


@given(st.integers(0, 60), st.integers(1, 60), st.data())
def test_no_other_line_gives_the_same_root(begin: int, count: int, data: st.DataObject) -> None:
    """A line before the span, or in it, that was changed, left out or put in shows in the root."""
    leaves = [b"%d" % number for number in range(begin + count)]
    tree = tree_of(leaves[:begin]).followed_by(merkle.span(begin, leaves[begin:]))
    place = data.draw(st.integers(0, len(leaves) - 1))
    other = [*leaves]
    other[place] = b"other"
    changed = tree_of(other[:begin]).followed_by(merkle.span(begin, other[begin:]))
    assert changed.root != tree.root
    assert changed.size == tree.size


def test_a_span_that_does_not_fit_is_refused() -> None:
    """Of another place, with a node too many or too few, or one of another length."""
    leaves = [b"%d" % number for number in range(9)]
    tree, span = tree_of(leaves[:5]), merkle.span(5, leaves[5:])
    for other in (
        span._replace(begin=4),
        span._replace(end=8),
        span._replace(nodes=span.nodes[1:]),
        span._replace(nodes=(*span.nodes, span.nodes[0])),
        span._replace(nodes=(*span.nodes[:-1], b"short")),
        Span(9, 5, ()),
        Span(5, 2**63, ()),
    ):
        with pytest.raises(IntegrityError, match="do not follow"):
            tree.followed_by(other)
