"""`strongroom events`: shows, verifies and archives the event log, and acknowledges what was signed late (C-23)."""

import argparse
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from strongroom.cli.named_files import small_files
from strongroom.cli.terminal import columns, parsing, streams
from strongroom.cli.terminal.bar import Bar
from strongroom.cli.terminal.session import Session
from strongroom.clock import Clock, format_utc, parse_utc
from strongroom.errors import (
    FormatError,
    IntegrityError,
    NotFoundError,
    StrongroomError,
    UnacknowledgedError,
    UnsignedError,
    UsageError,
)
from strongroom.system.plural import counted

if TYPE_CHECKING:
    from pathlib import Path

    from strongroom.eventlog.audit import Report
    from strongroom.eventlog.base import Query
    from strongroom.eventlog.notes import Checkpoint, Verifier

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_DURATION = re.compile(r"(\d{1,6})([smhdw])")
_POLL_S = 0.3
_HEADS = ("NUMBER", "TIME", "ACTOR", "EVENT", "DETAILS")
_WIDTHS = (6, 20, 16, 0, 0)
"""Of columns whose rows are printed as they are read; a longer cell moves the rest of its line."""


def build_parser(prog: str, verb: str) -> argparse.ArgumentParser:
    """The parser of `events`."""
    parser = argparse.ArgumentParser(prog=prog, description=f"show and verify the {verb} log")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    show = commands.add_parser("list", help="show events, oldest first")
    when = "YYYY-MM-DDTHH:MM:SSZ, or so long ago: 90s, 30m, 2h, 7d, 4w"
    show.add_argument("--since", metavar="TIME", default="", help=f"from this time on: {when}")
    show.add_argument("--until", metavar="TIME", default="", help="up to this time, said alike")
    show.add_argument("--id", metavar="ID", help="only events of this id, such as KEY_GENERATED")
    show.add_argument(
        "--actor", metavar="ACTOR", default="", help="only this actor's: os:NAME, user:NAME, system"
    )
    show.add_argument(
        "--limit",
        metavar="COUNT",
        type=parsing.number(1, parsing.LARGEST),
        help="only the newest so many, after all other choices",
    )
    show.add_argument(
        "--follow", action="store_true", help="go on with events as they come, until Ctrl-C"
    )
    show.add_argument(
        "--json", action="store_true", help="print a JSON list; with --follow, one record a line"
    )
    columns.add_options(show)
    show.set_defaults(run=_list)
    verify = commands.add_parser("verify", help="recompute chain and tree of the event log")
    verify.add_argument("--checkpoint", metavar="FILE", help="a checkpoint that was kept elsewhere")
    verify.add_argument("--log", metavar="FILE", help="a copy of a log, instead of this node's")
    by = verify.add_mutually_exclusive_group()
    by.add_argument("--key", metavar="KEY", help="what verifies the checkpoint, with --log")
    by.add_argument(
        "--node", metavar="NODE", help="the node of the cluster whose log it is, instead of its key"
    )
    verify.add_argument(
        "--all-nodes",
        action="store_true",
        help="and prove the log of each node of the cluster by what the others witnessed of it",
    )
    verify.add_argument("--json", action="store_true", help="print the result as JSON")
    verify.set_defaults(run=_verify, state=())
    newest = commands.add_parser("checkpoint", help="print the newest signed checkpoint")
    newest.add_argument("--json", action="store_true", help="print it as JSON")
    newest.set_defaults(run=_checkpoint)
    acknowledge = commands.add_parser(
        "acknowledge",
        help="say why that is right which the log cannot prove, such as lines signed late",
    )
    acknowledge.add_argument(
        "--reason", metavar="TEXT", required=True, help="why; kept in the log, with their numbers"
    )
    acknowledge.add_argument(
        "--node",
        metavar="NODE",
        help="of another node's log: witness it anew here, from what it is now",
    )
    acknowledge.set_defaults(run=_acknowledge)
    archive = commands.add_parser("archive", help="move the log aside and begin a new one")
    archive.add_argument("--reason", metavar="TEXT", required=True, help="why; kept in the new log")
    archive.set_defaults(run=_archive)
    return parser


def _list(arguments: argparse.Namespace, session: Session) -> int:
    query = _query(arguments, session)
    log = session.node.events
    if not arguments.json:
        columns.show_heading(session, arguments, _HEADS, _WIDTHS)
    if arguments.follow:
        for record in log.follow(query, lambda: time.sleep(_POLL_S)):
            session.out(streams.json_text(record, indent=None) if arguments.json else _line(record))
    elif arguments.json:
        session.out_lines(_json_lines(log.read(query)))
    else:
        session.out_lines(_line(record) for record in log.read(query))
    return 0


def _query(arguments: argparse.Namespace, session: Session) -> "Query":
    from strongroom.eventlog.base import Query
    from strongroom.eventlog.events import catalogue

    if arguments.id is not None and arguments.id not in catalogue.ids():
        known = ", ".join(sorted(catalogue.ids()))
        raise UsageError(f"unknown event id {arguments.id!r}", hint=f"known are {known}")
    if arguments.follow and arguments.until:
        raise UsageError("--follow goes on for ever, and --until ends: give one of the two")
    clock = session.node.clock
    return Query(
        _moment("--since", arguments.since, clock),
        _moment("--until", arguments.until, clock),
        frozenset({arguments.id} if arguments.id else ()),
        arguments.actor,
        arguments.limit,
    )


def _moment(option: str, text: str, clock: Clock) -> str:
    """A time as the log has it, of a time or of how long ago it was."""
    if not text:
        return ""
    duration = _DURATION.fullmatch(text)
    try:
        if duration is None:
            return format_utc(parse_utc(text))
        ago = int(duration[1]) * _UNITS[duration[2]]
        return format_utc(clock.now() - timedelta(seconds=ago))
    except FormatError as error:
        hint = "or say how long ago: 90s, 30m, 2h, 7d, 4w"
        raise UsageError(f"{option}: {error.message}", hint=hint) from error
    except OverflowError as error:
        raise UsageError(f"{option}: {text} ago there was no calendar") from error


def _json_lines(records: Iterable[Mapping[str, object]]) -> Iterator[str]:
    """A JSON list as `out_json` prints it, record by record: it is never held as a whole."""
    before = ""
    for record in records:
        yield f"{before}," if before else "["
        before = "\n".join(f"  {line}" for line in streams.json_text(record).split("\n"))
    if before:
        yield before
    yield "]" if before else "[]"


def _line(record: Mapping[str, object]) -> str:
    details = record["details"]
    pairs = details.items() if isinstance(details, dict) else ()
    shown = " ".join(f"{name}={value}" for name, value in pairs)
    cells = (
        str(record["seq"]),
        str(record["time"]),
        str(record["actor"]),
        str(record["id"]),
        shown,
    )
    return columns.line(cells, _WIDTHS)


def _verify(arguments: argparse.Namespace, session: Session) -> int:
    report = _report(arguments, session)
    state: tuple[str, ...] = arguments.state
    for words in state:
        session.note(words)
    for found in report.breaks:
        session.note(f"line {found.line}: {found.what}")
    told = [*(one.text for one in report.late), *(one.text for one in report.doubts)]
    for words in (*report.faults, *told):
        session.note(words)
    if report.unsigned:
        first, last = report.head.seq - report.unsigned + 1, report.head.seq
        session.note(f"lines {first} to {last} are not signed")
    if arguments.all_nodes:
        return _verify_all(arguments, session, report)
    if arguments.json:
        session.out_json({**_as_json(report), "state": list(state)})
    _check(report, state)
    if not arguments.json:
        session.out(_verified(report))
    return 0


def _verify_all(arguments: argparse.Namespace, session: Session, report: "Report") -> int:
    """The rest of `verify --all-nodes`: this node's own lines are verified."""
    from strongroom.cli.node import all_logs

    found = all_logs.ask(session, _verified(report))
    if arguments.json:
        own = {**_as_json(report), "state": list(arguments.state)}
        session.out_json({**own, "nodes": all_logs.as_json(found)})
    else:
        session.out_lines(all_logs.lines(found))
    all_logs.check_changed(found)
    _check(report, arguments.state)
    all_logs.check_proved(found)
    return 0


def _verified(report: "Report") -> str:
    signed = "" if report.signed is None else f", {report.signed} of them signed"
    count = len(report.archives)
    before = f", and {counted(count, 'archived log')} before them" if count else ""
    seq, digest = report.head
    return f"verified {counted(seq, 'event')}{signed}{before}, last digest {digest}"


def _check(report: "Report", state: Sequence[str]) -> None:
    """Refuse a log that is not whole, signed and acknowledged, and a state that contradicts its anchors.

    Raises:
        IntegrityError: The log was changed, or the state was put back.
        UnsignedError: Lines are not signed as yet.
        UnacknowledgedError: The log has lines that it cannot prove, and nobody has acknowledged them.
    """
    if report.is_changed:
        raise IntegrityError(_sentence(report), hint=_HINT)
    if state:
        raise IntegrityError(
            f"the log is whole, and the state was put back or changed: {state[0]}",
            hint="see 'strongroom anchor verify'",
        )
    if report.unsigned:
        raise UnsignedError(_unsigned(report), hint=_UNSIGNED_HINT)
    if report.unacknowledged:
        raise UnacknowledgedError(_unacknowledged(report), hint=_LATE_HINT)


_HINT = (
    "keep the file: compare it with a backup to see what was changed; "
    "'strongroom events archive' then begins a new log"
)


def _sentence(report: "Report") -> str:
    count = len(report.breaks)
    if count:
        return f"the event log was changed: {count} {'line does' if count == 1 else 'lines do'} not fit"
    return f"the event log was changed: {report.faults[0]}"


_UNSIGNED_HINT = (
    "a writer that was killed leaves that; the next event, and each start of the server, signs them and says so. "
    "If no command and no server was killed at that time, read them: 'strongroom events list'"
)


def _unsigned(report: "Report") -> str:
    lines = counted(report.unsigned, "line")
    return (
        f"the event log is whole, and its last {lines}, from {report.since} on, "
        f"{'is' if report.unsigned == 1 else 'are'} not signed as yet"
    )


_LATE_HINT = (
    "look at them ('strongroom events list'): if a command or a server was killed at that time, or you moved the "
    "archived logs away, 'strongroom events acknowledge --reason TEXT' says so; else somebody changed the log"
)


def _unacknowledged(report: "Report") -> str:
    names = ", ".join(one.name for one in report.unacknowledged)
    return f"the event log is whole, but nobody has acknowledged what it cannot prove: {names}"


def _report(arguments: argparse.Namespace, session: Session) -> "Report":
    if arguments.all_nodes and arguments.log is not None:
        raise UsageError("--all-nodes is of this node's cluster, and --log of a copy")
    if arguments.log is None:
        for option in ("key", "node"):
            if vars(arguments)[option] is not None:
                raise UsageError(f"--{option} goes with --log", hint="this node knows its own key")
        log = session.node.events
        kept = _kept(arguments, _verifiers(session))
        with Bar("verifying") as bar:
            report = log.verify(*kept, progress=bar.begin)
        arguments.state = _state(session)
        return report._replace(faults=(*report.faults, *_anchored(session)))
    from pathlib import Path

    from strongroom.node import opening

    copy = Path(arguments.log)
    if not copy.is_file():
        raise NotFoundError(f"there is no file {copy}")
    verifier = _verifier(arguments, session)
    if verifier is not None and arguments.checkpoint is None:
        arguments.checkpoint = _beside(copy)
    kept = _kept(arguments, [verifier] if verifier else [])
    with Bar("verifying") as bar:
        return opening.verify_log_copy(copy, *kept, progress=bar.begin)


def _verifier(arguments: argparse.Namespace, session: Session) -> "Verifier | None":
    """The key of another log: as it is given, or as the node that writes the log has registered it."""
    if arguments.node is not None:
        from strongroom.services.nodes import log_key

        node = session.node
        installation_id = node.configuration.document().installation_id
        return log_key.verifier_of(node.peers, installation_id, arguments.node)
    if arguments.key is None:
        return None
    from strongroom.eventlog import notes

    return notes.parse_verifier(arguments.key)


def _anchored(session: Session) -> tuple[str, ...]:
    """Sentences of the anchor in the repository against the log; if the anchor cannot be read, that is noted."""
    node = session.node
    try:
        return node.event_log_faults()
    except StrongroomError as error:
        session.note(f"the event log could not be compared with its anchor: {error.with_hint}")
        return ()


def _state(session: Session) -> tuple[str, ...]:
    """Sentences of the anchors against all but the log (anchor.md 3); if they cannot be compared, that is noted."""
    try:
        return session.node.state_faults()
    except StrongroomError as error:
        session.note(f"the state could not be compared with its anchors: {error.with_hint}")
        return ()


def _beside(log: "Path") -> str:
    """The checkpoint that was copied with a log, or archived with it."""
    for path in (log.with_name(f"{log.name}.checkpoint"), log.with_suffix(".checkpoint")):
        if path.is_file():
            return str(path)
    raise UsageError(
        f"there is no checkpoint beside {log}: nothing would be verified by the key",
        hint="copy the checkpoint too, or name one with --checkpoint",
    )


def _verifiers(session: Session) -> "list[Verifier]":
    """The key that signs this node's log, and those that did before, as the log tells: a kept note may be of any."""
    from strongroom.eventlog import notes
    from strongroom.eventlog.events import log_events

    log = session.node.events
    signer = log.checkpoints.signer()
    if signer is None:
        return []
    found = [signer.verifier]
    for record in log.history(log_events.EVENT_LOG_REKEYED):
        details = record["details"]
        if isinstance(details, dict):
            found.append(notes.parse_verifier(str(details["former"])))
    return found


def _kept(arguments: argparse.Namespace, verifiers: "list[Verifier]") -> "tuple[Checkpoint, ...]":
    """The checkpoint of `--checkpoint`, once it is verified by one of these keys."""
    if arguments.checkpoint is None:
        return ()
    from strongroom.eventlog import checkpoint_form, notes

    if not verifiers:
        raise UsageError(
            "nothing verifies the checkpoint", hint="with --log, give its key by --key"
        )
    note = small_files.read_lines(
        arguments.checkpoint, "the checkpoint", limit=notes.MAX_NOTE_BYTES
    )
    # the key stands before what 'events checkpoint' printed; what lies beside a log is a checkpoint with its state
    first, _, rest = note.partition(b"\n")
    if first.startswith(b"{") or note.startswith(checkpoint_form.MARK):
        bare = checkpoint_form.parse(note).note
    else:
        bare = rest if first.count(b"+") >= 2 else note
    ids = notes.key_ids(bare, verifiers[0].name)
    by = next((one for one in verifiers if one.key_id in ids), verifiers[0])
    return (notes.open_note(bare, by),)


def _as_json(report: "Report") -> Mapping[str, object]:
    return {
        "whole": report.is_whole,
        "events": report.head.seq,
        "digest": report.head.digest,
        "signed": report.signed,
        "unsigned": report.unsigned,
        "since": report.since,
        "changed": report.is_changed,
        "breaks": [{"line": one.line, "what": one.what} for one in report.breaks],
        "faults": list(report.faults),
        "late": [
            {
                "first": one.first,
                "last": one.last,
                "told": one.told,
                "acknowledged": one.acknowledged or None,
            }
            for one in report.late
        ],
        "archives": list(report.archives),
        "unacknowledged": [{"name": one.name, "what": one.text} for one in report.unacknowledged],
    }


def _checkpoint(arguments: argparse.Namespace, session: Session) -> int:
    newest = session.node.events.newest_checkpoint()
    if newest is None:
        raise NotFoundError("there is no checkpoint", hint="see 'strongroom events verify'")
    signer, checkpoint, note = newest.signer, newest.checkpoint, newest.note
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


def _acknowledge(arguments: argparse.Namespace, session: Session) -> int:
    if arguments.node is not None:
        from strongroom.cli.node import all_logs

        all_logs.witness_anew(arguments, session)
        return 0
    faults = _anchored(session)
    if faults:
        raise IntegrityError(f"the event log was changed: {faults[0]}", hint=_HINT)
    with Bar("verifying") as bar:
        report = session.node.events.acknowledge(
            session.actor, arguments.reason, progress=bar.begin
        )
    if report.is_changed:
        raise IntegrityError(_sentence(report), hint=_HINT)
    for one in report.unacknowledged:
        session.out(f"acknowledged {one.name}: {one.text}")
    if not report.unacknowledged:
        session.note("nothing is to be acknowledged: the event log proves all of it")
    return 0


def _archive(arguments: argparse.Namespace, session: Session) -> int:
    node, faults = session.node, _anchored(session)
    aside = node.events.archive(session.actor, arguments.reason, faults)
    for words in faults:
        session.note(words)
    session.out(f"the log is now {aside}, and a new one has begun")
    try:
        node.anchor_event_log_anew()
    except StrongroomError as error:
        session.note(f"the anchor of the event log was not renewed: {error.with_hint}")
    return 0
