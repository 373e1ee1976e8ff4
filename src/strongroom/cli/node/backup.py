"""`strongroom backup`: make, verify and restore in one place; only what a backup is worth is written here.

`make` and `restore` are the commands of `tsm maintenance`, under the names that people look for (findings F2).
"""

import argparse
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from strongroom.cli.named_files import identity
from strongroom.cli.node import backup_options, backup_pins, maintenance
from strongroom.cli.node.backup_options import Stages
from strongroom.cli.terminal import sizes
from strongroom.cli.terminal.session import Session
from strongroom.errors import (
    IncompleteError,
    KeyNotFoundError,
    NotFoundError,
    PermissionDeniedError,
    StateError,
    UsageError,
)
from strongroom.system.plural import counted

if TYPE_CHECKING:
    from strongroom.backup.nodes import NodesInBackup
    from strongroom.backup.open_backup import OpenBackup
    from strongroom.backup.opening import Opened, OpeningWays
    from strongroom.node.opening import Node
    from strongroom.services.backups.verify import Receipt


def build_parser(prog: str, verb: str) -> argparse.ArgumentParser:
    """The parser of `backup`."""
    parser = argparse.ArgumentParser(prog=prog, description=f"make, verify and restore a {verb}")
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    maintenance.add_backup(
        verbs.add_parser("make", help="the same as tsm maintenance backup: write a backup")
    )
    maintenance.add_restore(
        verbs.add_parser(
            "restore", help="the same as tsm maintenance restore: replace what is there"
        )
    )
    backup_pins.add_pins(
        verbs.add_parser("pins", help="list or release what is kept for backups without extracts")
    )
    verify = verbs.add_parser("verify", help="look at every byte, and authenticate it if keys open")
    verify.add_argument("file", metavar="FILE", help="a path, or a name in the folder of backups")
    verify.add_argument(
        "--drill",
        action="store_true",
        help="open every extract's header and read a sample, and print a receipt",
    )
    verify.add_argument(
        "--digests-only",
        action="store_true",
        help="open no keys: this finds damage, not somebody who makes a backup of their own",
    )
    backup_options.add_open_options(verify)
    verify.add_argument("--json", action="store_true", help="print the receipt as JSON")
    sizes.add_option(verify)
    verify.set_defaults(run=_verify)
    return parser


def _verify(arguments: argparse.Namespace, session: Session) -> int:
    from strongroom.backup import opening
    from strongroom.backup.open_backup import OpenBackup
    from strongroom.clock import SystemClock
    from strongroom.filestore.blockfile import OpenedFile
    from strongroom.services.backups import verify as drills

    _check_words(arguments)
    node = _node(session)
    path = backup_options.find(arguments.file, node)
    with OpenedFile(path) as file, Stages() as stages:
        backup = OpenBackup.check(file, stages.begin("verify", file.size))
        backup_options.check_manifest(arguments, backup)
        backup_options.check_fingerprint(arguments, backup)
        means = _means(node, arguments)
        opened = _opened(backup, means, arguments, session)
        clock = session.node.clock if node else SystemClock()
        receipt = drills.receipt_of(backup, path, file.size, opened, clock)
        if opened is None:
            receipt.origin = opening.origin_by_identity(backup, means)
            receipt.authenticated = bool(receipt.origin)
        if arguments.drill and opened is not None:
            _drill(backup, opened, receipt, node, stages)
            _leave_event(receipt, node, session)
        nodes = backup.nodes
    _tell(receipt, arguments, session, nodes)
    if opened is None and not arguments.digests_only:
        return KeyNotFoundError.exit_code
    may_be_elsewhere = nodes is not None and nodes.may_be_elsewhere and not receipt.unreadable
    if not (receipt.is_good or may_be_elsewhere):
        return 1
    return IncompleteError.exit_code if receipt.missing or receipt.lost else 0


def _check_words(arguments: argparse.Namespace) -> None:
    opens = (
        arguments.drill,
        arguments.identity,
        arguments.share,
        arguments.passphrase_file,
        arguments.root_credential_file,
        arguments.use_backup_roots,
    )
    if arguments.digests_only and any(opens):
        raise UsageError("--digests-only opens nothing: it goes with nothing that opens keys")


def _node(session: Session) -> "Node | None":
    """The node, if there is one: a backup may be looked at anywhere."""
    try:
        return session.whole_node
    except (NotFoundError, PermissionDeniedError):
        return None


def _means(node: "Node | None", arguments: argparse.Namespace) -> "OpeningWays":
    from strongroom.node import backup as node_backups

    ways = node_backups.means(
        node,
        backup_options.open_with(arguments),
        backup_options.credential(arguments),
        use_backup_roots=arguments.use_backup_roots,
    )
    return node_backups.knowing(ways, identity.given(arguments))


def _opened(
    backup: "OpenBackup", means: "OpeningWays", arguments: argparse.Namespace, session: Session
) -> "Opened | None":
    from strongroom.backup import opening

    if arguments.digests_only:
        session.note("the digests are right; whether the backup is genuine was not looked at")
        return None
    try:
        opened = opening.open_keys(backup, means)
        return backup_options.pinned(arguments, opened)
    except opening.NOT_OPENED as error:
        if arguments.drill or not means.given.is_empty:
            raise
        session.note(f"the digests are right, but it was not authenticated: {error.message}")
        session.note(f"hint: {error.hint}; --digests-only is content with the digests")
        return None


def _drill(
    backup: "OpenBackup", opened: "Opened", receipt: "Receipt", node: "Node | None", stages: Stages
) -> None:
    from strongroom.node import backup as node_backups
    from strongroom.services.backups import verify as drills

    if node is not None:
        try:
            pinned = node_backups.pinned_files(node, backup)
        except StateError:
            # in another store than this node's: the receipt says that nothing was looked for
            pinned = None
        trial = node_backups.drill_folder(node)
        drills.drill(backup, opened, trial, receipt, stages.begin, pinned)
        return
    with tempfile.TemporaryDirectory(prefix="strongroom-") as folder:
        drills.drill(backup, opened, Path(folder) / "trial", receipt, stages.begin)


def _leave_event(receipt: "Receipt", node: "Node | None", session: Session) -> None:
    """Keys were opened: the node's log is told, if there is one."""
    from strongroom.eventlog.events import backup_events

    if node is not None:
        missing = len(receipt.unreadable) + len(receipt.lost)
        event = backup_events.backup_verified(
            session.actor, receipt.backup, opened=receipt.opened, missing=missing
        )
        session.node.events.append([event])


def _state(receipt: "Receipt") -> str:
    """The proved facts about a backup, in words that claim no more than was proved."""
    if receipt.authenticated:
        proof = receipt.origin
        return (
            "yes, by "
            + proof
            + ("" if receipt.opened_by in {"", proof} else f", opened by {receipt.opened_by}")
        )
    return f"opened by {receipt.opened_by}; origin not proved" if receipt.opened_by else "no"


def _tell(
    receipt: "Receipt",
    arguments: argparse.Namespace,
    session: Session,
    nodes: "NodesInBackup | None",
) -> None:
    if arguments.json:
        session.out_json(asdict(receipt))
        return
    session.out(
        f"Backup: {receipt.backup} of {receipt.created_at}, {sizes.phrase(arguments, receipt.bytes)}"
    )
    session.out(f"Manifest: {receipt.manifest}")
    session.out(f"Fingerprint: {receipt.fingerprint or '-'}")
    session.out(f"Entries: {receipt.entries}, every digest is right")
    session.out(f"Authenticated: {_state(receipt)}")
    meks = counted(len(receipt.meks), "MEK")
    session.out(f"RMK: {receipt.rmk} ({receipt.mode}), {meks}")
    if receipt.pinned_in:
        looked = f"{receipt.pinned_seen} looked for" if receipt.drill else "not looked for"
        session.out(
            f"Not in the file: {counted(receipt.pinned, 'extract')}, pinned in {receipt.pinned_in}"
            f" until {receipt.pinned_until}; {looked}"
        )
    if receipt.drill:
        session.out(f"Extracts: {receipt.encrypted} encrypted, {receipt.plain} plain")
        session.out(f"Opened: {receipt.opened}; read whole: {receipt.bodies}")
        for mek_id, count in sorted(receipt.by_mek.items()):
            session.out(f"  {mek_id}: {count}")
    for content_id, reason in receipt.unreadable.items():
        session.out(f"Cannot be read: {content_id}: {reason}")
    for content_id in receipt.lost:
        words = backup_options.lost_words(nodes)
        session.out(f"{words[0].upper()}{words[1:]}: {content_id}")
    for one in nodes.nodes if nodes else ():
        log = f"{counted(one.events, 'event')} of its log" if one.files else "no event log"
        session.out(f"Node {one.node}: {log}{f'; {one.missing}' if one.missing else ''}")
