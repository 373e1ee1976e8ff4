"""Composes the upgrade of a node: its parts in their order, the backup before it, and what is looked at.

Beside the composition root, which opens nodes; what is done is `services.nodes.upgrade`'s business.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from functools import cached_property

from strongroom.clock import SystemClock
from strongroom.coordination.upgrading import UpgradingCoordinator
from strongroom.errors import IntegrityError, StateError
from strongroom.node import backup, opening
from strongroom.node.opening import Node
from strongroom.services.backups.keys import BackupKeys
from strongroom.services.backups.make import SUFFIX, BackupRequest
from strongroom.services.keys.older_store import OlderStore
from strongroom.services.nodes.older import Older
from strongroom.services.nodes.upgrade import Part, UpgradePorts, UpgradeService
from strongroom.system import version
from strongroom.system.compat import override

_NAME = "before-upgrade"


class OlderNode(Node):
    """A node whose entries may be of the older format."""

    @cached_property
    @override
    def coordinator(self) -> UpgradingCoordinator:
        """The entries, of either format."""
        older = Older(self.open_configuration_keys)
        return UpgradingCoordinator(
            self.entry_store, self.authority, older.converted, lambda: self.anchoring
        )


@contextmanager
def opened(data_dir: str | None) -> Iterator[OlderNode]:
    """A node of whatever format, closed at the end of the block.

    Raises:
        NotFoundError: There is no node.
        PermissionDeniedError: The directory belongs to another user.
    """
    with closing(OlderNode(opening.enter(data_dir), SystemClock())) as node:
        yield node


def alone(node: Node) -> AbstractContextManager[None]:
    """Keep server and backgrounder away for as long as an upgrade takes.

    Raises:
        StateError: The node is served, or a command works on its jobs.
    """
    return backup.sole_user(node, "an upgrade writes anew what it works on")


def upgrade_of(node: OlderNode) -> UpgradeService:
    """The upgrade of a node."""
    store = node.older_store
    return UpgradeService(
        UpgradePorts(
            configuration=node.configuration,
            open_keys=node.present_keys,
            changing_keys=node.kms_store.changing,
            check_keys=lambda: _check_keys(node, store),
            coordinator=node.coordinator,
            event_log=node.events,
            check_log=lambda: _check_log(node),
            count_events=lambda: node.events.verify().head.seq,
            back_up=lambda actor: _back_up(node, store, actor),
            parts=(
                Part("make the KMS store anew, signed by the one before it", store.bring),
                Part(
                    "make the identity of the installation, with a fingerprint",
                    node.identity.ensure,
                ),
            ),
            clock=node.clock,
            node_id=node.paths.node_id,
        )
    )


def _check_log(node: Node) -> None:
    report = node.events.verify()
    if report.is_changed:
        raise IntegrityError(
            "the event log was changed; nothing else was",
            hint="'strongroom events verify' of the release that wrote the node says where",
        )


def _check_keys(node: Node, store: OlderStore) -> None:
    if store.is_older:
        store.check()
        return
    node.kms_store.status().check(
        lambda problem: StateError(
            f"the keys are not in order: {problem}; nothing was changed",
            hint="put it in order with the release that wrote the node, then upgrade",
        )
    )


def _back_up(node: Node, store: OlderStore, actor: str) -> str:
    node.ensure_schema()
    moment = node.clock.now()
    path = backup.folder(node) / f"{_NAME}-{moment:%Y-%m-%dT%H%M%S}{SUFFIX}"
    source = store if store.is_older else node.kms_store
    made = backup.backups(node, BackupKeys(source, node.assets, node.identity)).make(
        BackupRequest(path=path, actor=actor, program=version.VERSION), lambda _, __: None
    )
    return made.path.name
