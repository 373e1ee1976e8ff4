"""`tsm maintenance`: backup and restore (A-24 to A-26, C-13), and the verbs of the maintenance itself."""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from strongroom.cli.named_files import identity, sealing
from strongroom.cli.node import backup_options, backup_pins, calls, log_archive, maintenance_mode
from strongroom.cli.node.backup_options import Stages
from strongroom.cli.terminal import asking, sizes
from strongroom.cli.terminal.session import Session
from strongroom.errors import ConflictError, IncompleteError, UsageError
from strongroom.roots import registry
from strongroom.system.plural import counted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from strongroom.backup.keys import WrappedKeys
    from strongroom.backup.manifest import Seal
    from strongroom.backup.nodes import NodesInBackup
    from strongroom.crypto.age import SealTo
    from strongroom.services.backups.keys import SealRequest, WrapRequest
    from strongroom.services.backups.make import BackupMade
    from strongroom.services.backups.restore import Restored


def build_parser(prog: str, verb: str) -> argparse.ArgumentParser:
    """The parser of `maintenance`."""
    parser = argparse.ArgumentParser(prog=prog, description=f"{verb}: backup, restore, maintenance")
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    add_backup(verbs.add_parser("backup", help="write repository, extracts and wrapped keys"))
    add_restore(verbs.add_parser("restore", help="put a backup in the place of what is there"))
    maintenance_mode.add_verbs(verbs)
    log_archive.add_ziplogs(verbs.add_parser("ziplogs", help="archive the logs, secrets masked"))
    log_archive.add_cleanup(verbs.add_parser("cleanup", help="say that nothing needs it"))
    return parser


def add_backup(parser: argparse.ArgumentParser) -> None:
    """The arguments of what makes a backup."""
    parser.add_argument("-f", "--file", required=True, metavar="NAME", help="name, without a path")
    parser.add_argument(
        "-d", "--append-date", action="store_true", help="append -yyyy-mm-dd, the local date"
    )
    parser.add_argument("-i", "--description", default="", metavar="TEXT", help="for people")
    sealing.add_seal_options(parser)
    parser.add_argument(
        "--include-settings", action="store_true", help="seal the configuration in as well"
    )
    backup_pins.add_backup_options(parser)
    parser.add_argument(
        "-k", "--skip-verification", action="store_true", help="do not read the file back"
    )
    parser.add_argument(
        "--skip-compression", action="store_true", help="for scripts; nothing is ever compressed"
    )
    _add_shared(parser, "for scripts; a backup asks nothing")
    sizes.add_option(parser)
    parser.set_defaults(run=_backup)


def add_restore(parser: argparse.ArgumentParser) -> None:
    """The arguments of what restores one."""
    parser.add_argument(
        "-f", "--file", required=True, metavar="FILE", help="a name in the folder, or a path"
    )
    backup_options.add_open_options(parser)
    parser.add_argument(
        "--without-extract-keys",
        action="store_true",
        help="go on if nothing opens the keys: encrypted extracts are then unreadable, and listed",
    )
    backup_pins.add_restore_options(parser)
    _add_shared(parser, "do not ask before everything is replaced")
    parser.set_defaults(run=_restore)


def _add_shared(parser: argparse.ArgumentParser, prompt: str) -> None:
    parser.add_argument(
        "--override-disk-space-check", action="store_true", help="try even if room seems to lack"
    )
    asking.add_option(parser, prompt)
    parser.add_argument("--json", action="store_true", help="print what was done as JSON")


# ---- backup --------------------------------------------------------------------------------------


def _backup(arguments: argparse.Namespace, session: Session) -> int:
    from strongroom.node import backup as node_backups
    from strongroom.node import backup_parts
    from strongroom.services.backups import make
    from strongroom.system import version

    node = session.whole_node
    name = arguments.file.removesuffix(make.SUFFIX)
    if arguments.append_date:
        name = f"{name}-{session.node.clock.now().astimezone():%Y-%m-%d}"  # the day of whoever asks
    path = node_backups.folder(node) / make.check_name(name)
    to = sealing.seal_from(arguments)
    with Stages() as stages:
        parts = backup_parts.gathering(node, lambda one: calls.OtherPart(session, one))
        made = node_backups.backups(node, _Keys(session), parts).make(
            make.BackupRequest(
                path=path,
                actor=session.actor,
                description=arguments.description,
                seal_to=to,
                settings=_settings(arguments, session, path, to),
                check_space=not arguments.override_disk_space_check,
                verify=not arguments.skip_verification,
                program=version.VERSION,
                pinned_until=backup_pins.until(arguments, session.node.clock),
            ),
            stages.begin,
        )
    _tell_backup(made, arguments, session)
    is_damaged = bool(made.unreadable or (made.manifest.lost and not made.may_be_elsewhere))
    if is_damaged and made.missing:
        session.note(f"it lacks what a node has as well: {'; '.join(made.missing)}")
    elif made.missing:
        raise IncompleteError(
            f"the backup can be used, and lacks what a node has: {'; '.join(made.missing)}",
            hint="start that node, then make another backup; a node that is lost for good is taken out",
        )
    return 1 if is_damaged else 0


def _settings(arguments: argparse.Namespace, session: Session, path: Path, to: "SealTo") -> bytes:
    if not arguments.include_settings:
        return b""
    if to.is_empty:
        raise UsageError(
            "the configuration goes into a backup sealed only",
            hint="give --recipient or --passphrase-file",
        )
    if path.exists():
        raise ConflictError(f"{path} exists already", hint="choose another name, or -d")
    return session.node.settings.export(session.actor, str(path), to).text.reveal()


def _tell_backup(made: "BackupMade", arguments: argparse.Namespace, session: Session) -> None:
    said = made.manifest
    if arguments.json:
        session.out_json(
            {
                "file": str(made.path),
                "id": said.id,
                "bytes": made.size,
                "manifest": made.manifest_sha256,
                "fingerprint": made.fingerprint,
                "extracts": made.extracts,
                "pinned": made.pinned,
                "pinned_until": made.pinned_until,
                "plain": made.plain,
                "sealed": list(said.sealed),
                "settings": said.has_settings,
                "unreadable": list(made.unreadable),
                "lost": list(said.lost),
                "missing": list(made.missing),
            }
        )
    else:
        session.out(f"Backup written to {made.path}")
        session.out(
            f"{counted(made.extracts, 'extract')}, {sizes.phrase(arguments, made.size)}, id {said.id}"
        )
        session.out(f"Fingerprint: {made.fingerprint or '-'}")
    if made.pinned_until:
        session.note(
            f"the file does not hold {counted(made.pinned, 'extract')}: the object store keeps them"
            f" until {made.pinned_until}, and the backup is worth no more than the store"
        )
    if not said.sealed and set(made.kinds) <= {registry.LOCAL}:
        session.note(
            "warning: only the keystore of this installation opens the keys of this backup: if it"
            " is lost, its encrypted extracts are lost; --recipient or --passphrase-file seals the"
            " keys to something else as well"
        )
    if made.plain:
        session.note(
            f"not encrypted, and so in the backup as on the disk: {counted(made.plain, 'extract')}"
        )
    for key in made.unreadable:
        session.note(f"no key of this installation opens {key}; it is in the backup as it lies")
    for key in said.lost:
        # a file on another node's own disk is no loss, and is told as missing
        if made.may_be_elsewhere:
            session.note(f"the file {key} is not on this node")
        else:
            session.note(f"the file {key} was lost before this backup")
    if not said.has_settings:
        session.note("the configuration is not in it: tsm settings export")


class _Keys:
    """The keys where they are held: by the process that serves the node, or by this one."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def wrap(self, backup_id: str, wanted: "WrapRequest", to: "SealTo") -> "WrappedKeys":
        """The keys of a backup."""
        from strongroom.backup.keys import WrappedKeys

        asked = {
            "backup_id": backup_id,
            "store_sha256": wanted.store_sha256,
            "asset_keys": list(wanted.asset_keys),
            "recipients": list(to.recipients),
            "passphrase": None if to.passphrase is None else to.passphrase.reveal().hex(),
        }
        done: Mapping[str, Any] = self._session.perform("backup.wrap", asked, self._session.note)
        return WrappedKeys(**{name: bytes.fromhex(text) for name, text in done.items()})

    def seal(self, wanted: "SealRequest") -> "Seal":
        """The seal of a manifest."""
        from strongroom.backup.manifest import Seal

        asked = asdict(wanted)
        done: Mapping[str, Any] = self._session.perform("backup.seal", asked, self._session.note)
        return Seal(**{**done, "signature": bytes.fromhex(done["signature"])})


# ---- restore -------------------------------------------------------------------------------------


def _restore(arguments: argparse.Namespace, session: Session) -> int:
    from strongroom.backup.open_backup import OpenBackup
    from strongroom.filestore.blockfile import OpenedFile
    from strongroom.node import backup as node_backups
    from strongroom.services.backups.restore import RestoreRequest

    node = session.whole_node
    path = backup_options.find(arguments.file, node)
    means = node_backups.means(
        node,
        backup_options.open_with(arguments),
        backup_options.credential(arguments),
        use_backup_roots=arguments.use_backup_roots,
    )
    with node_backups.alone(node), OpenedFile(path) as file, Stages() as stages:
        backup = OpenBackup.check(file, stages.begin("verify", file.size))
        stages.end()
        backup_options.check_manifest(arguments, backup)
        if backup.fingerprint not in means.identities and not (arguments.yes or arguments.manifest):
            identity.ask(arguments, "the backup")
        backup_options.check_fingerprint(arguments, backup)
        means = node_backups.knowing(means, identity.given(arguments))
        asking.require(
            arguments,
            session,
            f"restoring {path.name} replaces all sites, users and extracts of this installation; go on?",
            refusal="nothing was restored: the restore was not agreed to",
            hint="answer y, or use --ignore-prompt",
        )
        done = node_backups.restores(node).restore(
            backup,
            means,
            RestoreRequest(
                actor=session.actor,
                source=path.name,
                without_keys=arguments.without_extract_keys,
                check_space=not arguments.override_disk_space_check,
                pinned_from=arguments.pinned_from,
                despite_missing=arguments.despite_missing,
            ),
            stages.begin,
        )
        nodes = backup.nodes
    return _tell_restore(done, arguments, session, nodes)


def _tell_restore(
    done: "Restored",
    arguments: argparse.Namespace,
    session: Session,
    nodes: "NodesInBackup | None",
) -> int:
    if arguments.json:
        session.out_json(asdict(done))
    else:
        session.out(f"Backup {done.backup_id} restored: {counted(done.extracts, 'extract')}")
        if done.pinned:
            session.out(f"Of these copied from where they were pinned, and read: {done.pinned}")
        if done.rmk_id:
            session.out(f"New RMK: {done.rmk_id}")
            session.out(f"New MEK that encrypts: {done.mek_id}")
    if done.opened_by:
        session.note(f"its keys were opened by {done.opened_by}")
        if not done.origin and not arguments.manifest:
            session.note(
                "who made it is not proved: whoever knows a recipient can seal a backup to it;"
                " --fingerprint F or --manifest SHA256 holds it against what you noted"
            )
    else:
        genuine = (
            f"it was signed by {done.origin}"
            if done.origin
            else "nobody can tell whether it is genuine"
        )
        session.note(
            f"warning: nothing opened its keys; {genuine}; once a root of it answers: tsm security"
            " kms adopt"
        )
    _tell_extracts(done, session, nodes)
    if done.credentials_dropped:
        session.note(
            f"{counted(done.credentials_dropped, 'embedded credential')} cannot be opened: to be entered anew"
        )
    if done.tokens_dropped:
        session.note(f"revoked since, and so again: {counted(done.tokens_dropped, 'access token')}")
    session.note("everybody has to sign in again; the configuration was not touched")
    incomplete = done.lost or (done.missing and not arguments.without_extract_keys)
    return 1 if incomplete else 0


def _tell_extracts(done: "Restored", session: Session, nodes: "NodesInBackup | None") -> None:
    for content_id, reason in done.missing.items():
        session.note(f"cannot be read: {content_id}: {reason}")
    for content_id, reason in done.gone.items():
        session.note(f"pinned, and gone: {content_id}: {reason}")
    for content_id in sorted(set(done.lost) - done.gone.keys()):
        session.note(f"{backup_options.lost_words(nodes)}: {content_id}")
    for content_id in done.kept:
        session.note(f"not in the backup, but its file is still here: {content_id}")
