"""Composes the recovery of a node: what opens it without its keystore and without its roots.

Beside the composition root, which opens nodes that are whole; the steps are the business of `services.recovery`.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from strongroom.configuration_keys.record_files import FILE_NAME
from strongroom.errors import ConflictError, StateError
from strongroom.joining.registry import NodeState
from strongroom.node import in_the_way, replacing
from strongroom.node.opening import Node
from strongroom.runtime import running
from strongroom.runtime.processes import SERVICES
from strongroom.services.configuration.present import ConfigurationKeySource
from strongroom.services.configuration.service import ConfigurationService
from strongroom.services.keys import log_signing
from strongroom.services.keys.replacing import RECOVER_LOCK
from strongroom.services.recovery.opener import Identities, NodeOpener, OpenerPorts
from strongroom.services.recovery.origin import Known
from strongroom.services.recovery.ports import RecoverPorts
from strongroom.services.recovery.recover import RecoverService
from strongroom.services.recovery.results import Recovered


def recovery_of(node: Node) -> RecoverService:
    """The recovery of a node."""
    paths = node.paths

    def configuration_by(source: ConfigurationKeySource) -> ConfigurationService:
        folders = [paths.service_config(service) for service in SERVICES]
        return ConfigurationService(
            node.coordinator, lambda _: source, node.events, folders, node.file_modes
        )

    # the others know this node by the keys of its own, and take no key files from one that has new ones
    is_known = not log_key_lost(node)

    def leave_out(actor: str) -> tuple[str, ...]:
        # first of all: a node that is cut off, and takes none of this in, ends when it is back
        replacing.leave_mark(node, RECOVER_LOCK)
        others = node.peers.others()
        names = [one.node_id for one in others]
        # from here on nothing is read by a node that has not got these keys: it says for whose next run it has to wait
        with node.coordinator.having_given():
            if not is_known:
                return node.peers.leave_out(actor, names)
            node.peers.go_on_without(actor, names)
        return tuple(one.node_id for one in others if one.state is NodeState.JOINING)

    @contextmanager
    def as_it_is(actor: str, reason: str) -> Iterator[None]:
        # the keys of its own come first: no event is signed without them
        _regain(node)
        with node.state_anchor.taken_as_it_is(actor, reason):
            yield
            _state_anew(node, actor)

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
            as_it_is=as_it_is,
            leave_out=leave_out,
            give=node.give_keys,
        )
    )


def bring_back(
    node: Node,
    identities: Identities,
    actor: str,
    report: Callable[[str], None],
    known: Known,
) -> Recovered:
    """Bring a node back, and give it new keys of its own if it lost the file with those.

    Args:
        node: The node, which is not served meanwhile.
        identities: Identities from a file, or combined from shares.
        actor: The person or process that asks, for the events.
        report: Called with a sentence for each step.
        known: The installation as far as the operator knows it.

    Raises:
        StrongroomError: The identities do not open the node, or something cannot be written.
    """
    had_lost = log_key_lost(node)
    found = recovery_of(node).recover(identities, actor, report, known)
    if not found.done:
        _regain(node)
        _state_anew(node, actor)
    elif node.outside is not None:
        for one in node.peers.stale_others():
            report(f"{one.node_id} takes the new keys at its next start")
    return replace(found, node_keys_renewed=had_lost and not log_key_lost(node))


def log_key_lost(node: Node) -> bool:
    """Whether a node of a cluster lost the keys that it alone had, and its new ones are not stated as yet."""
    if node.outside is None:
        return False
    return not node.paths.node_keys.exists() or node.log_key.is_lost()


def _regain(node: Node) -> None:
    if not log_key_lost(node):
        return
    if not node.paths.events.exists():
        raise StateError(
            f"neither {node.paths.node_keys} nor {node.paths.events} is there: nothing says whose directory this is",
            hint="bring back one of the two; bring a further node in anew, by a new bootstrap file",
        )

    def shared() -> bytes:
        found = log_signing.find_signer(node.configuration, node.paths.node_id)
        return b"" if found is None else found.verifier.public

    node.log_key.regain(node.paths.node_id, node.claimed_installation(), shared)


def _state_anew(node: Node, actor: str) -> None:
    if log_key_lost(node):
        node.log_key.state_anew(actor, node.identity.key())


@contextmanager
def alone(node: Node) -> Iterator[None]:
    """Keep the servers of all nodes away for as long as a recovery takes; they must be off when it begins.

    Raises:
        ConflictError: Another node is being recovered.
        StateError: A node is served: its process holds keys that would be replaced under it. Or a backup is restored.
    """
    why = "a recovery replaces the keys under it"
    with ExitStack() as stack:
        stack.enter_context(replacing.others_off(node, RECOVER_LOCK, why, looks_here=True))
        try:
            stack.enter_context(running.sole_server(node.paths))
        except ConflictError as error:
            if running.find(node.paths) is None:
                raise
            raise in_the_way.find(node, error).refusal(RECOVER_LOCK, why) from error
        yield
