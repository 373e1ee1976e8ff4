"""Composes backup and restore of a node, and what backups are opened with where there is no node.

Beside the composition root, which opens nodes; what is done is the business of `services.backups`,
`services.restores` and `services.drills`.
"""

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from strongroom import backup_roots, bootstrap_roots
from strongroom.bootstrap import Node
from strongroom.clock import SystemClock
from strongroom.crypto.age import OpenWith
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import ConflictError, StateError, StrongroomError
from strongroom.filestore import pins
from strongroom.roots.base import RootProvider, WrapRecord
from strongroom.roots.settings import RootSettings
from strongroom.services.backup_keys import BackupKeys, KeyRoom
from strongroom.services.backup_opening import Means
from strongroom.services.backups import BackupPorts, BackupService
from strongroom.services.restores import RestorePorts, RestoreService
from strongroom.topology import running

_LOG = logging.getLogger("backgrounder.Backups")
_RESTORE, _DRILL = ".restore", ".drill-"
_FOLDER_KEY = "basefilepath.backuprestore"


def folder(node: Node) -> Path:
    """Where backups lie."""
    return node.paths.root / (node.configuration.effective(_FOLDER_KEY) or "")


def drill_folder(node: Node) -> Path:
    """Where a drill of this process tries rows: beside the repository, hidden."""
    return node.paths.repository.parent / f"{_DRILL}{os.getpid()}"


def backups(node: Node, keys: KeyRoom) -> BackupService:
    """Makes backups with the keys of whoever holds them."""
    ports = BackupPorts(
        repository=node.repository,
        pins=pins.Pins(node.files.path, node.paths.extracts / pins.FOLDER),
        store=lambda: node.keeper.current()[1],
        coordinator=node.coordinator,
        log=node.events,
        clock=node.clock,
        access=node.access,
    )
    return BackupService(ports, keys)


def tidy(node: Node) -> bool:
    """At the start of the server: let go of what a killed backup, restore or drill kept; says whether there was any."""
    parent = node.paths.repository.parent
    left = [path for path in parent.glob(f"{_DRILL}*") if not _lives(path)]
    left += parent.glob(_RESTORE)  # whoever serves restores nothing
    for path in left:
        shutil.rmtree(path, ignore_errors=True)
    if not (node.paths.extracts / pins.FOLDER).exists():
        return bool(left)
    try:
        backups(node, BackupKeys(node.keeper, node.assets)).recover()
    except ConflictError:
        pass  # a backup that lives needs it
    except StrongroomError as error:
        # what is kept too long takes room; a server that does not start helps nobody
        _LOG.warning("what a killed backup kept stays until the next start: %s", error.message)
    return True


def restores(node: Node) -> RestoreService:
    """Restores backups; within `alone`."""
    ports = RestorePorts(
        repository=node.repository,
        files=node.files,
        stored_files=node.stored_files,
        keeper=node.keeper,
        assets=node.assets,
        log=node.events,
        clock=node.clock,
        folder=node.paths.extracts,
        scratch=node.paths.repository.parent / _RESTORE,
    )
    return RestoreService(ports)


def means(
    node: Node | None,
    given: OpenWith,
    credential: SecretBytes | None,
    *,
    use_backup_roots: bool = False,
) -> Means:
    """What the keys of a backup may be opened with: what is given, and what the node has.

    Args:
        node: The node, if there is one.
        given: Identities or a passphrase.
        credential: Of the source's root.
        use_backup_roots: Whether the roots that the backup names are asked, which nobody authenticated.
    """
    clock = node.clock if node else SystemClock()

    def build(settings: RootSettings) -> RootProvider:
        checked = backup_roots.checked(settings)
        if node is not None:
            return node.keeper.roots.build(checked)
        built: RootProvider = bootstrap_roots.root_module(checked.kind).build(checked, clock)
        return built

    def recipient(wrap: WrapRecord, by: OpenWith) -> SecretBytes:
        module = bootstrap_roots.root_module(wrap.kind)
        opened: SecretBytes = module.RecipientRoot(
            module.of_wrap(wrap), clock, by.identities
        ).unwrap(wrap)
        return opened

    if node is None:
        return Means(
            build,
            backup_roots.checked,
            recipient,
            given=given,
            credential=credential,
            use_backup_roots=use_backup_roots,
        )
    return Means(
        build=build,
        check=backup_roots.checked,
        recipient=recipient,
        own_ring=lambda: node.keys.opened().ring,
        own_root=node.keeper.roots.find,
        given=given,
        credential=credential,
        use_backup_roots=use_backup_roots,
    )


@contextmanager
def alone(node: Node) -> Iterator[None]:
    """Keep server and backgrounder away for as long as a restore takes.

    Raises:
        StateError: The node is served, or a command works on its jobs.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(running.sole_server(node.paths))
            worker = f"backgrounder-{node.paths.node_id}"
            stack.enter_context(node.coordinator.lock(worker, wait_s=0))
        except ConflictError as error:
            raise StateError(
                f"{error.message}: a restore replaces what it works on",
                hint="stop 'strongroom serve' and what runs jobs, then run the command again",
            ) from error
        yield


def _lives(folder: Path) -> bool:
    return Path(f"/proc/{folder.name.removeprefix(_DRILL)}").exists()
