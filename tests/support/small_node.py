"""A node that has a keystore, a configuration key, a configuration and nothing else."""

import shutil
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
    keys.create(keys.wrapping.new_record(key, key_id=key_id, created_at=now, alias=ALIAS))
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


def copy_small_node(pristine: Path, root: Path) -> Node:
    """A node like one that was made by `create_small_node` and closed, in a fifth of the time; whoever calls closes it.

    Args:
        pristine: The data directory of that one.
        root: Where the copy is to lie, an empty folder or none: the same installation with the same keys.
    """
    shutil.copytree(pristine, root, dirs_exist_ok=True)
    return Node(DataPaths(root), SystemClock())
