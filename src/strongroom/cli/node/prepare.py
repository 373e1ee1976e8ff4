"""`initialize-tsm -b FILE`: make a directory a further node of an installation, ready to join it (C-22)."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from strongroom.cli.named_files import identity, sealed_input, sealing
from strongroom.cli.terminal.session import Session
from strongroom.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from strongroom.joining.bootstrap_file import BootstrapFile
    from strongroom.joining.prepared import PreparedNode

_PATHS = ("zookeeper_ca", "zookeeper_certificate", "postgres_ca")
_OF_A_FILE = ("identity", "passphrase_file", "fingerprint", *_PATHS)
_OF_A_FIRST_NODE = ("admin", "admin_password_file", "recovery_shares", "recovery_dir")


def add_options(parser: argparse.ArgumentParser) -> None:
    """`-b`, and what opens a sealed file."""
    parser.add_argument(
        "-b",
        metavar="FILE",
        dest="bootstrap",
        help="prepare a further node from this bootstrap file or pipe; - is stdin",
    )
    sealing.add_open_options(parser)
    identity.add_option(parser)
    parser.add_argument(
        "--zookeeper-ca",
        metavar="FILE",
        help="-b: the authority of ZooKeeper's certificates; without it, the one in the file",
    )
    parser.add_argument(
        "--zookeeper-certificate",
        metavar="FILE",
        help="-b: this node's certificate and its key, PEM; without it, the path of the first node",
    )
    parser.add_argument(
        "--postgres-ca",
        metavar="FILE",
        help="-b: the authority of PostgreSQL's certificate; without it, the one in the file",
    )


def is_asked_for(arguments: argparse.Namespace) -> bool:
    """Whether a command line asks for a further node, and not for a first one.

    Raises:
        UsageError: The line mixes options of both.
    """
    if getattr(arguments, "bootstrap", None) is None:
        if any(getattr(arguments, name, None) for name in _OF_A_FILE):
            raise UsageError(
                "--identity, --passphrase-file, --fingerprint and the paths of services are for a"
                " bootstrap file: give it by -b"
            )
        return False
    given = [name for name in _OF_A_FIRST_NODE if getattr(arguments, name, None)]
    if given:
        option = given[0].replace("_", "-")
        raise UsageError(f"--{option} is for the first node, -b for a further one")
    return True


def run(arguments: argparse.Namespace, session: Session) -> int:
    """Read the file once, prove it, build the node aside, have it admitted, and have it join its cluster."""
    from strongroom.cli.node import admission
    from strongroom.joining import bearings
    from strongroom.node import create, environment, opening

    data_dir = arguments.data or session.options.data_dir
    waiting = opening.prepared_node(data_dir)
    # before a pipe is emptied
    root = create.check_new(data_dir) if waiting is None else environment.data_dir(data_dir)
    file = _file(arguments, waiting)
    if waiting is None:
        made = create.prepare_node(data_dir, file, admission.ask)
    elif waiting.is_joining:
        made = waiting
    else:
        made = create.ask_again(root, file, admission.ask)
    session.out(f"The node was prepared in {root}.")
    session.out(f"Installation: {made.installation_id}")
    session.out(f"Node: {made.node_id}")
    session.out(f"Fingerprint: {file.fingerprint or '-'}")
    for name, pins in (file.bearings or bearings.NOTHING).pins().items():
        session.note(f"{name}: believed by {', '.join(f'sha256:{one}' for one in pins)}")
    if not identity.given(arguments):
        session.note(
            "whose file it was is not proved: whoever knows a recipient can make one for it; compare"
            " the fingerprint with that of the first node before anything is entrusted to this one, or"
            " prepare it with --fingerprint F"
        )
    if made.is_joining:
        return _join(arguments, session, root, made)
    by_whom = f"admitted by {made.server}" if made.is_admitted else "not admitted by anybody yet"
    session.note(f"{by_whom}; {made.next_step}")
    return 0


def _file(arguments: argparse.Namespace, waiting: "PreparedNode | None") -> "BootstrapFile":
    """The bootstrap file, proved, and of the node that was prepared here before.

    Raises:
        ConflictError: The file is of another node than the one that was prepared.
        StrongroomError: The file is refused.
    """
    from strongroom.clock import SystemClock
    from strongroom.errors import ConflictError
    from strongroom.joining import bootstrap_file
    from strongroom.services.nodes import admit

    identity.ask(arguments, "the bootstrap file")
    by, wanted = sealing.open_from(arguments), identity.given(arguments)
    found = sealed_input.read(Path(arguments.bootstrap), bootstrap_file.MAX_BYTES, by)
    # a node that was told where the services are needs no admission, and so no valid file
    clock = None if waiting is not None and waiting.is_joining else SystemClock()
    with sealed_input.counted(found.read):
        file = admit.prove(found.data.reveal(), clock)
        identity.compare(wanted, file.fingerprint, "the bootstrap file")
        if waiting is not None and (file.installation_id, file.node_id) != (
            waiting.installation_id,
            waiting.node_id,
        ):
            raise ConflictError(
                f"this directory is {waiting.describe()}, and the file is for {file.node_id}"
                f" of {file.installation_id}",
                hint="name an empty directory",
            )
    return file


def _join(arguments: argparse.Namespace, session: Session, root: Path, made: "PreparedNode") -> int:
    from strongroom.errors import StateError
    from strongroom.node import joining
    from strongroom.services.nodes.join import OwnPaths

    given = (str(Path(one).absolute()) if one else "" for one in map(_option(arguments), _PATHS))
    joined = joining.join(root, made, OwnPaths(*given), session.note)
    if joined.cause:
        raise StateError(
            f"{made.node_id} is {joined.state.value} and not active: {joined.cause}",
            hint="see to it, then run this command again: it goes on from here",
        )
    session.out(f"State: {joined.state.value}")
    session.note(f"{made.node_id} has joined; start it: strongroom serve")
    return 0


def _option(arguments: argparse.Namespace) -> "Callable[[str], str | None]":
    return lambda name: getattr(arguments, name, None)
