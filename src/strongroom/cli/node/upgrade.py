"""`strongroom upgrade`: bring a node of an older format to the formats of this release."""

import argparse
from contextlib import nullcontext
from dataclasses import asdict
from typing import TYPE_CHECKING

from strongroom.cli.terminal import asking
from strongroom.cli.terminal.session import Session
from strongroom.system.plural import counted

if TYPE_CHECKING:
    from strongroom.services.nodes.upgrade import Receipt, UpgradeService

_QUESTION = "an earlier release opens nothing of the node afterwards: go on?"


def build_parser(prog: str, verb: str) -> argparse.ArgumentParser:
    """The parser of `upgrade`."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description=f"{verb} a node of an older format to the formats of this release;"
        " afterwards an earlier release opens nothing of it",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="tell the steps, and whether they would be refused"
    )
    parser.add_argument(
        "--no-backup", action="store_true", help="make no backup before anything is changed"
    )
    asking.add_option(parser)
    parser.add_argument("--json", action="store_true", help="print the receipt as JSON")
    parser.set_defaults(run=_run)
    return parser


def _run(arguments: argparse.Namespace, session: Session) -> int:
    from strongroom.node import upgrade

    with upgrade.opened(session.options.data_dir) as node:
        service = upgrade.upgrade_of(node)
        if arguments.dry_run:
            return _tell_plan(arguments, session, service)
        # a node that needs nothing may be served meanwhile
        with upgrade.alone(node) if service.is_needed else nullcontext():
            if service.is_needed:
                asking.require_of_person(arguments, session, _QUESTION)
            done = service.run(session.actor, session.note, with_backup=not arguments.no_backup)
    _tell(arguments, session, done)
    return 0


def _tell_plan(arguments: argparse.Namespace, session: Session, service: "UpgradeService") -> int:
    plan = service.plan(with_backup=not arguments.no_backup)
    if arguments.json:
        session.out_json({"steps": list(plan)})
        return 0
    for number, step in enumerate(plan, start=1):
        session.out(f"{number}. {step}")
    session.note(
        "nothing was changed (--dry-run)" if plan else "the node has the formats of this release"
    )
    return 0


def _tell(arguments: argparse.Namespace, session: Session, done: "Receipt") -> None:
    if arguments.json:
        session.out_json(asdict(done))
        return
    if not done.run:
        session.out("The node has the formats of this release; nothing was changed.")
        return
    session.out("The node was brought to the formats of this release.")
    session.out(f"Upgrade: {done.run} at {done.at}")
    session.out(f"Installation: {done.installation_id}, {done.node_id}")
    session.out(f"Backup before: {done.backup or 'none'}")
    session.out(f"Event log: {counted(done.events, 'event')}")
    for number, step in enumerate(done.steps, start=1):
        session.out(f"{number}. {step}")
    session.note("an earlier release opens nothing of the node any more")
