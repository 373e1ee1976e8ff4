"""Composes the change of the passwords by which a node of a cluster opens ZooKeeper and PostgreSQL."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

from strongroom.cluster import services_file
from strongroom.cluster.services_file import POSTGRES, ZOOKEEPER, Passwords
from strongroom.coordination.zookeeper.tree_user import TreeUser
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import StateError
from strongroom.joining import own_keys
from strongroom.node.opening import Node
from strongroom.node.outside import OutsideServices
from strongroom.repository.role_password import RolePassword
from strongroom.services.nodes.service_passwords import (
    Changed,
    PasswordPorts,
    ServicePasswords,
)
from strongroom.services.nodes.shared_passwords import WAIT_S, Follower, OtherNodes, SharedPorts


def rotate(
    node: Node, name: str, actor: str, report: Callable[[str], None], *, wait_s: float = WAIT_S
) -> Changed:
    """Give a service a new password; or finish a change that was interrupted.

    Args:
        node: The node.
        name: `zookeeper` or `postgres`.
        actor: The person or process that asks, for the events.
        report: Is told each step.
        wait_s: How long the other nodes are waited for, in seconds.

    Raises:
        StateError: The node is a single one.
        StrongroomError: As `ServicePasswords.rotate`.
    """
    with _passwords(node, name, wait_s) as passwords:
        return passwords.rotate(actor, report)


def take_over(node: Node, name: str, password: SecretBytes, actor: str) -> None:
    """Use a password from now on that somebody has set at the service.

    Raises:
        StateError: The node is a single one.
        StrongroomError: As `ServicePasswords.take_over`.
    """
    with _passwords(node, name) as passwords:
        passwords.take_over(actor, password)


def resume(node: Node, actor: str) -> tuple[str, ...]:
    """Finish the changes that were interrupted, as far as other nodes did their part; returns the names of their services.

    Raises:
        StrongroomError: As `ServicePasswords.rotate`.
    """
    done = []
    for name in services_file.SERVICES if node.outside is not None else ():
        with _passwords(node, name, wait_s=0) as passwords:
            if passwords.resume(actor, lambda _: None):
                done.append(name)
    return tuple(done)


def follow(node: Node) -> None:
    """Do on this node what the changes ask for that other nodes make.

    Raises:
        StrongroomError: The file of services cannot be written, or the services do not answer.
    """
    for name in services_file.SERVICES:
        with _passwords(node, name) as passwords:
            Follower(_shared(node), node.paths.node_id).follow(passwords)


def _shared(node: Node, wait_s: float = WAIT_S) -> SharedPorts:
    return SharedPorts(
        coordinator=node.coordinator,
        peers=node.peers,
        document=node.configuration.document,
        open_key=node.configuration.open_key,
        event_log=node.events,
        keys=lambda: own_keys.read(node.paths),
        wait_s=wait_s,
    )


@contextmanager
def _passwords(node: Node, name: str, wait_s: float = WAIT_S) -> Iterator[ServicePasswords]:
    outside = node.outside
    if outside is None:
        raise StateError(
            "this node is a single one: its services are embedded, and have no passwords",
            hint="'strongroom cluster enable' brings it to ZooKeeper and PostgreSQL",
        )
    ports = PasswordPorts(
        file=outside,
        write=lambda file: outside.write(file, node.file_modes),
        key=outside.key_of,
        others=OtherNodes(_shared(node, wait_s), node.paths.node_id),
        event_log=node.events,
    )
    if name == POSTGRES:
        yield ServicePasswords(ports, _Postgres(outside))
        return
    with closing(outside.tree_user()) as owner:
        yield ServicePasswords(ports, _Zookeeper(outside, owner))


class _Postgres:
    """The role at PostgreSQL, which has one password: sessions that stand go on, others need the new one."""

    name = POSTGRES

    def __init__(self, outside: OutsideServices) -> None:
        address = outside.file.services.postgres
        self.user = address["user"]
        self._role = RolePassword(address)

    def check(self, password: SecretBytes) -> None:
        """Prove a password by a login."""
        self._role.check(password)

    def admit(self, found: Passwords, new: SecretBytes) -> None:
        """Replace the password."""
        self._role.change(lambda: found.all, new)

    def withdraw(self, present: SecretBytes) -> None:
        """Nothing: the new password has replaced the old one."""


class _Zookeeper:
    """The digest user at ZooKeeper, whose old and new password are valid together in between."""

    name = ZOOKEEPER

    def __init__(self, outside: OutsideServices, owner: TreeUser) -> None:
        self.user = outside.file.services.zookeeper.user
        self._owner = owner

    def check(self, password: SecretBytes) -> None:
        """Prove a password in each node of the tree."""
        self._owner.check(password)

    def admit(self, found: Passwords, new: SecretBytes) -> None:
        """Have each ACL name both."""
        self._owner.name((found.present, new))

    def withdraw(self, present: SecretBytes) -> None:
        """Have each ACL name the present one alone."""
        self._owner.name((present,))
