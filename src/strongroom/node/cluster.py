"""Composes the check of a cluster's services, and the move of a single node to them.

Beside the composition root, which opens nodes; what a move does is `services.nodes.enable`'s business.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from strongroom.clock import SystemClock
from strongroom.cluster import enabling, services_file
from strongroom.cluster.services_file import (
    POSTGRES,
    ZOOKEEPER,
    Passwords,
    Services,
    ZookeeperPlace,
)
from strongroom.coordination.base import EntryStore
from strongroom.coordination.proved import ProvedCoordinator
from strongroom.coordination.zookeeper.settings import ZookeeperSettings
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import StateError
from strongroom.eventlog.base import SYSTEM
from strongroom.eventlog.events import node_events
from strongroom.ids import new_id
from strongroom.node import backup, joining, object_stores, outside
from strongroom.node.opening import Node
from strongroom.repository import postgres_address
from strongroom.repository.rows import Owner
from strongroom.repository.unit_of_work import Repository
from strongroom.runtime.paths import DataPaths
from strongroom.secrets.committed import ValueKey
from strongroom.services.nodes.enable import (
    MARK,
    EnablePorts,
    EnableService,
    EntryTarget,
    Extents,
)
from strongroom.system import frozen_sqlite
from strongroom.system.findings import Finding
from strongroom.system.frozen_sqlite import FrozenDatabase

ASIDE: Final = ".before-cluster"
"""Behind the name of an embedded database whose content is in the cluster."""
_TOP: Final = "/strongroom"
_MOVED: Final = "this node is one of a cluster now, run the command again"


@dataclass(frozen=True)
class Given:
    """The services of a cluster, as a person names them.

    Attributes:
        hosts: `name:port,name:port` of ZooKeeper.
        ca: The authority of its servers' certificates.
        certificate: This node's certificate and its key.
        user: The digest user that owns the tree.
        zookeeper_password: The user's password.
        postgres: The address of the database, without a password.
        postgres_password: The password of its user.
    """

    hosts: str
    ca: Path
    certificate: Path
    user: str
    zookeeper_password: SecretBytes
    postgres: str
    postgres_password: SecretBytes

    def services(self, installation_id: str, run: str) -> Services:
        """The addresses as they are stored.

        Raises:
            UsageError: An address is malformed, holds a password, or does without proof of the server's name.
        """
        place = ZookeeperPlace(
            hosts=self.hosts,
            root=f"{_TOP}/{installation_id}",
            user=self.user,
            ca=str(self.ca.absolute()),
            certificate=str(self.certificate.absolute()),
        )
        return Services(installation_id, run, place, postgres_address.stored_form(self.postgres))

    def zookeeper_settings(
        self, services: Services, paths: DataPaths, holder: str
    ) -> ZookeeperSettings:
        """The settings by which ZooKeeper is reached."""
        passwords = Passwords(self.zookeeper_password)
        return outside.zookeeper_settings(services, paths, holder, lambda: passwords)


class Enabled(NamedTuple):
    """A move that is done.

    Attributes:
        run: The id of the move.
        extents: The amount that was moved; None if an earlier run had done that, and this one did the rest.
        aside: The embedded databases under their new names.
    """

    run: str
    extents: Extents | None
    aside: tuple[Path, ...]


def check(node: Node, given: Given | None) -> Iterator[Finding]:
    """Check every link to the services of a cluster; one finding after the other.

    Args:
        node: The node.
        given: The services; None for those of the node itself.

    Raises:
        StateError: The node is a single one, and no services are given.
    """
    if given is None:
        if node.outside is None:
            raise StateError(
                "this node is a single one: its services are embedded",
                hint="name the services to check, as for 'strongroom cluster enable'",
            )
        yield from node.outside.probe()
        yield from object_stores.prove(node)
        return
    services = given.services(node.claimed_installation(), new_id())
    settings = given.zookeeper_settings(services, node.paths, "cluster check")
    yield from outside.probe(services, settings, lambda: (given.postgres_password,))


class Move:
    """The move of one node, which is opened anew when its new services are in force."""

    def __init__(self, node: Node, given: Given) -> None:
        """Prepare; nothing is changed.

        Raises:
            UsageError: An address is malformed.
        """
        self._node = node
        self._given = given
        self._begun = enabling.find(node.paths.enabling)
        self._run = self._begun or new_id()

    @property
    def is_committed(self) -> bool:
        """Whether the services are in force, and only the rest of an interrupted move is to be done.

        Raises:
            StateError: The node is one of a cluster, and nothing is left to be done.
        """
        if self._node.outside is None:
            return False
        if self._node.outside.file.services.run != self._begun:
            raise StateError(
                "this node is one of a cluster already",
                hint="'strongroom cluster check' says whether its services are in order",
            )
        return True

    def plan(self) -> Extents:
        """The amount that would be moved; nothing is changed.

        Raises:
            StrongroomError: The move would be refused.
        """
        with self._service() as service:
            return service.plan()

    def enable(self, actor: str, report: Callable[[str], None]) -> Enabled:
        """Move the node; within `alone`.

        Args:
            actor: The person or process that asks.
            report: Is told each step.
        """
        extents = None
        if not self.is_committed:
            self._node.ensure_schema()
            with self._service() as service:
                extents = service.run(report)
            # the embedded databases are renamed next, and nothing of this process may use them any more
            self._node.close()
        aside = finish(self._node.paths, self._run, actor)
        return Enabled(self._run, extents, aside)

    @contextmanager
    def _service(self) -> Iterator[EnableService]:
        node, given = self._node, self._given
        services = given.services(node.claimed_installation(), self._run)
        settings = given.zookeeper_settings(services, node.paths, "cluster enable")
        with ExitStack() as stack:
            target = stack.enter_context(closing(outside.zookeeper(settings)))
            repository = Repository(
                postgres_address.stored_url(services.postgres),
                passwords=lambda: (given.postgres_password,),
                owner=Owner(node.paths.node_id, node.boot_id),
            )
            stack.callback(repository.close)
            yield EnableService(self._ports(services, target, repository), self._run)

    def _ports(
        self, services: Services, target: EntryTarget, repository: Repository
    ) -> EnablePorts:
        node = self._node

        def prove(store: EntryStore) -> None:
            ProvedCoordinator(store, node.authority).list("")

        def begin() -> None:
            enabling.begin(node.paths.enabling, self._run, node.file_modes)

        def commit() -> None:
            services_file.write(node.paths.services, self._sealed(services), node.file_modes)

        return EnablePorts(
            locks=node.coordinator,
            entries=node.entry_store,
            repository=node.repository,
            target_entries=target,
            target_repository=repository,
            prove=prove,
            compare=lambda: (*node.state_faults(), *node.event_log_faults()),
            frozen=lambda: _frozen(node.paths),
            begin=begin,
            commit=commit,
        )

    def _sealed(self, services: Services) -> services_file.ServicesFile:
        active = self._node.authority.present().active
        key = ValueKey(services.installation_id, active.id, active.key)
        return services_file.sealed(
            services,
            key,
            {
                ZOOKEEPER: self._given.zookeeper_password,
                POSTGRES: self._given.postgres_password,
            },
        )


def finish(paths: DataPaths, run: str, actor: str) -> tuple[Path, ...]:
    """Do what is left of a move whose services are in force; may be repeated.

    Args:
        paths: The paths of the node.
        run: The id of the move.
        actor: The person or process that asks, for the event.

    Returns:
        The embedded databases under their new names.

    Raises:
        StrongroomError: The node does not open by its new services.
    """
    with closing(Node(paths, SystemClock())) as node:
        node.configuration.document()
        if node.outside is None:
            raise StateError("this node is a single one")
        services = node.outside.file.services
        if not _is_told(node, run):
            node.events.append(
                [
                    node_events.cluster_enabled(
                        actor,
                        run=run,
                        zookeeper=services.zookeeper.hosts,
                        postgres=postgres_address.words(services.postgres),
                    )
                ]
            )
        joining.ensure_registered(node, actor)
        # a log that does not fit its checkpoint keeps no node from its services; the next start tells of it
        with suppress(StateError):
            joining.ensure_log_key(node, actor)
        with node.repository.transaction() as tx:
            tx.marks.remove(MARK)
        with closing(node.outside.coordinator(node.boot_id)) as target:
            target.end_arrival(run)
    found = [
        frozen_sqlite.set_aside(path, ASIDE)
        for path in (paths.coordination, paths.repository, paths.workflows)
    ]
    enabling.end(paths.enabling)
    return tuple(path for path in found if path is not None)


def finish_at_start(node: Node) -> bool:
    """Do what is left of a move that was interrupted behind its commit; returns whether something was left.

    Raises:
        StrongroomError: The node does not open by its new services.
    """
    run = enabling.find(node.paths.enabling)
    if run is None or node.outside is None or node.outside.file.services.run != run:
        return False
    finish(node.paths, run, SYSTEM)
    return True


def _is_told(node: Node, run: str) -> bool:
    """Whether the event of a move is in the log."""
    told = (record["details"] for record in node.events.history(node_events.CLUSTER_ENABLED))
    return any(isinstance(details, dict) and details.get("run") == run for details in told)


def alone(node: Node) -> AbstractContextManager[None]:
    """Keep server and backgrounder away for as long as a move takes.

    Raises:
        StateError: The node is served, or a command works on its jobs.
    """
    return backup.sole_user(node, "a move into a cluster takes away what it works on")


class _Frozen:
    """Both embedded databases."""

    def __init__(self, databases: tuple[FrozenDatabase, ...]) -> None:
        self._databases = databases

    def refuse_for_good(self) -> None:
        """Have both refuse every later change."""
        for one in self._databases:
            one.refuse_for_good(_MOVED)


@contextmanager
def _frozen(paths: DataPaths) -> Iterator[_Frozen]:
    with ExitStack() as stack:
        found = []
        for path, what in (
            (paths.coordination, "the coordination database"),
            (paths.repository, "the repository"),
        ):
            one = FrozenDatabase(path, what)
            stack.callback(one.let_go)
            found.append(one)
        yield _Frozen(tuple(found))
