"""`strongroom events list|verify`: shows and verifies the event log (C-23)."""

import argparse
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from strongroom.cli.session import Session
from strongroom.clock import parse_utc
from strongroom.errors import FormatError, IntegrityError, NotFoundError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from strongroom.eventlog.audit import Report
    from strongroom.eventlog.notes import Checkpoint, Verifier


def build_parser(prog: str, verb: str) -> argparse.ArgumentParser:
    """The parser of `events`."""
    parser = argparse.ArgumentParser(prog=prog, description=f"show and verify the {verb} log")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    show = commands.add_parser("list", help="show events, oldest first")
    show.add_argument("--since", metavar="TIME", help="from YYYY-MM-DDTHH:MM:SSZ on")
    show.add_argument("--id", metavar="ID", help="only events of this id, such as KEY_GENERATED")
    show.add_argument("--json", action="store_true", help="print the records as a JSON list")
    show.set_defaults(run=_list)
    verify = commands.add_parser("verify", help="recompute chain and tree of the event log")
    verify.add_argument("--checkpoint", metavar="FILE", help="a checkpoint that was kept elsewhere")
    verify.add_argument("--log", metavar="FILE", help="a copy of a log, instead of this node's")
    verify.add_argument("--key", metavar="KEY", help="what verifies the checkpoint, with --log")
    verify.add_argument("--json", action="store_true", help="print the result as JSON")
    verify.set_defaults(run=_verify)
    newest = commands.add_parser("checkpoint", help="print the newest signed checkpoint")
    newest.add_argument("--json", action="store_true", help="print it as JSON")
    newest.set_defaults(run=_checkpoint)
    archive = commands.add_parser("archive", help="move the log aside and begin a new one")
    archive.add_argument("--reason", metavar="TEXT", required=True, help="why; kept in the new log")
    archive.set_defaults(run=_archive)
    return parser


def _list(arguments: argparse.Namespace, session: Session) -> int:
    _check_options(arguments)
    chosen = _chosen(session, arguments)
    if arguments.json:
        session.out_json(list(chosen))
        return 0
    for record in chosen:
        session.out(_line(record))
    return 0


def _check_options(arguments: argparse.Namespace) -> None:
    from strongroom.eventlog import events

    if arguments.since is not None:
        try:
            parse_utc(arguments.since)
        except FormatError as error:
            raise UsageError(f"--since: {error.message}") from error
    if arguments.id is not None and getattr(events, arguments.id, None) != arguments.id:
        known = sorted(name for name, value in vars(events).items() if name == value)
        raise UsageError(f"unknown event id {arguments.id!r}", hint=f"known are {', '.join(known)}")


def _chosen(session: Session, arguments: argparse.Namespace) -> Iterator[Mapping[str, object]]:
    for record in session.node.events.read():
        if arguments.id is not None and record["id"] != arguments.id:
            continue
        # times of this form sort as texts
        if arguments.since is not None and str(record["time"]) < arguments.since:
            continue
        yield record


def _line(record: Mapping[str, object]) -> str:
    details = record["details"]
    pairs = details.items() if isinstance(details, dict) else ()
    shown = " ".join(f"{name}={value}" for name, value in pairs)
    return f"{record['seq']:>6}  {record['time']}  {record['actor']:<16} {record['id']} {shown}"


def _verify(arguments: argparse.Namespace, session: Session) -> int:
    report = _report(arguments, session)
    for found in report.breaks:
        session.note(f"line {found.line}: {found.what}")
    for words in (*report.faults, *report.late):
        session.note(words)
    if report.unsigned:
        first, last = report.head.seq - report.unsigned + 1, report.head.seq
        session.note(f"lines {first} to {last} are not signed")
    if arguments.json:
        session.out_json(_as_json(report))
    if not report.is_whole:
        raise IntegrityError(_sentence(report), hint=_HINT)
    if not arguments.json:
        signed = "" if report.signed is None else f", {report.signed} of them signed"
        seq, digest = report.head
        session.out(f"verified {seq} events{signed}, last digest {digest}")
    return 0


_HINT = (
    "keep the file: compare it with a backup to see what was changed; "
    "'strongroom events archive' then begins a new log"
)


def _sentence(report: "Report") -> str:
    count = len(report.breaks)
    if count:
        return f"the event log was changed: {count} {'line does' if count == 1 else 'lines do'} not fit"
    if report.faults:
        return f"the event log was changed: {report.faults[0]}"
    return "the event log ends with lines that nobody signed"


def _report(arguments: argparse.Namespace, session: Session) -> "Report":
    if arguments.log is None and arguments.key is not None:
        raise UsageError("--key goes with --log", hint="this node knows its own key")
    if arguments.log is None:
        log = session.node.events
        signer = log.checkpoints.signer()
        kept = _kept(arguments, signer.verifier if signer else None)
        return log.verify(*kept)
    from pathlib import Path

    from strongroom import bootstrap
    from strongroom.eventlog import notes

    copy = Path(arguments.log)
    if not copy.is_file():
        raise NotFoundError(f"there is no file {copy}")
    verifier = notes.parse_verifier(arguments.key) if arguments.key is not None else None
    if verifier is not None and arguments.checkpoint is None:
        arguments.checkpoint = _beside(copy)
    return bootstrap.log_copy(copy).verify(*_kept(arguments, verifier))


def _beside(log: "Path") -> str:
    """The checkpoint that was copied with a log, or archived with it."""
    for path in (log.with_name(f"{log.name}.checkpoint"), log.with_suffix(".checkpoint")):
        if path.is_file():
            return str(path)
    raise UsageError(
        f"there is no checkpoint beside {log}: nothing would be verified by the key",
        hint="copy the checkpoint too, or name one with --checkpoint",
    )


def _kept(arguments: argparse.Namespace, verifier: "Verifier | None") -> "tuple[Checkpoint, ...]":
    """The checkpoint of `--checkpoint`, once it is verified."""
    if arguments.checkpoint is None:
        return ()
    from pathlib import Path

    from strongroom.eventlog import notes

    if verifier is None:
        raise UsageError(
            "nothing verifies the checkpoint", hint="with --log, give its key by --key"
        )
    try:
        with Path(arguments.checkpoint).open("rb") as file:
            note = file.read(notes.MAX_NOTE_BYTES + 1)
    except OSError as error:
        raise NotFoundError(f"cannot read {arguments.checkpoint}: {error.strerror}") from error
    # the key stands before what 'events checkpoint' printed, a state before what lies beside a log
    first, _, rest = note.partition(b"\n")
    headed = first.startswith(b"{") or first.count(b"+") >= 2
    return (notes.open_note(rest if headed else note, verifier),)


def _as_json(report: "Report") -> Mapping[str, object]:
    return {
        "whole": report.is_whole,
        "events": report.head.seq,
        "digest": report.head.digest,
        "signed": report.signed,
        "unsigned": report.unsigned,
        "breaks": [{"line": one.line, "what": one.what} for one in report.breaks],
        "faults": list(report.faults),
        "late": list(report.late),
    }


def _checkpoint(arguments: argparse.Namespace, session: Session) -> int:
    newest = session.node.events.checkpoints.newest()
    if newest is None:
        raise NotFoundError("there is no checkpoint", hint="see 'strongroom events verify'")
    signer, checkpoint, note = newest
    if arguments.json:
        session.out_json(
            {
                "key": signer.verifier.text,
                "origin": checkpoint.origin,
                "size": checkpoint.size,
                "root": checkpoint.root.hex(),
                "note": note.decode(),
            }
        )
        return 0
    session.out(f"{signer.verifier.text}\n{note.decode()[:-1]}")
    return 0


def _archive(arguments: argparse.Namespace, session: Session) -> int:
    aside = session.node.events.archive(session.actor, arguments.reason)
    session.out(f"the log is now {aside}, and a new one has begun")
    return 0
