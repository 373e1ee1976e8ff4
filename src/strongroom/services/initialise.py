"""Creates everything a new node has (C-03, K-03): keystore, keys, secrets, repository, administrator.

It works in the folder it is given and knows nothing of the one before; whoever calls it makes the
finished folder visible in one step, so that a node is there whole or not at all.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from strongroom import durable
from strongroom.clock import Clock
from strongroom.crypto import rng
from strongroom.crypto.secret import SecretBytes
from strongroom.eventlog import events
from strongroom.eventlog.base import Event, EventLog
from strongroom.ids import InstallationId, new_id
from strongroom.keystore import master_key
from strongroom.keystore.configuration_key import ConfigurationKeys
from strongroom.keystore.key_records import ConfigurationKeyState
from strongroom.keystore.replicas import KeystoreDirectory
from strongroom.kms import store as kms_store
from strongroom.repository.unit_of_work import Repository
from strongroom.roots.base import RootProvider
from strongroom.secrets import asset_ring, enc
from strongroom.services import assets, event_signing, kms_change, platform
from strongroom.services.configuration import ConfigurationService
from strongroom.services.kms_change import RootSet
from strongroom.services.kms_keeper import EpochMarks
from strongroom.services.kms_sealed import STORE

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
    log: EventLog
    clock: Clock
    access: durable.Access
    folders: tuple[Path, ...]
    node_id: str


@dataclass(frozen=True)
class NewNode:
    """What was made."""

    root: Path
    installation_id: str
    configuration_key_id: str
    rmk_id: str
    mek_id: str


def initialise(
    ports: NewNodePorts, root: Path, admin: str, password: SecretBytes, actor: str
) -> NewNode:
    """Make everything, in the order in which one thing needs the other.

    Args:
        ports: Of the folder in which the node is made.
        root: The data directory as it will be called.
        admin: Name of the first server administrator.
        password: The administrator's password.
        actor: Who asks.
    """
    for folder in ports.folders:
        durable.make_folder(folder, ports.access)
    installation_id, key_id = InstallationId(new_id()), new_id()
    key = _make_keys(ports, installation_id, key_id)
    change = _make_configuration(ports, installation_id, key, key_id)
    platform.create_platform(
        ports.repository,
        ports.log,
        ports.clock,
        actor,
        admin_name=admin,
        admin_password=password,
    )
    ports.marks.write(change.store.epoch, kms_store.digest(change.raw))
    ports.configuration.project()
    made = NewNode(root, installation_id, key_id, change.store.rmk_id, change.ring.active.id)
    ports.log.append(_told(ports, made, actor))
    return made


def _make_keys(ports: NewNodePorts, installation_id: str, key_id: str) -> SecretBytes:
    directory, now = ports.directory, ports.clock.now()
    durable.make_folder(directory.password_file.parent, ports.access)
    durable.write_file(directory.password_file, rng.new_password().reveal(), ports.access)
    entry = master_key.new_master_key(now)
    directory.create(entry)
    keys, key = ports.open_keys(installation_id), rng.new_key()
    keys.create(
        keys.new_record(
            key,
            key_id=key_id,
            created_at=now,
            alias=entry.alias,
            state=ConfigurationKeyState.ACTIVE,
        )
    )
    return key


def _make_configuration(
    ports: NewNodePorts, installation_id: InstallationId, key: SecretBytes, key_id: str
) -> kms_change.NextStore:
    now = ports.clock.now()
    root = ports.local_root(key_id, lambda _: key)
    change = kms_change.first(installation_id, RootSet("local", root), now)
    kms_change.prove(change, lambda _: root)
    hierarchy = {
        STORE: change.raw,
        assets.PARAMETER: asset_ring.serialize(assets.first_ring(ports.clock)),
        event_signing.PARAMETER: rng.new_key().reveal(),
    }
    document = ports.configuration.initial_document(installation_id, key, key_id, now, hierarchy)
    ports.configuration.create(document)
    return change


def _told(ports: NewNodePorts, made: NewNode, actor: str) -> list[Event]:
    document = ports.configuration.document()
    aliases = ports.directory.load().aliases
    return [
        *(events.key_generated(actor, "master", alias) for alias in aliases),
        events.key_generated(actor, "configuration", made.configuration_key_id),
        events.key_generated(actor, "rmk", made.rmk_id),
        events.key_generated(actor, "mek", made.mek_id),
        *(
            events.secret_encrypted(actor, name, made.configuration_key_id)
            for name, text in sorted(document.values.items())
            if enc.is_enc(text)
        ),
        events.node_initialised(actor, made.installation_id, ports.node_id),
    ]
