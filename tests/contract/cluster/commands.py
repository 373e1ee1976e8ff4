"""Commands on the nodes of a cluster, in this process."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from strongroom.cli import dispatch
from strongroom.cli.node import start_up
from strongroom.cli.terminal.session import Session, SessionOptions
from strongroom.node import agent, opening
from strongroom.node.opening import Node
from tests.contract.joining.commands import Said, make
from tests.support.web_client import Served

Run = Callable[..., Said]


def run_aside(tool: str, home: Path, *words: str) -> Said:
    """Run a command for what several tests have: pytest keeps what a test itself prints, and nothing else."""
    with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
        code = dispatch.main(tool, [*words, "--data-dir", str(home)])
    return Said(code, out.getvalue(), err.getvalue())


def nodes(run: Run, home: Path) -> dict[str, dict[str, Any]]:
    """What `list-nodes` of a node says, by node."""
    said = run("tsm", home, "topology", "list-nodes", "--json")
    assert said.code == 0, said.err
    return {one["node"]: one for one in json.loads(said.out)}


def joined(served: Served, run: Run, second: Path) -> Path:
    """A second node that is active."""
    file = make(served, run)
    fingerprint = served.node.identity.fingerprint()
    said = run("initialize-tsm", second, "-b", str(file), "--fingerprint", fingerprint)
    assert said.code == 0, said.err
    assert "State: active" in said.out
    return second


def started(home: Path) -> None:
    """What a server does at its start, before it listens."""
    with Session(SessionOptions(str(home))) as session:
        start_up.check_nobody_replaces(session)
        start_up.take_kept_keys(session)
        start_up.bring_in_order(session)
        with session.whole_node.announced():
            start_up.check_nobody_replaces(session)


@contextmanager
def opened(home: Path) -> Iterator[Node]:
    """A node whose data directory is given."""
    with closing(opening.open_node(str(home))) as node:
        yield node


@contextmanager
def at_work(home: Path) -> Iterator[Node]:
    """A node that is alive and does its duties."""
    with opened(home) as node, node.announced(), agent.at_work(node):
        yield node
