"""The small entries behind the extracts of a backup: the KMS store, its closed stores and the wrapped keys."""

from collections.abc import Callable, Mapping

from strongroom.backup import manifest
from strongroom.backup.keys import WrappedKeys
from strongroom.errors import ConflictError, StateError
from strongroom.kms.any_store import AnyStore
from strongroom.kms.closed_stores import ClosedStore
from strongroom.kms.store_1 import KmsStore1
from strongroom.system.plural import counted


def of_closed(store: AnyStore, read: Callable[[], Mapping[ClosedStore, bytes]]) -> dict[str, bytes]:
    """The closed stores that a store names, by the names of their entries.

    Raises:
        ConflictError: The store was changed since it was read, and a closed store is gone.
    """
    if isinstance(store, KmsStore1):
        return {}  # a store of format 1 has its closed stores in itself
    there = read()
    if not there.keys() >= set(store.former):
        raise ConflictError("keys were changed while the backup was made", hint="run it again")
    return {f"{manifest.CLOSED}{one.digest}": there[one] for one in store.former}


def of_keys(
    raw: bytes, closed: Mapping[str, bytes], wrapped: WrappedKeys, settings: bytes
) -> dict[str, bytes]:
    """All of them in their order, without those that are empty.

    Args:
        raw: The KMS store.
        closed: The closed stores by the names of their entries.
        wrapped: The wrapped keys.
        settings: The sealed settings; empty for none.
    """
    found = {
        manifest.STORE: raw,
        **closed,
        manifest.ROOTS: wrapped.roots,
        manifest.ASSETS: wrapped.assets,
        manifest.BY_MEK: wrapped.by_mek,
        manifest.SEALED: wrapped.sealed,
        manifest.SETTINGS: settings,
    }
    return {name: data for name, data in found.items() if data}


def check(entries: Mapping[str, bytes]) -> None:
    """Refuse entries that a reader would refuse (docs/format/backup.md 4.4).

    Raises:
        StateError: An entry is too long.
    """
    for name, data in entries.items():
        if len(data) > manifest.MAX_KEY_BYTES:
            raise StateError(
                f"{name} of the backup would have {counted(len(data), 'byte')}, more than"
                f" {manifest.MAX_KEY_BYTES}",
                hint="retire MEKs that nothing uses, seal to fewer recipients",
            )
