"""ZooKeeper: the digest users whose passwords are secret parameters."""

from typing import TYPE_CHECKING

from strongroom.consumers.kinds import ConsumerKind, Effective, Setting, authority
from strongroom.system import values

if TYPE_CHECKING:
    from strongroom.consumers.base import Candidates, Consumer


def build(effective: Effective, candidates: "Candidates") -> "tuple[Consumer, ...]":
    """Every user, if hosts are set."""
    hosts = effective("zookeeper.hosts") or ""
    if not hosts:
        return ()
    from strongroom.consumers import zookeeper_users
    from strongroom.consumers.zookeeper_server import ZookeeperSettings

    root, ca_file = effective("zookeeper.root") or "", effective("zookeeper.ca_file") or ""
    return zookeeper_users.consumers(ZookeeperSettings(hosts, root, ca_file), candidates)


def _settings() -> tuple[Setting, ...]:
    hosts = "host:port,host:port of ZooKeeper; none: not used"
    root = "znode below which each user has a subtree"
    ca_file = authority("ZooKeeper", without="loopback only")
    return (
        Setting("zookeeper.hosts", None, values.host_list, hosts),
        Setting("zookeeper.root", "/strongroom", values.znode, root),
        Setting("zookeeper.ca_file", None, values.path, ca_file),
    )


CONSUMER = ConsumerKind("zookeeper", _settings(), build)
