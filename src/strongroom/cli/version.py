"""`tsm version`, `strongroom --version`."""

import argparse

from strongroom.cli.terminal.session import Session


def build_parser(prog: str, verb: str) -> argparse.ArgumentParser:
    """The parser of `version`."""
    parser = argparse.ArgumentParser(prog=prog, description=f"print the {verb}")
    parser.set_defaults(run=_run)
    return parser


def text() -> str:
    """The line that is printed."""
    from strongroom.system import version

    return f"strongroom {version.VERSION}\n"


def _run(arguments: argparse.Namespace, session: Session) -> int:
    del arguments
    session.out(text().rstrip())
    return 0
