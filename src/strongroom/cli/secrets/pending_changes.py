"""`tsm pending-changes`: list, apply and discard changes that are not in force yet (C-19, C-20)."""

import argparse

from strongroom.cli.terminal import asking, columns, parsing
from strongroom.cli.terminal.session import Session
from strongroom.errors import StateError

_APPLY_TIMEOUT_S = 1800.0
"""As the original command; here only the wait for another command."""


def build_parser(prog: str, verb: str) -> argparse.ArgumentParser:
    """The parser of `pending-changes`."""
    del verb
    parser = argparse.ArgumentParser(prog=prog, description="changes that are not in force yet")
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    listing = verbs.add_parser("list", help="what is pending, secrets masked")
    listing.add_argument("--json", action="store_true", help="as JSON")
    listing.add_argument("--config-only", action="store_true", help="configuration keys only")
    columns.add_options(listing)
    listing.set_defaults(run=_list)
    applying = verbs.add_parser("apply", help="bring the pending changes into force")
    asking.add_option(applying, "do not ask before a restart; restart anyway")
    applying.add_argument("-iw", "--ignore-warnings", action="store_true", help="apply nonetheless")
    applying.add_argument(
        "--request-timeout",
        type=parsing.number(0, parsing.LONGEST_WAIT_S),
        default=_APPLY_TIMEOUT_S,
        metavar="SECONDS",
        help="longest wait for another command (default: 1800)",
    )
    applying.set_defaults(run=_apply)
    discarding = verbs.add_parser("discard", help="throw the pending changes away")
    discarding.add_argument("--config-only", action="store_true", help="configuration keys only")
    asking.add_option(discarding)
    discarding.set_defaults(run=_discard)
    return parser


def _list(arguments: argparse.Namespace, session: Session) -> int:
    pending = session.node.configuration.pending()
    changes = pending.changes if pending else ()
    if arguments.json:
        from dataclasses import asdict

        session.out_json([asdict(change) for change in changes])
        return 0
    if pending is None:
        session.note("there are no pending changes")
        return 0
    rows = [
        (
            change.key,
            "restart" if change.needs_restart else "no restart",
            "reset to its default" if change.value is None else change.value.replace("\n", "\\n"),
        )
        for change in changes
    ]
    columns.show(session, arguments, ("KEY", "NEEDS", "VALUE"), rows)
    if pending.needs_restart:
        session.note("applying them restarts the server")
    else:
        session.note("none of them needs a restart")
    return 0


def _apply(arguments: argparse.Namespace, session: Session) -> int:
    from strongroom.secrets.catalog import TEMPORARY

    service = session.node.configuration
    pending = service.pending()
    if pending is None:
        session.note("there are no pending changes")
        return 0
    # C-20: asked even if the server is stopped, and not at all if nothing needs a restart
    if pending.needs_restart:
        asking.require(
            arguments,
            session,
            "applying these changes restarts the server; go on?",
            refusal="nothing was applied: the restart was not agreed to",
            hint="answer y, or use --ignore-prompt; the changes are still pending",
        )
    document = service.apply(
        actor=session.actor, revision=pending.revision, wait_s=arguments.request_timeout
    )
    if document is None:
        raise StateError("nothing was applied: the pending changes were discarded meanwhile")
    count = len(pending.changes)
    session.note(
        f"{count} change{'' if count == 1 else 's'} applied: configuration version"
        f" {document.version}"
    )
    for change in pending.changes:
        if change.key in TEMPORARY and change.value is not None:
            session.note(f"{change.key} is not kept: it counted now, and was removed")
    if pending.needs_restart:
        session.note("a running server restarts itself now; a stopped one stays stopped")
    return 0


def _discard(arguments: argparse.Namespace, session: Session) -> int:
    if session.node.configuration.has_pending:
        # not counted: damaged ones, which cannot be read, are thrown away as well
        asking.require_of_person(
            arguments, session, "the pending changes will be thrown away; go on?"
        )
    if session.node.configuration.discard():
        session.note("the pending changes are discarded")
    else:
        session.note("there are no pending changes")
    return 0
