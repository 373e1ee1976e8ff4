"""`tsm maintenance`: backup and restore (A-24 to A-26, C-13)."""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from strongroom.cli import backup_options, sealing
from strongroom.cli.backup_options import Stages
from strongroom.cli.session import Session
from strongroom.errors import ConflictError, StateError, UsageError
from strongroom.wording import counted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from strongroom.backup.keys import WrappedKeys
    from strongroom.backup.manifest import Seal
    from strongroom.crypto.age import SealTo
    from strongroom.services.backup_keys import Wanted
    from strongroom.services.backups import BackupMade
    from strongroom.services.restores import Restored


def build_parser(prog: str, verb: str) -> argparse.ArgumentParser:
    """The parser of `maintenance`."""
    parser = argparse.ArgumentParser(prog=prog, description=f"{verb}: backup and restore")
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    _add_backup(verbs.add_parser("backup", help="write repository, extracts and wrapped keys"))
    _add_restore(verbs.add_parser("restore", help="put a backup in the place of what is there"))
    return parser


def _add_backup(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-f", "--file", required=True, metavar="NAME", help="name, without a path")
    parser.add_argument("-d", "--append-date", action="store_true", help="append -yyyy-mm-dd")
    parser.add_argument("-i", "--description", default="", metavar="TEXT", help="for people")
    sealing.add_seal_options(parser)
    parser.add_argument(
        "--include-settings", action="store_true", help="seal the configuration in as well"
    )
    parser.add_argument(
        "-k", "--skip-verification", action="store_true", help="do not read the file back"
    )
    parser.add_argument(
        "--skip-compression", action="store_true", help="for scripts; nothing is ever compressed"
    )
    _add_shared(parser, "for scripts; a backup asks nothing")
    parser.set_defaults(run=_backup)


def _add_restore(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-f", "--file", required=True, metavar="FILE", help="a name in the folder, or a path"
    )
    backup_options.add_open_options(parser)
    parser.add_argument(
        "--without-extract-keys",
        action="store_true",
        help="go on if nothing opens the keys: encrypted extracts are then unreadable, and listed",
    )
    _add_shared(parser, "do not ask before everything is replaced")
    parser.set_defaults(run=_restore)


def _add_shared(parser: argparse.ArgumentParser, prompt: str) -> None:
    parser.add_argument(
        "--override-disk-space-check", action="store_true", help="try even if room seems to lack"
    )
    parser.add_argument("--ignore-prompt", action="store_true", help=prompt)
    parser.add_argument("--json", action="store_true", help="print what was done as JSON")


# ---- backup --------------------------------------------------------------------------------------


def _backup(arguments: argparse.Namespace, session: Session) -> int:
    from strongroom import node_backups
    from strongroom.services import backups
    from strongroom.topology import product

    node = session.node
    name = arguments.file.removesuffix(backups.SUFFIX)
    if arguments.append_date:
        name = f"{name}-{node.clock.now():%Y-%m-%d}"
    path = node_backups.folder(node) / backups.check_name(name)
    to = sealing.seal_from(arguments)
    with Stages() as stages:
        made = node_backups.backups(node, _Keys(session)).make(
            backups.BackupRequest(
                path=path,
                actor=session.actor,
                description=arguments.description,
                seal_to=to,
                settings=_settings(arguments, session, path, to),
                check_space=not arguments.override_disk_space_check,
                verify=not arguments.skip_verification,
                program=product.VERSION,
            ),
            stages.begin,
        )
    _tell_backup(made, session, as_json=arguments.json)
    return 1 if made.unreadable or made.manifest.lost else 0


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


def _tell_backup(made: "BackupMade", session: Session, *, as_json: bool) -> None:
    said = made.manifest
    if as_json:
        session.out_json(
            {
                "file": str(made.path),
                "id": said.id,
                "bytes": made.size,
                "manifest": made.manifest_sha256,
                "extracts": made.extracts,
                "plain": made.plain,
                "sealed": list(said.sealed),
                "settings": said.has_settings,
                "unreadable": list(made.unreadable),
                "lost": list(said.lost),
            }
        )
    else:
        session.out(f"Backup written to {made.path}")
        session.out(f"{counted(made.extracts, 'extract')}, {made.size} bytes, id {said.id}")
    if not said.sealed and set(made.kinds) <= {"local"}:
        session.note(
            "warning: only the keystore of this installation opens the keys of this backup: if it"
            " is lost, its encrypted extracts are lost; --recipient or --passphrase-file seals the"
            " keys to something else as well"
        )
    if made.plain:
        session.note(f"{made.plain} extracts are not encrypted, and lie in the backup as they are")
    for key in made.unreadable:
        session.note(f"no key of this installation opens {key}; it is in the backup as it lies")
    for key in said.lost:
        session.note(f"the file {key} was lost before this backup")
    if not said.has_settings:
        session.note("the configuration is not in it: tsm settings export")


class _Keys:
    """The keys where they are held: by the process that serves the node, or by this one."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def wrap(self, backup_id: str, wanted: "Wanted", to: "SealTo") -> "WrappedKeys":
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

    def seal(self, backup_id: str, rmk_id: str, manifest_sha256: str) -> "Seal":
        """The seal of a manifest."""
        from strongroom.backup.manifest import Seal

        asked = {"backup_id": backup_id, "rmk_id": rmk_id, "manifest_sha256": manifest_sha256}
        done: Mapping[str, Any] = self._session.perform("backup.seal", asked, self._session.note)
        return Seal(**done)


# ---- restore -------------------------------------------------------------------------------------


def _restore(arguments: argparse.Namespace, session: Session) -> int:
    from strongroom import node_backups
    from strongroom.backup.restore import OpenBackup
    from strongroom.filestore.blockfile import OpenedFile
    from strongroom.services.restores import RestoreRequest

    node = session.node
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
        _ask(arguments, session, path)
        done = node_backups.restores(node).restore(
            backup,
            means,
            RestoreRequest(
                actor=session.actor,
                source=path.name,
                without_keys=arguments.without_extract_keys,
                check_space=not arguments.override_disk_space_check,
            ),
            stages.begin,
        )
    return _tell_restore(done, arguments, session)


def _ask(arguments: argparse.Namespace, session: Session, path: Path) -> None:
    if arguments.ignore_prompt:
        return
    if not session.confirm(
        f"restoring {path.name} replaces all sites, users and extracts of this node; go on?"
    ):
        raise StateError(
            "nothing was restored: it was not agreed to", hint="answer y, or use --ignore-prompt"
        )


def _tell_restore(done: "Restored", arguments: argparse.Namespace, session: Session) -> int:
    if arguments.json:
        session.out_json(asdict(done))
    else:
        session.out(f"Backup {done.backup_id} restored: {counted(done.extracts, 'extract')}")
        if done.rmk_id:
            session.out(f"New RMK: {done.rmk_id}")
            session.out(f"New MEK that encrypts: {done.mek_id}")
    if done.opened_by:
        session.note(f"its keys were opened by {done.opened_by}")
        if not done.origin and not arguments.manifest:
            session.note(
                "who made it is not proved: whoever knows a recipient can seal a backup to it;"
                " --manifest SHA256 holds it against a digest that you noted"
            )
    else:
        session.note(
            "warning: nothing opened its keys, so nobody can tell whether it is genuine; once a"
            " root of it answers: tsm security kms adopt"
        )
    _tell_extracts(done, session)
    if done.credentials_dropped:
        session.note(
            f"{done.credentials_dropped} embedded credentials do not open: enter them anew"
        )
    if done.tokens_dropped:
        session.note(f"{done.tokens_dropped} access tokens were revoked since, and stay so")
    session.note("everybody has to sign in again; the configuration was not touched")
    incomplete = done.lost or (done.missing and not arguments.without_extract_keys)
    return 1 if incomplete else 0


def _tell_extracts(done: "Restored", session: Session) -> None:
    for content_id, reason in done.missing.items():
        session.note(f"cannot be read: {content_id}: {reason}")
    for content_id in done.lost:
        session.note(f"lost before the backup was made: {content_id}")
    for content_id in done.kept:
        session.note(f"not in the backup, but its file is still here: {content_id}")
