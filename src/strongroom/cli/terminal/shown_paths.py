"""Paths in lists: seen from the data directory, where they lie in it (findings F4)."""

import argparse
from collections.abc import Callable
from pathlib import Path

from strongroom.cli.terminal.session import Session


def add_option(parser: argparse.ArgumentParser) -> None:
    """`--full-paths`, for a list that shows paths."""
    parser.add_argument(
        "--full-paths",
        action="store_true",
        help="show paths from the root, not from the data directory",
    )


def shortening(arguments: argparse.Namespace, session: Session) -> Callable[[str], str]:
    """How a list shows paths; those that lie elsewhere, and what is no path, stay as they are."""
    if arguments.full_paths:
        return lambda text: text
    places = dict.fromkeys((session.node.paths.root, session.node.paths.root.absolute()))

    def short(text: str) -> str:
        for root in places:
            if Path(text).is_relative_to(root):
                return str(Path(text).relative_to(root))
        return text

    return short
