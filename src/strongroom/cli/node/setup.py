"""`strongroom init` and `initialize-tsm`: create a node in an empty data directory."""

import argparse
from pathlib import Path

from strongroom.cli.keys import recovery_kit
from strongroom.cli.named_files.passwords import read_password
from strongroom.cli.node import prepare
from strongroom.cli.terminal.session import Session, SessionOptions
from strongroom.errors import UsageError


def build_parser(prog: str, verb: str) -> argparse.ArgumentParser:
    """The parser of `init` and of `initialize-tsm`."""
    parser = argparse.ArgumentParser(
        prog=prog, description="create a node: keystore, keys, secrets, first administrator"
    )
    if not verb:
        parser.add_argument("--accepteula", action="store_true", help="accepted, not needed")
        parser.add_argument("-d", metavar="DIR", dest="data", help="the data directory")
        prepare.add_options(parser)
    parser.add_argument("--admin", metavar="NAME", help="name of the first administrator")
    parser.add_argument(
        "--admin-password-file", metavar="FILE", help="file with the password; - is stdin"
    )
    parser.add_argument(
        "--recovery-shares", metavar="K/N", help="make a recovery kit of N shares of which K open"
    )
    parser.add_argument("--recovery-dir", metavar="DIR", help="a new or empty folder for the kit")
    parser.set_defaults(run=_run, data=None)
    return parser


def _run(arguments: argparse.Namespace, session: Session) -> int:
    from strongroom.node import create, environment

    if prepare.is_asked_for(arguments):
        return prepare.run(arguments, session)
    name = arguments.admin or environment.local_actor().removeprefix("os:")
    data_dir = arguments.data or session.options.data_dir
    kit = _kit(arguments, create.check_new(data_dir))
    password = read_password(arguments.admin_password_file, f"password for {name}")
    made = create.create_node(data_dir, name, password)
    session.out(f"The node was created in {made.root}.")
    session.out(f"Installation: {made.installation_id}")
    session.out(f"Fingerprint: {made.fingerprint}")
    session.out(f"Administrator: {name}")
    if kit is not None:
        with Session(SessionOptions(data_dir)) as opened:
            recovery_kit.add_kit(opened, *kit)
    session.note(
        "note the fingerprint elsewhere: by it you know this installation again in a recovery, a"
        " restore and the file for another node"
    )
    session.note("start it with 'strongroom serve'; see its keys with 'tsm security kms status'")
    return 0


def _kit(arguments: argparse.Namespace, home: Path) -> tuple[int, int, Path] | None:
    """The kit that is asked for, checked before anything is made."""
    if not arguments.recovery_shares and not arguments.recovery_dir:
        return None
    if not arguments.recovery_shares or not arguments.recovery_dir:
        raise UsageError("--recovery-shares and --recovery-dir go together")
    folder = Path(arguments.recovery_dir).absolute()
    threshold, count = recovery_kit.parse_shares(arguments.recovery_shares)
    recovery_kit.check_kit(threshold, count, folder, home)
    return threshold, count, folder
