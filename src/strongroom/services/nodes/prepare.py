"""Prepares a further node before it joins: keystore, configuration keys, keys of its own, the record of its preparation (C-22).

All is made in a folder that the caller gives and renames to its final name in one step. A prepared node has neither
coordination database nor repository, since it will use those of the cluster.
"""

from collections.abc import Callable
from typing import NamedTuple

from strongroom.cluster import services_file
from strongroom.configuration_keys import record_files
from strongroom.crypto import node_certificates
from strongroom.crypto.node_certificates import NodeName
from strongroom.eventlog.base import EventLog
from strongroom.eventlog.events import key_events, node_events
from strongroom.joining import own_certificate, own_keys, prepared
from strongroom.joining.bootstrap_file import BootstrapFile
from strongroom.joining.node_keys import NodeKeys
from strongroom.joining.own_certificate import OwnCertificate
from strongroom.joining.prepared import PreparedNode
from strongroom.joining.welcome import Welcome
from strongroom.keystore import replicas
from strongroom.keystore.replicas import KeystoreDirectory
from strongroom.runtime.paths import DataPaths
from strongroom.secrets.committed import ValueKey
from strongroom.services.nodes.admit import active_key
from strongroom.services.nodes.join import file_of
from strongroom.system import durable


class Admitted(NamedTuple):
    """The answer of the installation.

    Attributes:
        is_admitted: Whether the installation admitted the node; not if no server could be asked.
        welcome: Where the services are, proved and opened; None from an installation whose services are embedded.
    """

    is_admitted: bool
    welcome: Welcome | None = None


Admit = Callable[[BootstrapFile, NodeKeys], Admitted]
"""Asks the installation to admit a node, given its file and its own keys."""


class PreparePorts(NamedTuple):
    """The ports of a node that is being prepared."""

    directory: KeystoreDirectory
    event_log: EventLog
    paths: DataPaths
    file_modes: durable.FileModes


def prepare(
    ports: PreparePorts, file: BootstrapFile, own: NodeKeys, admit: Admit, actor: str
) -> PreparedNode:
    """Write the node's files, read each key file back and open it, then ask for admission.

    Args:
        ports: The ports of the folder in which the node is prepared.
        file: A bootstrap file that was proved.
        own: The node's own keys. They are the same at every attempt, so that a repetition after a crash is recognised
            as the same request and not refused as a second use of the credential.
        admit: Asks the installation.
        actor: The person or process that prepares the node, for the events.

    Raises:
        KeystoreError: A key file does not open after it was written.
        AuthenticationError: The installation refuses the node.
    """
    directory = ports.directory
    durable.make_folder(ports.paths.logs, ports.file_modes)
    durable.make_folder(directory.password_file.parent, ports.file_modes)
    durable.write_file(directory.password_file, file.keystore_password.reveal(), ports.file_modes)
    with directory.changing():
        directory.spread(replicas.FILE_NAME, file.keystore, lambda _: directory.load())
        directory.spread(record_files.FILE_NAME, file.configuration_keys, lambda _: None)
    own_keys.write(ports.paths, own)
    node = admitted(ports, file, own, admit(file, own))
    if node.is_joining:
        # the join writes the events, by a log that can sign: earlier lines would be told as signed late
        return node
    server = file.server if node.is_admitted else ""
    ports.event_log.append(
        [
            key_events.key_moved(actor, "master", file.master_key, place=file.node_id),
            node_events.node_prepared(
                actor,
                file.installation_id,
                file.node_id,
                server=server,
                fingerprint=file.fingerprint,
            ),
        ]
    )
    return node


def admitted(
    ports: PreparePorts, file: BootstrapFile, own: NodeKeys, answer: Admitted
) -> PreparedNode:
    """Keep the answer of the installation in the node's files; may be repeated.

    The request for a certificate goes last, once the record says that the installation has answered: until then a
    repetition must send the same one. With another request the credential is used up, and the node lost.

    Raises:
        FormatError: The answer does not name the services, or the certificate in it is not for this node's key.
        StorageError: The disk refuses.
    """
    if answer.welcome is not None:
        _write_authorities(ports, file)
        _take_certificate(ports, own, answer.welcome)
        key = ValueKey(file.installation_id, file.configuration_key_id, active_key(file))
        services = file_of(answer.welcome, file.installation_id, key)
        services_file.write(ports.paths.services, services, ports.file_modes)
    is_joining = answer.welcome is not None
    node = prepared.of_file(file, is_admitted=answer.is_admitted, is_joining=is_joining)
    prepared.write(ports.paths, node, ports.file_modes)
    if is_joining:
        own_keys.forget_asked(ports.paths)
    return node


def _write_authorities(ports: PreparePorts, file: BootstrapFile) -> None:
    """Write the authorities in the file, so that none has to be laid on this machine; the join names them by their paths."""
    for service in services_file.SERVICES:
        found = getattr(file.authorities, service)
        if found:
            path = ports.paths.authority(service)
            durable.make_folder(path.parent, ports.file_modes)
            text = node_certificates.pem(found).encode("ascii")
            durable.write_file(path, text, ports.file_modes)


def _take_certificate(ports: PreparePorts, own: NodeKeys, found: Welcome) -> None:
    """Keep the certificate that the installation made for this node's key; without one, the node makes its own later."""
    if own.asked is None or not found.certificate:
        return
    name = NodeName(own.installation_id, own.node_id)
    pair = own.asked.answered(found.certificate, found.authorities, name)
    written = OwnCertificate(name, present=pair, authorities=found.authorities)
    own_certificate.write(ports.paths, written)
