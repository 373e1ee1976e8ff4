"""Makes what a further node has before it joins: keystore replicas, configuration keys, and a note of its place (C-22).

It works in the folder it is given; whoever calls it makes the finished folder visible in one step. There is no
coordination database and no repository: the cluster has them.
"""

from collections.abc import Callable
from typing import NamedTuple

from strongroom import durable
from strongroom.crypto.secret import SecretBytes
from strongroom.eventlog import events
from strongroom.eventlog.base import EventLog
from strongroom.keystore import configuration_key, replicas
from strongroom.keystore.replicas import KeystoreDirectory
from strongroom.topology import prepared
from strongroom.topology.bootstrap_file import BootstrapFile
from strongroom.topology.paths import DataPaths
from strongroom.topology.prepared import PreparedNode

Admit = Callable[[BootstrapFile, SecretBytes], bool]
"""Asks the installation to let a node in, by its file and the key of its request; False if nobody could be asked."""


class PreparePorts(NamedTuple):
    """The ports of a node that is being prepared."""

    directory: KeystoreDirectory
    log: EventLog
    paths: DataPaths
    access: durable.Access


def prepare(
    ports: PreparePorts, file: BootstrapFile, request_key: SecretBytes, admit: Admit, actor: str
) -> PreparedNode:
    """Write everything, each key file read back and opened, then ask to be let in.

    Args:
        ports: Of the folder in which the node is prepared.
        file: A bootstrap file that was proved.
        request_key: Of the request to let it in; the same at every attempt.
        admit: Asks the installation.
        actor: Who prepares it.

    Raises:
        KeystoreError: What was written does not open.
        AuthenticationError: The installation refuses the node.
    """
    directory = ports.directory
    durable.make_folder(ports.paths.logs, ports.access)
    durable.make_folder(directory.password_file.parent, ports.access)
    durable.write_file(directory.password_file, file.keystore_password.reveal(), ports.access)
    with directory.changing():
        directory.spread(replicas.FILE_NAME, file.keystore, lambda _: directory.load())
        directory.spread(configuration_key.FILE_NAME, file.configuration_keys, lambda _: None)
    is_admitted = admit(file, request_key)
    node = prepared.of_file(file, request_key, is_admitted=is_admitted)
    prepared.write(ports.paths, node, ports.access)
    server = file.server if is_admitted else ""
    ports.log.append(
        [
            events.key_moved(actor, "master", file.master_key, place=file.node_id),
            events.node_prepared(actor, file.installation_id, file.node_id, server=server),
        ]
    )
    return node
