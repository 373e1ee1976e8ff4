"""Composes the recovery of a node: what opens it without its keystore and without its roots.

Beside the composition root, which opens nodes that are whole; the steps are `services.recovery.recover`'s business.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from strongroom.configuration_keys.keys import FILE_NAME
from strongroom.errors import ConflictError, StateError
from strongroom.node.opening import Node
from strongroom.runtime import running
from strongroom.runtime.processes import SERVICES
from strongroom.services.configuration.service import ConfigurationKeySource, ConfigurationService
from strongroom.services.recovery.opener import NodeOpener, OpenerPorts
from strongroom.services.recovery.recover import RecoverPorts, RecoverService


def recovery_of(node: Node) -> RecoverService:
    """The recovery of a node."""
    paths = node.paths

    def configuration_by(source: ConfigurationKeySource) -> ConfigurationService:
        folders = [paths.service_config(service) for service in SERVICES]
        return ConfigurationService(
            node.coordinator, lambda _: source, node.events, folders, node.file_modes
        )

    def leave_out(actor: str) -> tuple[str, ...]:
        return node.peers.leave_out(actor, [one.node_id for one in node.peers.others()])

    files = [paths.keystores(service) / FILE_NAME for service in SERVICES]
    opener = NodeOpener(
        OpenerPorts(
            entries=node.coordinator,
            installation_id=node.claimed_installation,
            adopt=node.authority.adopt,
            configuration=node.configuration,
            configuration_by=configuration_by,
            record_files=(*files, paths.recovery_records),
            opened_by=node.recipient_root,
        )
    )
    return RecoverService(
        RecoverPorts(
            opener=opener,
            directory=node.keystore,
            open_keys=node.open_configuration_keys,
            coordinator=node.coordinator,
            keeper=node.kms_store,
            roots=node.roots,
            local_root=node.local_root,
            record_files=(*files, paths.recovery_records),
            clock=node.clock,
            renewing=node.coordinator.renewing,
            as_it_is=node.state_anchor.taken_as_it_is,
            leave_out=leave_out,
        )
    )


@contextmanager
def alone(node: Node) -> Iterator[None]:
    """Keep the server away for as long as a recovery takes.

    Raises:
        StateError: The node is served: its process holds keys that would be replaced under it.
    """
    try:
        with running.sole_server(node.paths):
            yield
    except ConflictError as error:
        if running.find(node.paths) is None:
            raise
        raise StateError(
            f"{error.message}: a recovery replaces the keys under it",
            hint="stop 'strongroom serve' first, then run the command again",
        ) from error
