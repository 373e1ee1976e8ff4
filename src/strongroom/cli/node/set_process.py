"""`tsm topology set-process`: which processes a node runs (b9)."""

import argparse
from typing import Any

from strongroom.cli.terminal import asking, parsing
from strongroom.cli.terminal.session import Session


def add_verb(nouns: Any) -> None:
    """Add the parser of `set-process`."""
    process = nouns.add_parser("set-process", help="say which processes a node runs")
    process.add_argument("-n", "--node", required=True, metavar="NODE", help="the node's id")
    process.add_argument(
        "-pr", "--process", required=True, metavar="PROCESS", help="web or backgrounder"
    )
    process.add_argument(
        "-c",
        "--count",
        required=True,
        type=parsing.number(0, 1000),
        metavar="COUNT",
        help="how many the node runs; 0 takes the process away",
    )
    asking.add_option(process)
    process.set_defaults(run=_run)


def _run(arguments: argparse.Namespace, session: Session) -> int:
    from strongroom.services.jobs import processes
    from strongroom.services.jobs.processes import Process

    process, count = processes.named(arguments.process), arguments.count
    service = session.node.node_processes
    processes.check_count(process, count)
    loss = ""
    if not count and service.is_last(arguments.node, process):
        loss = "no client is served" if process is Process.WEB else "no node works on jobs"
        asking.require(
            arguments, session, f"{arguments.node} has the last {process}: {loss} without; go on?"
        )
    service.set(session.actor, arguments.node, process, count)
    session.out(f"{arguments.node}: {process} {count}")
    if loss:
        session.note(f"no node has a process {process} now: {loss}")
    return 0
