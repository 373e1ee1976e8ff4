"""`tsm settings`: export and import of the configuration as one file, pipe or sealed file (C-12 … C-19)."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from strongroom.cli.named_files import output_file, sealed_input, sealing
from strongroom.cli.terminal.session import Session
from strongroom.config.import_rules import Outcome
from strongroom.errors import UsageError
from strongroom.system.plural import counted

if TYPE_CHECKING:
    from strongroom.services.configuration.settings import Imported

_LONGEST_NAME = 300


def build_parser(prog: str, verb: str) -> argparse.ArgumentParser:
    """The parser of `settings`."""
    parser = argparse.ArgumentParser(prog=prog, description=f"export and import of {verb}")
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    exporting = verbs.add_parser(
        "export", help="write all settings, secrets too, to a file or pipe"
    )
    exporting.add_argument(
        "-f",
        "--output-config-file",
        dest="file",
        required=True,
        metavar="FILE",
        help="a file, replaced if it is there, or a named pipe",
    )
    sealing.add_seal_options(exporting)
    exporting.add_argument("--no-secrets", action="store_true", help="leave all secrets out")
    exporting.set_defaults(run=_export)
    importing = verbs.add_parser("import", help="make settings of a file or pipe pending changes")
    importing.add_argument(
        "-f",
        "--import-config-file",
        dest="file",
        required=True,
        metavar="FILE",
        help="a file, a named pipe, or - for stdin",
    )
    sealing.add_open_options(importing)
    parts = importing.add_mutually_exclusive_group()
    parts.add_argument("--config-only", action="store_true", help="not the topology")
    parts.add_argument("--topology-only", action="store_true", help="only check the topology")
    importing.add_argument(
        "-frc", "--force-keys", action="store_true", help="take harmless keys that nobody knows"
    )
    importing.add_argument(
        "-v", "--verbose", action="store_true", help="report the keys that do not change, too"
    )
    importing.add_argument("--json", action="store_true", help="print the whole report as JSON")
    importing.set_defaults(run=_import)
    return parser


def _export(arguments: argparse.Namespace, session: Session) -> int:
    target = Path(arguments.file)
    to = sealing.seal_from(arguments)
    if arguments.no_secrets and not to.is_empty:
        raise UsageError("--no-secrets leaves nothing that needs --recipient or --passphrase-file")
    if str(target) == "-":
        raise UsageError("name a file or a named pipe: secrets are not printed")
    output_file.check_target(target)
    found = session.node.settings.export(
        session.actor, str(target.absolute()), to, with_secrets=not arguments.no_secrets
    )
    if to.is_empty and not arguments.no_secrets:
        session.note(
            f"warning: {counted(found.secrets, 'secret')} {'goes' if found.secrets == 1 else 'go'} to"
            f" {target} in plain text; --recipient or"
            " --passphrase-file seals them, --no-secrets leaves them out"
        )
    output_file.write_private(target, found.text.reveal())
    count = counted(found.keys, "key")
    session.note(f"{count} exported to {target}, {found.secrets} of them secrets")
    if session.node.configuration.has_pending:
        session.note("pending changes are not in it: what is not applied is not exported")
    return 0


def _import(arguments: argparse.Namespace, session: Session) -> int:
    from strongroom.config import transfer
    from strongroom.services.configuration.settings import ImportOptions

    source = Path(arguments.file)
    service = session.node.settings  # opened first, so that a refused user's pipe is not read empty
    found = sealed_input.read(source, transfer.MAX_BYTES, sealing.open_from(arguments))
    options = ImportOptions(
        configuration=not arguments.topology_only,
        topology=not arguments.config_only,
        force=arguments.force_keys,
    )
    with sealed_input.counted(found.read):
        imported = service.import_(
            found.data.reveal(), options, actor=session.actor, source=str(source)
        )
    if arguments.json:
        session.out_json(
            [
                {"key": _name(one.key), "outcome": one.outcome.value, "why": one.why}
                for one in imported.verdicts
            ]
        )
    else:
        _report(imported, session, whole=arguments.verbose)
    return _conclude(imported, session, found.read)


def _report(imported: "Imported", session: Session, *, whole: bool) -> None:
    """The keys of which there is something to say; those that stay as they are, by their number (findings F6)."""
    for one in imported.verdicts:
        if whole or one.outcome is not Outcome.UNCHANGED:
            session.out(
                f"{_name(one.key)}: {one.outcome.value}" + (f": {one.why}" if one.why else "")
            )
    left = len(imported.of(Outcome.UNCHANGED))
    if left and not whole:
        session.out(f"{counted(left, 'key')} unchanged")


def _name(key: str) -> str:
    """A key as it is printed: a refused one may be anything, even what no terminal can show."""
    return (key if key.isprintable() else repr(key))[:_LONGEST_NAME]


def _conclude(imported: "Imported", session: Session, read: str) -> int:
    refused = len(imported.of(Outcome.REFUSED))
    if refused:
        raise UsageError(
            f"{read}: {refused} of {counted(len(imported.verdicts), 'setting')} refused; nothing was changed",
            hint="the report says why; put them right, or take them out of the file",
        )
    if imported.pending is None:
        session.note(f"{read}: nothing in it differs, nothing was changed")
        return 0
    count = len(imported.of(Outcome.ACCEPTED))
    session.note(f"{read}: {counted(count, 'setting')} imported as pending changes")
    if imported.kept:
        session.note(f"{imported.kept} more were pending before, and stay")
    session.note("run 'tsm pending-changes apply' to bring them into force")
    return 0
