"""A node that has a keystore, a configuration key, a configuration and nothing else."""

from pathlib import Path

from strongroom import ids
from strongroom.clock import SystemClock
from strongroom.configuration_keys.keys import ConfigurationKeys
from strongroom.crypto import rng
from strongroom.keystore.pkcs12 import SecretKeyEntry
from strongroom.node.opening import Node
from strongroom.runtime.paths import DataPaths

ALIAS = "master-key-1"
STORE = b'{"a":"store"}'
ASSET_KEYS = b'{"asset":"keys"}'


def create_small_node(root: Path) -> Node:
    """Make it in an empty folder; whoever calls closes it."""
    node = Node(DataPaths(root), SystemClock())
    now, installation_id, key_id = node.clock.now(), ids.new_id(), ids.new_id()
    node.create_coordinator()
    keystore = node.keystore.create(SecretKeyEntry(ALIAS, rng.new_key(), now))
    key = rng.new_key()
    keys = ConfigurationKeys(node.keystore, keystore, installation_id)
    keys.create(keys.new_record(key, key_id=key_id, created_at=now, alias=ALIAS))
    document = node.configuration.initial_document(
        installation_id,
        key,
        key_id,
        now,
        {"kms.persistent_store": STORE, "asset.keys": ASSET_KEYS},
    )
    node.configuration.create(document)
    node.configuration.project()
    return node
