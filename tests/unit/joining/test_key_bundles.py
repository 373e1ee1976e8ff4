"""Keys that one node gives another open there alone, for their moment, if the giving node signed them (key-changes.md 4)."""

import pytest

from strongroom.coordination.floors import Point
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import IntegrityError
from strongroom.ids import new_id
from strongroom.joining import key_bundles, node_keys
from strongroom.joining.key_bundles import KeyBundle, Occasion

INSTALLATION = new_id()
BUNDLE = KeyBundle(b"keystore", SecretBytes(b"password"), b"records")
OCCASION = Occasion(new_id(), 4, Point(3, bytes(32)))


def test_a_bundle_opens_for_its_node_its_moment_and_its_giver_alone() -> None:
    one, two, three = (node_keys.make(INSTALLATION, name) for name in ("node1", "node2", "node3"))
    sealed = key_bundles.seal(BUNDLE, OCCASION, ("node2", two.public), one)
    assert key_bundles.parse(sealed.serialize()) == sealed
    found = sealed.opened(two, one.public)
    assert (found.keystore, found.password.reveal(), found.records) == (
        b"keystore",
        b"password",
        b"records",
    )
    assert b"password" not in sealed.message
    for other in (two, three):
        with pytest.raises(IntegrityError):
            sealed.opened(two, other.public)
    with pytest.raises(IntegrityError):
        sealed.opened(three, one.public)
    for moment in (
        OCCASION._replace(change_id=new_id()),
        OCCASION._replace(generation=5),
        OCCASION._replace(present=Point(4, bytes(32))),
        OCCASION._replace(present=Point(3, bytes(31) + b"\1")),
    ):
        with pytest.raises(IntegrityError):
            sealed._replace(occasion=moment).opened(two, one.public)
    # a genuine message in the place of another one, signed by the giver for somebody else
    for_three = key_bundles.seal(BUNDLE, OCCASION, ("node3", three.public), one)
    with pytest.raises(IntegrityError):
        for_three.opened(two, one.public)
