"""Composes what a node does at its start that was off while keys were changed, and what it remembers for that."""

from contextlib import suppress
from typing import Final

from strongroom.configuration_keys.authority import BEFORE_NAME
from strongroom.configuration_keys.keys import Coming, ConfigurationKeys
from strongroom.coordination import proving
from strongroom.errors import IntegrityError, StateError
from strongroom.joining import known_nodes, own_keys
from strongroom.joining.node_keys import NodePublic
from strongroom.node.opening import Node
from strongroom.services.keys import kept_keys, store_journals
from strongroom.services.keys.kept_keys import KeptPorts
from strongroom.system import disk, durable

MEMORY: Final = "known nodes"


def remember(node: Node) -> None:
    """Keep the public keys of the other active nodes on this node's disk, if they are others than before.

    Raises:
        StrongroomError: The registry cannot be read, or the file not be written.
    """
    others = {one.node_id: one.keys for one in node.peers.active_others()}
    data, path = known_nodes.serialize(others), node.paths.known_nodes
    with suppress(FileNotFoundError):
        if path.read_bytes() == data:
            return
    durable.write_file(path, data, node.file_modes)


def take(node: Node) -> bool:
    """Take the keys that were kept for this node while it was off, before anything of it is opened; may be repeated.

    Returns:
        Whether there were any.

    Raises:
        IntegrityError: The keys are refused: the node must not be served.
        StateError: The node is none of the installation any more.
        StrongroomError: Something cannot be read or written.
    """
    if node.outside is None or not node.paths.node_keys.exists():
        return False
    taken = kept_keys.take(_ports(node))
    if taken:
        node.authority.renew()
    before = node.keystore.folders[0] / BEFORE_NAME
    if taken or before.exists():
        node.received_keys.take_kept()
        before.unlink(missing_ok=True)
        durable.sync_folder(before.parent)
    return taken


def are_waiting(node: Node) -> bool:
    """Whether newer keys are kept for this node by one that it knows; nothing is changed.

    Raises:
        IntegrityError: Keys are there that no node which this one knows has signed.
        StrongroomError: Something cannot be read.
    """
    return kept_keys.find(_ports(node)) is not None


def check_nothing_is_half_done(node: Node) -> None:
    """Refuse a node that proves nothing in the coordination service since a recovery was begun there, and not finished.

    The recovery's journal, which this node cannot prove either, only gives the words: without it, the reader of each
    entry refuses it.

    Raises:
        StateError: The node waits for the next run of that recovery.
        StrongroomError: The coordination service cannot be read.
    """
    if node.outside is None:
        return
    try:
        node.peers.all()
    except IntegrityError as error:
        if proving.unproved(node.entry_store, store_journals.RECOVER) is None:
            return
        raise StateError(
            f"a recovery was begun on another node and not finished, and this one has not got its keys: {error.message}",
            hint="run 'strongroom recover' again on the node where it began, then start this one",
        ) from error


def _ports(node: Node) -> KeptPorts:
    return KeptPorts(
        node.entry_store,
        own_keys.read(node.paths),
        lambda: _known(node),
        node.keystore,
        lambda coming: _open_keys(node, coming),
        lambda data: _keep_before(node, data),
    )


def _known(node: Node) -> dict[str, NodePublic]:
    path = node.paths.known_nodes
    try:
        with path.open("rb") as file:
            return known_nodes.parse(file.read(known_nodes.MAX_BYTES + 1))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise disk.problem(f"cannot read {path}", error) from error


def _open_keys(node: Node, coming: Coming) -> ConfigurationKeys:
    installation_id = own_keys.read(node.paths).installation_id
    return ConfigurationKeys(
        node.keystore, node.keystore.load(), installation_id, node.paths.recovery_records, coming
    )


def _keep_before(node: Node, data: bytes) -> None:
    path = node.keystore.folders[0] / BEFORE_NAME
    if not path.exists():
        durable.write_file(path, data, node.file_modes)
