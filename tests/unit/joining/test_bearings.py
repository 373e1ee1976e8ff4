"""Where a new node finds the services and whom it believes there, as members of its file (bootstrap-file.md §1.5)."""

import copy
from typing import Any

import pytest

from strongroom.canonical import ASCII_LINE, Fields, Kind
from strongroom.errors import FormatError
from strongroom.joining import bearings
from strongroom.joining.bearings import NOTHING, Addresses, Authorities, Bearings

KIND = Kind("the bootstrap file", ASCII_LINE, 8 << 20)
FOUND = Bearings(
    Authorities(nodes=(b"a", b"b"), zookeeper=(b"c",)),
    Addresses(nodes=("one.example:8850",), postgres=("::1:5432",), zookeeper=("zk:2281",)),
)


def read(members: dict[str, Any]) -> Bearings:
    return bearings.of_fields(Fields(members, KIND))


@pytest.mark.parametrize("found", [FOUND, NOTHING], ids=["all", "nothing"])
def test_what_is_written_is_read_back(found: Bearings) -> None:
    assert read(found.members()) == found


def changed(link: str, **members: object) -> dict[str, Any]:
    found: dict[str, Any] = copy.deepcopy(FOUND.members())
    found["authorities"][link][0].update(members)
    return found


def placed(*addresses: object) -> dict[str, Any]:
    found: dict[str, Any] = copy.deepcopy(FOUND.members())
    found["addresses"]["zookeeper"] = list(addresses)
    return found


REFUSED = {
    "another certificate": (changed("zookeeper", certificate="ZA=="), "zookeeper in the bootstrap"),
    "another pin": (changed("nodes", sha256="00" * 32), "not the one that its pin names"),
    "no pin": (changed("nodes", sha256="00"), "no 32 bytes"),
    "more of it": (changed("nodes", more=1), "a member is missing or not known"),
    "no port": (placed("zk"), "an address of zookeeper in the bootstrap file is none"),
    "no host": (placed(":2281"), "is none"),
    "a word for a port": (placed("zk:port"), "is none"),
    "another alphabet": (placed("zk\u0431:2281"), "is none"),
    "long": (placed("z" * 600 + ":1"), "is none"),
    "many": (placed(*["zk:1"] * 65), "65 addresses, more than 64"),
    "a number": (placed(1), "no list of texts"),
    "another link": ({**FOUND.members(), "addresses": {"nodes": []}}, "a member is missing or"),
}


@pytest.mark.parametrize(("members", "words"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused(members: dict[str, Any], words: str) -> None:
    """A certificate that its pin does not name is told by its link."""
    with pytest.raises(FormatError, match=words):
        read(members)
