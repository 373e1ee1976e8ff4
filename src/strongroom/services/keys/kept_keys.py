"""Takes the keys that were kept for a node which was off while they were changed (docs/format/key-changes.md 3.3 to 3.6).

Such a node proves nothing in the coordination service any more. It knows who gave it the keys by its own disk; the keys
that are given prove all entries, the registry among them; and only then anything is written.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from strongroom.configuration_keys import authority, generations
from strongroom.configuration_keys.generations import ReadRecords
from strongroom.configuration_keys.keys import Coming, ConfigurationKeys
from strongroom.coordination import proving
from strongroom.coordination.base import Coordinator
from strongroom.coordination.proving import ProvingLoader
from strongroom.errors import IntegrityError, StateError
from strongroom.joining import key_bundles, registry
from strongroom.joining.key_bundles import KeyBundle, SealedBundle
from strongroom.joining.node_keys import NodeKeys, NodePublic
from strongroom.joining.registry import NodeState
from strongroom.keystore import pkcs12
from strongroom.keystore.master_key import Keystore
from strongroom.keystore.replicas import KeystoreDirectory

_HINT = "if that node came while this one was off, or this one is an older copy: bring it in anew, by a new bootstrap file"


class KeptPorts(NamedTuple):
    """The ports of a node that was off.

    Attributes:
        store: The coordination service, whose entries nobody has proved.
        own: The node's own keys.
        known: Reads the public keys of the other nodes from this node's disk.
        directory: The folders of the keystore.
        open_keys: Reads the key files of the node, while such a master key may have been added.
        keep_before: Keeps the bytes of records until nothing is sealed under them; an earlier run's are not replaced.
    """

    store: Coordinator
    own: NodeKeys
    known: Callable[[], Mapping[str, NodePublic]]
    directory: KeystoreDirectory
    open_keys: Callable[[Coming], ConfigurationKeys]
    keep_before: Callable[[bytes], None]


class Kept(NamedTuple):
    """Keys that are kept for this node, newer than its own, and signed by a node that it knows.

    Attributes:
        sealed: The bundle, as it lies there.
        bundle: The content.
        giver: The public keys of whoever kept it.
        files: The key files of this node, as they are.
    """

    sealed: SealedBundle
    bundle: KeyBundle
    giver: NodePublic
    files: ConfigurationKeys


def find(ports: KeptPorts) -> Kept | None:
    """The keys that are kept for this node, if they are newer than its own; nothing is changed.

    Raises:
        IntegrityError: The giver is no node that this one knows, or has not signed them.
        StrongroomError: The keys cannot be read.
    """
    own = ports.own
    found = proving.unproved(ports.store, key_bundles.entry(own.node_id))
    if found is None:
        return None
    sealed = key_bundles.parse(found.signed_payload)
    files = _opened(ports)
    if sealed.occasion.generation <= files.present.generation:
        return None
    giver = ports.known().get(sealed.by)
    if giver is None:
        raise IntegrityError(
            f"keys were changed while this node was off, and {sealed.by}, which kept the new ones for it, is not known here",
            hint=_HINT,
        )
    return Kept(sealed, sealed.opened(own, giver), giver, files)


def take(ports: KeptPorts) -> bool:
    """Write the keys that are kept for this node, if they are newer than its own; may be repeated.

    Returns:
        True if such keys were there.

    Raises:
        IntegrityError: The giver is no node that this one knows, or the keys do not prove what is there now.
        StateError: The node is none of the installation any more.
        StrongroomError: The keys cannot be read or written.
    """
    kept = find(ports)
    if kept is None:
        return False
    bundle = kept.bundle
    keystore = Keystore(tuple(pkcs12.parse(bundle.keystore, bundle.password)))
    read = generations.read(bundle.records, ports.own.installation_id, keystore)
    _check(kept.sealed, read, keystore)
    _check_registry(ports, kept.sealed.by, kept.giver, read, keystore)
    _write(ports, kept.files, keystore, bundle)
    return True


def _opened(ports: KeptPorts) -> ConfigurationKeys:
    """The key files; those of a run that was killed have the new master key, and the records before it still."""
    newest = ports.directory.load().newest
    return ports.open_keys(lambda _: newest)


def _check(sealed: SealedBundle, read: ReadRecords, keystore: Keystore) -> None:
    """Refuse keys that are not whole, or not of the generation that the giver signed.

    Raises:
        IntegrityError: The keys are none of these.
    """
    if read.alias != keystore.newest or read.present.generation != sealed.occasion.generation:
        raise IntegrityError("the keys that were kept for this node do not fit each other")


def _check_registry(
    ports: KeptPorts, by: str, giver: NodePublic, read: ReadRecords, keystore: Keystore
) -> None:
    """Have the keys prove every entry, and compare what the registry says then.

    Raises:
        IntegrityError: The keys do not prove the entries, as older ones do not; or the giver is no active node.
        StateError: This node is none of the installation any more.
    """
    keys = authority.keys_of(read, keystore)
    entries = ProvingLoader(ports.store, keys).list("")
    own = ports.own
    nodes = {
        name.removeprefix(registry.PREFIX): registry.parse(one.payload, own.installation_id)
        for name, one in entries.items()
        if name.startswith(registry.PREFIX)
    }
    here, there = nodes.get(own.node_id), nodes.get(by)
    if here is None or here.keys != own.public or here.state is not NodeState.STALE:
        raise StateError(
            "keys are kept for this node, and it is none that was off",
            hint="bring it in anew, by a new bootstrap file",
        )
    if there is None or there.keys != giver or there.state is not NodeState.ACTIVE:
        raise IntegrityError(
            f"keys were kept for this node by {by}, which is no active node", hint=_HINT
        )


def _write(
    ports: KeptPorts, files: ConfigurationKeys, keystore: Keystore, bundle: KeyBundle
) -> None:
    """Write keystore and records; after a kill in between the node opens what it keeps itself, and begins again."""
    ports.keep_before(files.path.read_bytes())
    both = ports.directory.load()
    for one in keystore.entries:
        both = both.with_entry(one)
    ports.directory.take(both)
    _opened(ports).take(bundle.records)
