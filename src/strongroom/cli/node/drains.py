"""`tsm topology drain|undrain`: one node alone serves no client and works on no job (b9, b14)."""

import argparse
from typing import TYPE_CHECKING, Any, Final

from strongroom.cli.node import maintenance_mode
from strongroom.cli.terminal import asking
from strongroom.cli.terminal.session import Session
from strongroom.errors import NotFoundError
from strongroom.system.plural import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from strongroom.joining.maintenance import Maintenance
    from strongroom.services.nodes.maintenance import MaintenanceService

REMOVAL: Final = "the node is taken out"
"""The reason of the drain that a removal makes."""


def add_verbs(nouns: Any) -> None:
    """Add the parsers of `drain` and `undrain`."""
    draining = nouns.add_parser(
        "drain", help="have one node turn clients away and work on no job, until undrain"
    )
    draining.add_argument("-n", "--node", required=True, metavar="NODE", help="the node's id")
    draining.add_argument("--reason", default="", metavar="TEXT", help="for people and the log")
    maintenance_mode.add_bounds(draining)
    asking.add_option(draining)
    draining.set_defaults(run=_drain)
    undraining = nouns.add_parser("undrain", help="have a drained node serve and work again")
    undraining.add_argument("-n", "--node", required=True, metavar="NODE", help="the node's id")
    undraining.set_defaults(run=_undrain)


def _drain(arguments: argparse.Namespace, session: Session) -> int:
    service = _of(arguments, session)
    if service.present() is None:
        asking.require_of_person(
            arguments,
            session,
            f"{arguments.node} serves no client, and works on no job, until 'tsm topology undrain'; go on?",
        )
    why = arguments.reason.strip() or "drained by hand"
    found = service.enter(session.actor, why, within_s=arguments.within)
    nodes = maintenance_mode.awaited(
        session, service, found, maintenance_mode.wait_s(arguments.wait, found)
    )
    if not nodes:
        raise NotFoundError(
            f"{arguments.node} was taken out of the installation meanwhile",
            hint="'tsm topology list-nodes' shows the nodes that are left",
        )
    [one] = nodes
    session.out(f"{one.node_id}: {maintenance_mode.words(one)}")
    if one.state == "dark":
        session.note(f"{one.node_id} does not run, or is cut off; it drains when it is back")
    return 0 if one.state == "drained" else 1


def _undrain(arguments: argparse.Namespace, session: Session) -> int:
    ended = _of(arguments, session).leave(session.actor)
    session.out(f"{arguments.node} {'serves again' if ended else 'was not drained'}")
    return 0


def _of(arguments: argparse.Namespace, session: Session) -> "MaintenanceService":
    service = session.node.drain_of(arguments.node)
    service.check_known()
    return service


def before_removal(session: Session, names: "Iterable[str]") -> None:
    """Drain nodes that are alive, within a bound, and say how that went; a removal goes on in any case."""
    for name in names:
        service = session.node.drain_of(name)
        found = service.enter(session.actor, REMOVAL, within_s=maintenance_mode.WITHIN_S)
        session.note(f"{name} drains, for {counted(found.within_s, 'second')} at most")
        wait_s = maintenance_mode.wait_s(None, found)
        # none if another command has taken the node out meanwhile
        nodes = maintenance_mode.awaited(session, service, found, wait_s)
        if any(one.state != "drained" for one in nodes):
            session.note(
                f"warning: {name} has not said that it has drained; what it was doing is cut off,"
                " and its jobs go to another node"
            )


def known(session: Session, names: "Iterable[str]") -> "Mapping[str, Maintenance]":
    """The nodes that are drained alone, by their ids."""
    services = {name: session.node.drain_of(name) for name in names}
    return {name: found for name, one in services.items() if (found := one.present())}
