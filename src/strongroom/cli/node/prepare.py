"""`initialize-tsm -b FILE`: make a directory a further node of an installation, ready to join it (C-22)."""

import argparse
from pathlib import Path

from strongroom.cli.named_files import identity, sealed_input, sealing
from strongroom.cli.terminal.session import Session
from strongroom.errors import UsageError

_OF_A_FILE = ("identity", "passphrase_file", "fingerprint")
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


def is_asked_for(arguments: argparse.Namespace) -> bool:
    """Whether a command line asks for a further node, and not for a first one.

    Raises:
        UsageError: The line mixes options of both.
    """
    if getattr(arguments, "bootstrap", None) is None:
        if any(getattr(arguments, name, None) for name in _OF_A_FILE):
            raise UsageError(
                "--identity, --passphrase-file and --fingerprint are for a bootstrap file: give it by -b"
            )
        return False
    given = [name for name in _OF_A_FIRST_NODE if getattr(arguments, name, None)]
    if given:
        option = given[0].replace("_", "-")
        raise UsageError(f"--{option} is for the first node, -b for a further one")
    return True


def run(arguments: argparse.Namespace, session: Session) -> int:
    """Read the file once, prove it, build the node aside, have it admitted, and make it visible."""
    from strongroom.cli.node import admission
    from strongroom.clock import SystemClock
    from strongroom.joining import bootstrap_file
    from strongroom.node import create
    from strongroom.services.nodes import admit

    data_dir = arguments.data or session.options.data_dir
    root = create.check_new(data_dir)  # before a pipe is emptied
    by, wanted = sealing.open_from(arguments), identity.given(arguments)
    found = sealed_input.read(Path(arguments.bootstrap), bootstrap_file.MAX_BYTES, by)
    with sealed_input.counted(found.read):
        file = admit.prove(found.data.reveal(), SystemClock())
        identity.compare(wanted, file.fingerprint, "the bootstrap file")
    made = create.prepare_node(data_dir, file, admission.ask)
    session.out(f"The node was prepared in {root}.")
    session.out(f"Installation: {made.installation_id}")
    session.out(f"Node: {made.node_id}")
    session.out(f"Fingerprint: {file.fingerprint or '-'}")
    if not wanted:
        session.note(
            "whose file it was is not proved: whoever knows a recipient can make one for it; compare"
            " the fingerprint with that of the first node before anything is entrusted to this one, or"
            " prepare it with --fingerprint F"
        )
    by_whom = f"admitted by {made.server}" if made.is_admitted else "not admitted by anybody yet"
    session.note(f"{by_whom}; it joins when the cluster comes")
    return 0
