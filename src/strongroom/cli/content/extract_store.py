"""`strongroom extracts store` and `move`: where the files of extracts lie, and how they come somewhere else."""

import argparse
from typing import TYPE_CHECKING

from strongroom.cli.terminal import sizes
from strongroom.cli.terminal.session import Session
from strongroom.objectstore import registry
from strongroom.system.plural import counted

if TYPE_CHECKING:
    from strongroom.services.content.move_files import Moved


def add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the two commands to `extracts`."""
    showing = commands.add_parser("store", help="show where the files of extracts lie")
    showing.add_argument("--json", action="store_true", help="print it as JSON")
    showing.set_defaults(run=_show)
    moving = commands.add_parser(
        "move",
        help="move the files of all extracts to an object store, or back to the disk",
        description="Move the files of all extracts; an interrupted run is gone on with, or undone by a move to the"
        " store in force.",
    )
    moving.add_argument(
        "--to",
        required=True,
        metavar="ADDRESS",
        help=f"{', '.join(row.usage for row in registry.ROWS)}, or disk",
    )
    moving.add_argument(
        "--dry-run", action="store_true", help="prove the store, and say how much there is"
    )
    moving.add_argument("--json", action="store_true", help="print the receipt as JSON")
    sizes.add_option(moving)
    moving.set_defaults(run=_move)


def _show(arguments: argparse.Namespace, session: Session) -> int:
    from strongroom.node import file_moves

    place = file_moves.present(session.whole_node)
    if arguments.json:
        session.out_json(place._asdict())
        return 0
    session.out(place.address)
    if place.coming:
        session.note(
            f"the files are being moved to {place.coming}: 'strongroom extracts move' goes on with that"
        )
    if place.leaving:
        session.note(
            f"files may be left in {place.leaving}: 'strongroom extracts move' removes them"
        )
    return 0


def _move(arguments: argparse.Namespace, session: Session) -> int:
    from strongroom.cli.terminal.bar import Bar
    from strongroom.node import file_moves

    node = session.whole_node
    target = file_moves.parse(arguments.to)
    if arguments.dry_run:
        found = file_moves.moves(node).plan(target)
        _tell(session, arguments, found, "would be copied")
        session.note("nothing was changed (--dry-run)")
        return 0
    with file_moves.alone(node), Bar("move") as bar:
        done = file_moves.moves(node).move(session.actor, target, bar.begin)
    _tell(session, arguments, done, "copied")
    return 0


def _tell(session: Session, arguments: argparse.Namespace, done: "Moved", verb: str) -> None:
    if arguments.json:
        session.out_json(done._asdict())
        return
    if done.before != done.after:
        size = sizes.phrase(arguments, done.size)
        session.out(
            f"{counted(done.files, 'file')}, {size}, {verb}; {done.present} were there already"
        )
    if done.removed:
        session.out(f"{counted(done.removed, 'file')} removed where they are not needed any longer")
    session.out(f"Extracts lie in: {done.before if arguments.dry_run else done.after}")
