"""The addresses and authorities that go with a new node's file: hints, of which a bad one spoils no file (E11; §1.5)."""

from pathlib import Path

import pytest

from strongroom.cluster.services_file import Services, ZookeeperPlace
from strongroom.crypto import node_certificates
from strongroom.ids import new_id
from strongroom.joining import shown_certificates
from strongroom.joining.bearings import MOST_ADDRESSES, Addresses
from strongroom.joining.registry import NodeState
from strongroom.node.opening import Node
from strongroom.services.nodes import bearings
from strongroom.services.nodes.bearings import BearingsPorts
from tests.unit.services.nodes.shown_lab import DAMAGED, put, shows


class Cluster:
    """A node whose installation has others, and services elsewhere."""

    def __init__(self, node: Node, folder: Path) -> None:
        self._node = node
        self._id = node.configuration.document().installation_id
        self._ca = folder / "ca.pem"
        authority = node_certificates.new_authority(self._id, node.clock.now())
        self._ca.write_text(node_certificates.pem((authority.certificate,)))

    def addresses(self, zookeeper: str = "zk:2281", **postgres: str) -> Addresses:
        """The addresses in a file."""
        node, ca = self._node, str(self._ca)
        place = ZookeeperPlace(zookeeper, "/strongroom/x", "tsm", ca, "/node1.pem")
        given = {"host": "db", **postgres, "sslrootcert": ca}
        services = Services(self._id, new_id(), place, given)
        ports = BearingsPorts(node.configuration, node.coordinator, node.peers, lambda: services)
        return bearings.collect(ports, "").addresses


@pytest.fixture
def cluster(whole: Node, tmp_path: Path) -> Cluster:
    return Cluster(whole, tmp_path)


def test_a_node_whose_word_does_not_hold_is_left_out(whole: Node, cluster: Cluster) -> None:
    """A node with other keys since a recovery, which was not served as yet; an entry that is damaged, or of a later form."""
    shows(whole, "node2", "two.example:8850")
    shows(whole, "node3", "three.example:8850", other=True)
    shows(whole, "node4", "four.example:8850")
    put(whole, shown_certificates.PREFIX + "node4", DAMAGED)
    shows(whole, "node5", "")
    shows(whole, "node6", "six.example:8850", state=NodeState.LEFT_OUT)
    assert cluster.addresses().nodes == ("two.example:8850",)


def test_what_no_file_may_have_stays_out_of_it(whole: Node, cluster: Cluster) -> None:
    """A reader refuses the whole file for one address that is none, or for one too many."""
    shows(whole, "node2", "two.example")
    found = cluster.addresses(host="db\u00fccher.example,db.example")
    assert (found.nodes, found.postgres) == ((), ("db.example:5432",))
    found = cluster.addresses(host=",".join(f"db{number}" for number in range(70)))
    assert len(found.postgres) == MOST_ADDRESSES


def test_addresses_are_where_connections_go(cluster: Cluster) -> None:
    """An address beside a host's name is what a new machine can reach; a list may be written with blanks."""
    found = cluster.addresses("zk1:2281, [::1]:2282", host="db.internal", hostaddr="10.0.0.5")
    assert found.postgres == ("10.0.0.5:5432",)
    assert found.zookeeper == ("zk1:2281", "[::1]:2282")
    assert cluster.addresses(host="/run/postgresql").postgres == ()
