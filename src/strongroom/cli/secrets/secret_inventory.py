"""`tsm security secrets list|inventory`: which secrets there are, how old, and where forms of them lie (P15)."""

import argparse
from typing import TYPE_CHECKING

from strongroom.cli.terminal import columns, shown_paths
from strongroom.cli.terminal.session import Session

if TYPE_CHECKING:
    from strongroom.services.secrets.inventory import SecretAge


def add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `list` and `inventory`."""
    show = commands.add_parser("list", help="show every secret parameter, its user and its age")
    show.add_argument(
        "--due",
        action="store_true",
        help="only those whose policy wants a new value, and certificates that end within 30 days",
    )
    show.add_argument("--json", action="store_true", help="print them as a JSON list")
    columns.add_options(show)
    show.set_defaults(run=_list)
    places = commands.add_parser("inventory", help="show where forms of the secrets lie")
    places.add_argument("--json", action="store_true", help="print them as a JSON list")
    columns.add_options(places)
    shown_paths.add_option(places)
    places.set_defaults(run=_inventory)


def _list(arguments: argparse.Namespace, session: Session) -> int:
    inventory = session.node.secret_inventory
    found = inventory.due() if arguments.due else inventory.list()
    if arguments.json:
        session.out_json([one._asdict() for one in found])
    elif found:
        heads = ("PARAMETER", "ORIGIN", "AGE", "LAST ROTATED", "LAST REVEALED", "DUE", "USED BY")
        columns.show(session, arguments, heads, [_row(one) for one in found])
    for left in session.node.rotation.outstanding():
        session.note(f"{left.parameters[0]}: rotation not finished, {left.problem}; {left.hint}")
    due = sum(one.due for one in found)
    if due:
        session.note(f"{due} due; renew them with 'tsm security secrets rotate'")
        given = sum(one.due and one.origin == "admin" for one in found)
        if given:
            session.note(f"{given} of them from an administrator: 'tsm configuration set' sets it")
    elif arguments.due:
        session.note("none is due")
    return 0


def _row(one: "SecretAge") -> tuple[str, ...]:
    age = "not set" if not one.is_set else "-" if one.age_days is None else f"{one.age_days} d"
    due = f"{one.due_at} !" if one.due else one.due_at or "-"
    times = (one.rotated_at or "-", one.revealed_at or "-")
    return (one.name, one.origin, age, *times, due, one.consumer)


def _inventory(arguments: argparse.Namespace, session: Session) -> int:
    found = session.node.secret_inventory.places()
    if arguments.json:
        session.out_json([one._asdict() for one in found])
        return 0
    heads = ("PATH", "FORM", "MODE", "OWNER", "PARAMETERS", "WARNING")
    short = shown_paths.shortening(arguments, session)
    rows = [
        (
            short(one.path),
            one.form,
            one.mode or "-",
            one.owner or "-",
            " ".join(one.parameters),
            one.warning,
        )
        for one in found
    ]
    columns.show(session, arguments, heads, rows)
    return 0
