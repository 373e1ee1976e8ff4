"""Creates the first node of an installation (C-03, K-03): keystore, keys, secrets, repository, administrator.

All is made in a folder that the caller gives. The caller renames the finished folder to its final name in one step, so
that a crash leaves a whole node or none.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from strongroom.clock import Clock
from strongroom.configuration_keys.keys import ConfigurationKeys
from strongroom.crypto import rng
from strongroom.crypto.installation_identity import IdentityKey
from strongroom.crypto.secret import SecretBytes
from strongroom.crypto.statements import Origin
from strongroom.eventlog.base import Event, EventLog
from strongroom.eventlog.events import key_events, node_events, secret_events
from strongroom.ids import InstallationId, new_id
from strongroom.keystore import master_key
from strongroom.keystore.replicas import KeystoreDirectory
from strongroom.kms import next_store
from strongroom.kms.next_store import RootSet
from strongroom.repository.unit_of_work import Repository
from strongroom.roots.base import RootProvider
from strongroom.roots.registry import LOCAL
from strongroom.secrets import asset_ring, enc
from strongroom.services.configuration.service import ConfigurationService
from strongroom.services.directory import first_rows
from strongroom.services.keys import identity, log_signing
from strongroom.services.keys.rollback import EpochMarks
from strongroom.services.keys.stored import STORE
from strongroom.services.secrets import embedded
from strongroom.system import durable

OpenKey = Callable[[str], SecretBytes]


@dataclass(frozen=True)
class NewNodePorts:
    """The ports of a node that does not exist yet."""

    directory: KeystoreDirectory
    open_keys: Callable[[str], ConfigurationKeys]
    local_root: Callable[[str, OpenKey], RootProvider]
    configuration: ConfigurationService
    repository: Repository
    marks: EpochMarks
    event_log: EventLog
    clock: Clock
    file_modes: durable.FileModes
    folders: tuple[Path, ...]
    node_id: str


@dataclass(frozen=True)
class NewNode:
    """The node that was created; ids, and the fingerprint of the installation's identity."""

    root: Path
    installation_id: str
    configuration_key_id: str
    rmk_id: str
    mek_id: str
    fingerprint: str


def initialise(
    ports: NewNodePorts, root: Path, admin: str, password: SecretBytes, actor: str
) -> NewNode:
    """Create the node's parts, in the order in which they need each other.

    Args:
        ports: The ports of the folder in which the node is made.
        root: The final path of the data directory.
        admin: Name of the first server administrator.
        password: The administrator's password.
        actor: The person or process that asks, for the events.
    """
    for folder in ports.folders:
        durable.make_folder(folder, ports.file_modes)
    installation_id, key_id = InstallationId(new_id()), new_id()
    key = _make_keys(ports, installation_id, key_id)
    change, signer = _make_configuration(ports, installation_id, key, key_id)
    first_rows.create_platform(
        ports.repository,
        ports.event_log,
        ports.clock,
        actor,
        admin_name=admin,
        admin_password=password,
    )
    ports.marks.write(change.store.known(change.raw))
    ports.configuration.project()
    made = NewNode(
        root,
        installation_id,
        key_id,
        change.store.rmk_id,
        change.ring.active.id,
        signer.fingerprint,
    )
    ports.event_log.append(_events(ports, made, actor))
    return made


def _make_keys(ports: NewNodePorts, installation_id: str, key_id: str) -> SecretBytes:
    directory, now = ports.directory, ports.clock.now()
    durable.make_folder(directory.password_file.parent, ports.file_modes)
    durable.write_file(directory.password_file, rng.new_password().reveal(), ports.file_modes)
    entry = master_key.new_master_key(now)
    directory.create(entry)
    keys, key = ports.open_keys(installation_id), rng.new_key()
    keys.create(keys.wrapping.new_record(key, key_id=key_id, created_at=now, alias=entry.alias))
    return key


def _make_configuration(
    ports: NewNodePorts, installation_id: InstallationId, key: SecretBytes, key_id: str
) -> tuple[next_store.NextStore, IdentityKey]:
    now, seed = ports.clock.now(), rng.new_key()
    root = ports.local_root(key_id, lambda _: key)
    change = next_store.initial(installation_id, RootSet(LOCAL, root), now)
    next_store.prove(change, lambda _: root)
    hierarchy = {
        STORE: change.raw,
        embedded.PARAMETER: asset_ring.serialize(embedded.first_ring(ports.clock)),
        log_signing.PARAMETER: rng.new_key().reveal(),
        identity.PARAMETER: seed.reveal(),
    }
    document = ports.configuration.initial_document(installation_id, key, key_id, now, hierarchy)
    ports.configuration.create(document)
    return change, IdentityKey(Origin(installation_id), seed)


def _events(ports: NewNodePorts, made: NewNode, actor: str) -> list[Event]:
    document = ports.configuration.document()
    aliases = ports.directory.load().aliases
    return [
        *(key_events.key_generated(actor, "master", alias) for alias in aliases),
        key_events.key_generated(actor, "configuration", made.configuration_key_id),
        key_events.key_generated(actor, "rmk", made.rmk_id),
        key_events.key_generated(actor, "mek", made.mek_id),
        key_events.key_generated(actor, identity.KIND, made.fingerprint),
        *(
            secret_events.secret_encrypted(actor, name, made.configuration_key_id)
            for name, text in sorted(document.values.items())
            if enc.is_enc(text)
        ),
        node_events.node_initialised(actor, made.installation_id, ports.node_id),
    ]
