"""`strongroom events list|verify`: shows and verifies the event log (C-23)."""

import argparse
from collections.abc import Iterator, Mapping

from strongroom.cli.session import Session
from strongroom.clock import parse_utc
from strongroom.errors import FormatError, IntegrityError, UsageError


def build_parser(prog: str, verb: str) -> argparse.ArgumentParser:
    """The parser of `events`."""
    parser = argparse.ArgumentParser(prog=prog, description=f"show and verify the {verb} log")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    show = commands.add_parser("list", help="show events, oldest first")
    show.add_argument("--since", metavar="TIME", help="from YYYY-MM-DDTHH:MM:SSZ on")
    show.add_argument("--id", metavar="ID", help="only events of this id, such as KEY_GENERATED")
    show.add_argument("--json", action="store_true", help="print the records as a JSON list")
    show.set_defaults(run=_list)
    verify = commands.add_parser("verify", help="recompute the chain of the event log")
    verify.set_defaults(run=_verify)
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
    del arguments
    report = session.node.events.verify()
    for found in report.breaks:
        session.note(f"line {found.line}: {found.what}")
    if report.breaks:
        count = len(report.breaks)
        raise IntegrityError(
            f"the event log was changed: {count} {'line does' if count == 1 else 'lines do'} not fit",
            hint="keep the file: compare it with a backup to see what was changed",
        )
    session.out(f"verified {report.head.seq} events, last digest {report.head.digest}")
    return 0
