"""The places of single-shot seals, one function for each purpose (docs/format/seals.md 1.4); pure.

An id is given as its text. Each function takes exactly what binds a seal of its purpose, so that none can be forgotten.
"""

import hashlib

from strongroom.crypto import labels
from strongroom.crypto.seals import Place
from strongroom.ids import id_bytes


def of_value(installation_id: str, key_id: str, parameter: str) -> Place:
    """The place of a secret value of the configuration, under the configuration key."""
    return Place(labels.SEAL_ENC, (*_ids(installation_id, key_id), parameter.encode("utf-8")))


def of_pending(installation_id: str, key_id: str, base_version: int, number: int) -> Place:
    """The place of the pending transaction, under the configuration key.

    Args:
        installation_id: The installation.
        key_id: The configuration key.
        base_version: Version of the configuration document when the transaction began.
        number: The number of the transaction, which grows with each change of it.
    """
    numbers = (base_version.to_bytes(8, "big"), number.to_bytes(8, "big"))
    return Place(labels.SEAL_PENDING, (*_ids(installation_id, key_id), *numbers))


def of_closed_store(installation_id: str, key_id: str, sha256: bytes) -> Place:
    """The place of a closed KMS store of this digest, under the configuration key."""
    return Place(labels.SEAL_FORMER, (*_ids(installation_id, key_id), sha256))


def of_next_store(installation_id: str, key_id: str, change_id: str) -> Place:
    """The place of a KMS store that is staged and not in force, under the configuration key."""
    return Place(labels.SEAL_NEXT_STORE, _ids(installation_id, key_id, change_id))


def of_configuration_key(installation_id: str, key_id: str, wrap_id: str) -> Place:
    """The place of a configuration key, under a master key."""
    return Place(labels.SEAL_CONFIGURATION_KEY, _ids(installation_id, key_id, wrap_id))


def of_local_root(installation_id: str, rmk_id: str, wrap_id: str) -> Place:
    """The place of the RMK in local mode, under the configuration key."""
    return Place(labels.SEAL_ROOT_LOCAL, _ids(installation_id, rmk_id, wrap_id))


def of_indirect_root(installation_id: str, rmk_id: str, wrap_id: str) -> Place:
    """The place of the RMK under the data key of a root."""
    return Place(labels.SEAL_ROOT_INDIRECT, _ids(installation_id, rmk_id, wrap_id))


def of_mek(installation_id: str, rmk_id: str, mek_id: str) -> Place:
    """The place of a MEK in the KMS store, under the RMK."""
    return Place(labels.SEAL_MEK, _ids(installation_id, rmk_id, mek_id))


def of_asset(installation_id: str, asset_key_id: str, content_id: str) -> Place:
    """The place of a credential of content, under an asset key."""
    return Place(labels.SEAL_ASSET, _ids(installation_id, asset_key_id, content_id))


def of_backup_assets(installation_id: str, rmk_id: str, backup_id: str) -> Place:
    """The place of a backup's asset keys, under the RMK."""
    return Place(labels.SEAL_BACKUP_ASSETS, _ids(installation_id, rmk_id, backup_id))


def of_backup_rmk(installation_id: str, rmk_id: str, backup_id: str, mek_id: str) -> Place:
    """The place of a backup's RMK, under a MEK."""
    return Place(labels.SEAL_BACKUP_RMK, _ids(installation_id, rmk_id, backup_id, mek_id))


def of_service_value(key_id: str, version: int, associated: bytes) -> Place:
    """The place of a value that a service gave, under a version of a service key."""
    return Place(
        labels.SEAL_BY_SERVICE_KEY, (id_bytes(key_id), version.to_bytes(4, "big"), associated)
    )


def of_derived_value(key_id: str, version: int, context: bytes, associated: bytes) -> Place:
    """The place of a value that a service gave with a context, under a version of a derived service key."""
    digest = hashlib.sha256(context).digest()
    return Place(
        labels.SEAL_BY_DERIVED_KEY,
        (id_bytes(key_id), version.to_bytes(4, "big"), digest, associated),
    )


def _ids(*texts: str) -> tuple[bytes, ...]:
    return tuple(map(id_bytes, texts))
