"""Composes backup and restore of a node, and what backups are opened with where there is no node.

Beside the composition root, which opens nodes; what is done is the business of `services.backups.make`,
`services.backups.restore` and `services.backups.verify`.
"""

import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path

from strongroom.backup.open_backup import OpenBackup
from strongroom.backup.opening import OpeningWays
from strongroom.clock import SystemClock
from strongroom.config import catalog
from strongroom.crypto.age import OpenWith
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import ConflictError, StateError, StrongroomError
from strongroom.extracts import place
from strongroom.filestore.base import PinningStore
from strongroom.kms import same_key
from strongroom.node import backup_roots, in_the_way, replacing, roots
from strongroom.node.opening import Node
from strongroom.roots.base import RootProvider, WrapRecord
from strongroom.roots.settings import RootSettings
from strongroom.runtime import running
from strongroom.services.backups import gather
from strongroom.services.backups.gather import NOTHING, Gathered
from strongroom.services.backups.keys import BackupKeys, KeyHolder
from strongroom.services.backups.make import BackupPorts, BackupService
from strongroom.services.backups.pinned_files import PinnedFiles, source_of
from strongroom.services.backups.restore import RestorePorts, RestoreService
from strongroom.services.keys.replacing import RESTORE_LOCK

_LOG = logging.getLogger("backgrounder.Backups")
Gathering = Callable[[], AbstractContextManager[Gathered]]
_RESTORE, _DRILL = ".restore", ".drill-"
_FOLDER_KEY = "basefilepath.backuprestore"
OWN_IDENTITY = "the identity of this installation"
GIVEN_IDENTITY = "the identity of --fingerprint"


def _nothing() -> AbstractContextManager[Gathered]:
    return nullcontext(NOTHING)


def folder(node: Node) -> Path:
    """Where backups lie."""
    held = catalog.check_held(_FOLDER_KEY, node.configuration.effective(_FOLDER_KEY))
    return node.paths.root.absolute() / (held or "")


def drill_folder(node: Node) -> Path:
    """Where a drill of this process tries rows: beside the repository, hidden."""
    return node.paths.repository.parent / f"{_DRILL}{os.getpid()}"


def backups(node: Node, keys: KeyHolder, parts: Gathering = _nothing) -> BackupService:
    """The service that makes backups.

    Args:
        node: The node.
        keys: Holds the keys: this process, or the serving one.
        parts: Gathers what each node of a cluster alone has.
    """
    ports = BackupPorts(
        repository=node.repository,
        files=node.files,
        scratch=node.paths.repository.parent,
        store=node.kms_store.stored,
        closed=node.kms_store.closed_stores,
        identity=lambda: key.identity if (key := node.identity.find()) else None,
        coordinator=node.coordinator,
        event_log=node.events,
        clock=node.clock,
        file_modes=node.file_modes,
        place=node.files_place,
        parts=parts,
        pinning=pinning(node),
    )
    return BackupService(ports, keys)


def pinning(node: Node) -> PinningStore | None:
    """The store in which extracts of a backup may be pinned; None if they lie on the disk."""
    address = node.files_place
    return None if address == place.DISK else node.object_store(address)


def pinned_stores(node: Node) -> tuple[PinningStore, ...]:
    """The stores in which extracts of backups may be pinned: the one in force, and those of a move that has not ended."""
    there = filter(None, place.read(node.coordinator)[0])
    return tuple(node.object_store(one) for one in there if one != place.DISK)


def pinned_files(node: Node, backup: OpenBackup, named: str = "") -> PinnedFiles | None:
    """The pinned extracts of a backup, in the store in force or the one that the operator names; None if it holds all.

    Raises:
        StateError: The backup names another store.
    """
    in_force = place.in_force(node.coordinator)
    return source_of(backup, in_force, named, node.object_store)


def tidy(node: Node) -> bool:
    """Remove leftovers of a killed backup, restore or drill, at the start of the server; returns whether there were any."""
    parent = node.paths.repository.parent
    made = (*parent.glob(f"{_DRILL}*"), *parent.glob(f"{gather.FOLDER}*"))
    left = [path for path in made if not _lives(path)]
    # left by a killed restore, since no restore runs while a server starts
    left += parent.glob(_RESTORE)
    for path in left:
        shutil.rmtree(path, ignore_errors=True)
    try:
        if not node.files.is_keeping:
            return bool(left)
        backups(node, BackupKeys(node.kms_store, node.assets, node.identity)).recover()
    except ConflictError:
        pass  # a backup that lives needs it
    except StrongroomError as error:
        # files that are kept too long only take room; a server that does not start would be worse
        _LOG.warning("what a killed backup kept stays until the next start: %s", error.with_hint)
        return bool(left)
    return True


def restores(node: Node) -> RestoreService:
    """Restores backups; within `alone`."""
    ports = RestorePorts(
        repository=node.repository,
        files=node.files,
        stored_files=node.stored_files,
        keeper=node.kms_store,
        assets=node.assets,
        event_log=node.events,
        clock=node.clock,
        scratch=node.paths.repository.parent / _RESTORE,
        prepare_others=lambda actor: _prepare_others(node, actor),
        # an empty put is refused as any other is when the lock is lost
        check_alone=lambda: node.coordinator.put({}) if node.outside is not None else None,
        in_force=lambda: place.in_force(node.coordinator),
        store_of=node.object_store,
    )
    return RestoreService(ports)


def means(
    node: Node | None,
    given: OpenWith,
    credential: SecretBytes | None,
    *,
    use_backup_roots: bool = False,
) -> OpeningWays:
    """The ways to open the keys of a backup: by the given secrets, and by the node's own.

    Args:
        node: The node, if there is one.
        given: Identities or a passphrase.
        credential: The credential of the root of the node that made the backup.
        use_backup_roots: Whether to ask the roots that the backup names, although an attacker may have written the
            names.
    """
    clock = node.clock if node else SystemClock()

    def build(settings: RootSettings) -> RootProvider:
        checked = backup_roots.checked(settings)
        if node is not None:
            return node.kms_store.providers.build(checked)
        return roots.provider(checked, clock)

    def recipient(wrap: WrapRecord, by: OpenWith) -> SecretBytes:
        return roots.recipient(wrap, by.identities, clock).unwrap(wrap)

    if node is None:
        return OpeningWays(
            build,
            backup_roots.checked,
            recipient,
            given=given,
            credential=credential,
            use_backup_roots=use_backup_roots,
        )
    return OpeningWays(
        build=build,
        check=backup_roots.checked,
        recipient=recipient,
        own_ring=lambda: node.kms_cache.opened().ring,
        own_root=node.kms_store.providers.find,
        other_ways=lambda wrap: [
            (way.root_key_id, root)
            for way, root in same_key.ways(
                wrap, node.kms_store.root_settings(), node.kms_store.providers.build
            )
        ],
        given=given,
        credential=credential,
        use_backup_roots=use_backup_roots,
        identities=_own_identity(node),
    )


def knowing(ways: OpeningWays, fingerprint: str) -> OpeningWays:
    """The same ways, and the identity of the source, whose fingerprint the operator noted; empty adds nothing."""
    known = {fingerprint: GIVEN_IDENTITY} if fingerprint else {}
    return replace(ways, identities={**ways.identities, **known})


def _own_identity(node: Node) -> dict[str, str]:
    """The identity of the node's installation; a node whose configuration does not open knows none."""
    with suppress(StrongroomError):
        if own := node.identity.fingerprint():
            return {own: OWN_IDENTITY}
    return {}


@contextmanager
def alone(node: Node) -> Iterator[None]:
    """Keep servers and backgrounders of all nodes away for as long as a restore takes.

    Raises:
        ConflictError: Another node restores a backup.
        StateError: A node is served, or a command works on its jobs; or each node has extracts of its own.
    """
    why = "a restore replaces what all nodes work on"
    with _held(node, lambda error: in_the_way.find(node, error).refusal(RESTORE_LOCK, why)):
        _check_files_are_shared(node)
        with replacing.others_off(node, RESTORE_LOCK, why):
            yield


def _check_files_are_shared(node: Node) -> None:
    if node.outside is None:
        return
    others = [one.node_id for one in node.peers.others()]
    if others and not node.shares_files:
        raise StateError(
            f"the extracts of {' and '.join(others)} lie on their own disks, and a restore on this node replaces only its own",
            hint="bring the extracts into an object store: 'strongroom extracts move'; or restore on a single node",
        )


def _prepare_others(node: Node, actor: str) -> tuple[str, ...]:
    """Have the other nodes, which are off, prove the KMS store at their next start: it gets keys of the backup.

    One that is merely cut off ends when it is back: it may have come too late to see the restore itself.
    """
    if node.outside is None:
        return ()
    replacing.leave_mark(node, RESTORE_LOCK)
    return node.peers.set_stale(actor, [one.node_id for one in node.peers.active_others()])


@contextmanager
def sole_user(node: Node, why: str) -> Iterator[None]:
    """Hold what a server and a backgrounder hold, so that neither works on the node meanwhile.

    Args:
        node: The node.
        why: The reason for which they are kept away, behind the words of who is there.

    Raises:
        StateError: The node is served, or a command works on its jobs.
    """

    def refusal(error: ConflictError) -> StateError:
        hint = "stop 'strongroom serve' and what runs jobs, then run the command again"
        return StateError(f"{error.message}: {why}", hint=hint)

    with _held(node, refusal):
        yield


@contextmanager
def _held(node: Node, refusal: Callable[[ConflictError], StateError]) -> Iterator[None]:
    with ExitStack() as stack:
        try:
            stack.enter_context(running.sole_server(node.paths))
            stack.enter_context(node.sole_worker.hold_all())
        except ConflictError as error:
            raise refusal(error) from error
        yield


def _lives(folder: Path) -> bool:
    return Path(f"/proc/{folder.name.rpartition('-')[2]}").exists()
