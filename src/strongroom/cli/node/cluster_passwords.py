"""`strongroom cluster rotate-password` and `set-password`: the passwords by which this node opens its services."""

import argparse
from typing import TYPE_CHECKING, Any, Final

from strongroom.cli.terminal import parsing
from strongroom.cli.terminal.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST_PASSWORD: Final = 1024
_WAIT_S: Final = 30
_SERVICES: Final = ("postgres", "zookeeper")


def add_verbs(verbs: Any) -> None:
    """Add both commands to the parser of `cluster`."""
    rotating = verbs.add_parser(
        "rotate-password", help="give this node's user at ZooKeeper or PostgreSQL a new password"
    )
    rotating.set_defaults(run=_rotate)
    setting = verbs.add_parser(
        "set-password", help="use a password that was changed at ZooKeeper or PostgreSQL itself"
    )
    setting.add_argument(
        "--password-file", metavar="FILE", required=True, help="file with the password"
    )
    setting.set_defaults(run=_set)
    rotating.add_argument(
        "--wait",
        type=parsing.number(0, parsing.LONGEST_WAIT_S),
        default=_WAIT_S,
        metavar="S",
        help="seconds that the other nodes have to take part; default %(default)s",
    )
    for one in (rotating, setting):
        one.add_argument("service", choices=_SERVICES, help="the service")


def _rotate(arguments: argparse.Namespace, session: Session) -> int:
    from strongroom.node import service_passwords

    note: Callable[[str], None] = session.note
    done = service_passwords.rotate(
        session.whole_node, arguments.service, session.actor, note, wait_s=arguments.wait
    )
    if done.resumed:
        session.note("an interrupted change was finished")
    session.out(f"The password for {arguments.service} is a new one.")
    return 0


def _set(arguments: argparse.Namespace, session: Session) -> int:
    from strongroom.cli.named_files import small_files
    from strongroom.crypto.secret import SecretBytes
    from strongroom.node import service_passwords

    password = SecretBytes(
        small_files.read_value(
            arguments.password_file, "the password for the service", limit=LONGEST_PASSWORD
        )
    )
    service_passwords.take_over(session.whole_node, arguments.service, password, session.actor)
    session.out(f"This node opens {arguments.service} by this password from now on.")
    return 0
