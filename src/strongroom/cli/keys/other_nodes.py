"""The options about the other nodes of a cluster, of every command that changes the KMS store."""

import argparse
from typing import Any

from strongroom.cli.terminal import parsing


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add `--without-node` and `--wait`."""
    parser.add_argument(
        "--without-node",
        action="append",
        default=[],
        metavar="N",
        help="go on without this other node, which is not alive: it proves the new keys before it serves again;"
        " may be given again",
    )
    parser.add_argument(
        "--wait",
        type=parsing.number(1, parsing.LONGEST_WAIT_S),
        metavar="S",
        help="seconds for the other nodes of a cluster to prove the new keys; default 30",
    )


def asked(arguments: argparse.Namespace) -> dict[str, Any]:
    """The words of a request that say the same; none if no option was given."""
    found: dict[str, Any] = {}
    if arguments.without_node:
        found["without_node"] = arguments.without_node
    if arguments.wait is not None:
        found["wait_s"] = arguments.wait
    return found
