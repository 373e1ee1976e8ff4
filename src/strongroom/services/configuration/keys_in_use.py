"""The configuration keys that are needed: by the document, the one before it, pending changes, and rotations under way."""

from collections.abc import Mapping

from strongroom.config import rotation, versions
from strongroom.config.document import ConfigDocument
from strongroom.config.pending import key_id_of_pending
from strongroom.config.reseal import key_ids_in
from strongroom.coordination.base import Coordinator
from strongroom.crypto.secret import SecretBytes
from strongroom.services.configuration.pending_store import PendingStore


def of(
    document: ConfigDocument,
    coordinator: Coordinator,
    pending: PendingStore,
    opened: Mapping[str, SecretBytes] | None,
) -> frozenset[str]:
    """The ids of the keys; `ConfigurationService.configuration_keys_in_use` says what they are for.

    Args:
        document: The present configuration.
        coordinator: Holds the other entries.
        pending: Opens the pending transaction, which names the keys of its values inside.
        opened: Configuration keys by id, where the keystore may be lost; None to open keys by the keystore.
    """
    used = {document.configuration_key_id, *key_ids_in(document.values)}
    previous = versions.load_previous(coordinator)
    if previous is not None:
        used |= {previous.configuration_key_id, *key_ids_in(previous.values)}
    entry = coordinator.get(versions.PENDING)
    if entry is not None:
        sealed_by = key_id_of_pending(entry.value)
        used.add(sealed_by)
        if opened is None or sealed_by in opened:
            loaded = pending.load(document, opened)
            used |= key_ids_in(loaded.pending.changes) if loaded else set()
    return frozenset(used | rotation.key_ids(coordinator))
