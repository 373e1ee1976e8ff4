"""A node that answers other machines in this process: its control service, without its web service."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from strongroom.cli import dispatch
from strongroom.cli.node import remote_control
from strongroom.cli.terminal.session import Session, SessionOptions
from strongroom.clock import Clock
from strongroom.node import opening
from strongroom.node.opening import Node
from strongroom.system import hosts
from strongroom.system.hosts import Endpoint


class Controlled(NamedTuple):
    """A node whose control service answers."""

    node: Node
    url: str

    @property
    def endpoint(self) -> Endpoint:
        return hosts.endpoint(self.url.removeprefix("https://"))


@contextmanager
def controlled(home: Path, clock: Clock | None = None) -> Iterator[Controlled]:
    """The node of a data directory, at a free port, until the end of the block; by another clock, if one is given."""
    with Session(SessionOptions(str(home)), dispatch.run_line) as session, ExitStack() as stack:
        if clock is not None:
            session.__dict__["whole_node"] = Node(opening.enter(str(home)), clock)
        url = remote_control.opened(0, session, stack)
        yield Controlled(session.whole_node, url)
