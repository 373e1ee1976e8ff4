"""The tree over the lines of the log (RFC 6962, section 2.1; format/events.md §5.1)."""

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from strongroom.eventlog.merkle import Frontier

# leaves and roots of the reference tests of Certificate Transparency
LEAVES = (
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
)
ROOTS = (
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)


def test_the_roots_are_those_of_the_reference() -> None:
    tree = Frontier()
    assert tree.root.hex() == ROOTS[0]
    for leaf, root in zip(LEAVES, ROOTS[1:], strict=True):
        tree = tree.grown(bytes.fromhex(leaf))
        assert tree.root.hex() == root


@given(st.lists(st.binary(max_size=8), max_size=40))
def test_it_is_the_recursive_definition_of_the_rfc(leaves: list[bytes]) -> None:
    tree = Frontier()
    for leaf in leaves:
        assert tree.is_sound
        tree = tree.grown(leaf)
    assert tree.root == _defined(leaves)


def test_a_frontier_that_fits_no_tree_of_its_size_is_not_sound() -> None:
    assert not Frontier(3, (bytes(32),)).is_sound
    assert not Frontier(1, (bytes(31),)).is_sound


def _defined(leaves: list[bytes]) -> bytes:
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    half = 1
    while half * 2 < len(leaves):
        half *= 2
    return hashlib.sha256(b"\1" + _defined(leaves[:half]) + _defined(leaves[half:])).digest()
