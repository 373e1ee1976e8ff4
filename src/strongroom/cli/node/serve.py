"""`strongroom serve`: a node's own process, with the web service in it and, as its niced children, the backgrounders.

The topology says which of the two the node has; each begins and ends by it while the node is served.

`backgrounder_keeper` starts the child, and replaces one that died or hangs; `serve.json` names the one that lives.
"""

import argparse
import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, NamedTuple

from strongroom.cli.node import placement, places, remote_control, start_up
from strongroom.cli.node.backgrounder_keeper import Backgrounder, Backgrounders, Seat
from strongroom.cli.terminal import parsing
from strongroom.cli.terminal.session import Session
from strongroom.errors import StateError, StrongroomError

if TYPE_CHECKING:
    from strongroom.cli.node.placement import Placement
    from strongroom.cli.ports.commands import CommandServices
    from strongroom.doors.http.gate import Gate

_log = logging.getLogger("vizportal.Serve")


def build_parser(prog: str, verb: str) -> argparse.ArgumentParser:
    """The parser of `serve`."""
    parser = argparse.ArgumentParser(prog=prog, description=f"{verb} the node until SIGTERM")
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="an address of the loopback interface; default %(default)s",
    )
    parser.add_argument(
        "--port",
        type=parsing.number(0, 65535),
        default=8000,
        help="0 picks a free one; default %(default)s",
    )
    parser.add_argument(
        "--vault-port",
        type=parsing.number(0, 65535),
        help="a port for clients of Vault as well; 0 picks a free one; default: the setting vault.port",
    )
    parser.add_argument(
        "--control-port",
        type=parsing.number(0, 65535),
        help="a port for tsm and nodes on other machines; 0 picks a free one; default: the setting control.port",
    )
    parser.add_argument(
        "--no-backgrounder", action="store_true", help="serve only; jobs stay queued"
    )
    parser.set_defaults(run=_run)
    return parser


def _run(arguments: argparse.Namespace, session: Session) -> int:
    from strongroom.doors.control import server as control
    from strongroom.doors.http.gate import Gate
    from strongroom.runtime import running, service_logs
    from strongroom.services.configuration import log_levels
    from strongroom.services.jobs import processes

    node = session.node
    with ExitStack() as stack:
        stack.enter_context(running.sole_server(node.paths))
        service_logs.configure(node.paths, "vizportal", file_modes=node.file_modes)
        start_up.check_nobody_replaces(session)
        start_up.take_kept_keys(session)
        following = log_levels.followed(node.configuration, "vizportal")
        stack.enter_context(following)
        start_up.bring_in_order(session)
        # the other nodes of a cluster see this one, and a copy of its disk is refused on another machine
        stack.enter_context(node.announced())
        start_up.check_nobody_replaces(session)
        leaving = _Leaving()
        _begin_duties(session, stack, leaving)
        gate = Gate()
        placed = stack.enter_context(placement.followed(node, gate))
        note = _Note(node)

        def keeper(place: int) -> Backgrounder:
            return Backgrounder(
                node.paths.root,
                enabled=not arguments.no_backgrounder,
                changed=note.renew,
                seat=Seat(place, lambda: placed.backgrounders() > place, lambda: placed.is_ending),
            )

        most = processes.MOST[processes.Process.BACKGROUNDER]
        note.backgrounders = Backgrounders(placed.backgrounders, keeper, most)
        stack.enter_context(note.backgrounders.kept_running())
        stack.enter_context(_reloading(node, note.backgrounders))
        stack.enter_context(control.serving(node))
        # the control service is the node's own, with a web service and without one
        opened = remote_control.opened(arguments.control_port, session, stack)
        doors = _Doors(note, opened, gate)
        with placement.told_to_end() as ending:
            while not ending.is_set():
                if placed.counts.web:
                    _serve(arguments, session, doors, placed, ending)
                else:
                    _wait(session, doors, placed, ending)
    leaving.check()
    return 0


class _Leaving:
    """Ends this process by itself, as by SIGTERM: what runs is finished within its bound."""

    def __init__(self) -> None:
        self._begins_anew = False

    def leave(self) -> None:
        """End for good: a start would be refused."""
        os.kill(os.getpid(), signal.SIGTERM)

    def begin_anew(self) -> None:
        """End to be started again by a supervisor, which does so after a failure."""
        self._begins_anew = True
        self.leave()

    def check(self) -> None:
        """Fail if the process is to be started again.

        Raises:
            StateError: The keys or rows that the node served were replaced.
        """
        if self._begins_anew:
            raise StateError(
                "what this node served was replaced while it was cut off, so it ended",
                hint="start it again: it takes what is there now",
            )


def _begin_duties(session: Session, stack: ExitStack, leaving: _Leaving) -> None:
    """Begin what the node does beside serving; of a single node, that is what the controller of an installation does."""
    from strongroom.node import controller

    if not session.node.paths.services.exists():
        stack.enter_context(controller.standing(session.whole_node))
        return
    from strongroom.node import agent

    stack.enter_context(agent.at_work(session.whole_node, leaving.leave, leaving.begin_anew))


class _Note:
    """The contents of `serve.json`: the node's addresses, and its running processes."""

    def __init__(self, node: "CommandServices") -> None:
        self.backgrounders: Backgrounders | None = None
        self._node = node
        self._url: str | None = None
        self._lock = threading.Lock()

    def publish(self, url: str) -> None:
        """Connections are accepted; without a URL, there is no web service."""
        self._url = url
        self.renew()

    def renew(self) -> None:
        """Say it anew: there is another backgrounder. Before the node listens there is nothing to say."""
        from strongroom.runtime import running

        with self._lock:
            if self._url is not None and self.backgrounders is not None:
                first, *more = self.backgrounders.pids
                found = running.Running(self._url, os.getpid(), first, tuple(more))
                try:
                    running.announce(self._node.paths, found, self._node.file_modes)
                except StrongroomError:
                    # a full disk ends no server, and status sees which processes are alive
                    _log.exception("serve.json cannot be written")


class _Doors(NamedTuple):
    """The doors besides that of the web service, for the lines that name them.

    Attributes:
        note: The contents of `serve.json`.
        control: The URL of the control service; empty if there is none.
        gate: The gate before the requests of clients.
    """

    note: _Note
    control: str
    gate: "Gate"

    def lines(self) -> list[str]:
        """The lines by which a caller learns where these doors are."""
        return [f"ready control: {self.control}"] if self.control else []


def _serve(
    arguments: argparse.Namespace,
    session: Session,
    doors: _Doors,
    placed: "Placement",
    ending: "threading.Event",
) -> None:
    """Serve clients, until a signal comes or the topology takes the web service away."""
    from strongroom.doors.http import server

    host, held = places.place(session.node.configuration, places.VAULT)
    port = held if arguments.vault_port is None else arguments.vault_port
    with ExitStack() as stack:
        vault = [] if port is None else [_open_vault(session, host, port, stack, doors.gate)]

        def ready(url: str) -> None:
            doors.note.publish(url)
            # in one piece, so that whoever waits for the first line has the others as well
            session.out_lines(
                [f"ready: {url}", *(f"ready vault: {one}" for one in vault), *doors.lines()]
            )

        was_dismissed = server.run(
            session.whole_node,
            arguments.host,
            arguments.port,
            ready,
            conduct=server.Conduct(
                # a signal may have come before the web service had its handlers
                is_wanted=lambda: placed.counts.web > 0 and not ending.is_set(),
                gate=doors.gate,
            ),
        )
        if not was_dismissed:
            ending.set()


def _wait(session: Session, doors: _Doors, placed: "Placement", ending: "threading.Event") -> None:
    """Be a node without a web service, until a signal comes or the topology has one here."""
    doors.note.publish("")
    said = "ready without a web service: the topology has none on this node"
    session.out_lines([said, *doors.lines()])
    while not placed.counts.web and not ending.wait(placement.LOOK_S):
        pass


def _open_vault(session: Session, host: str, port: int, stack: ExitStack, gate: "Gate") -> str:
    """Open the door for clients of Vault, until the stack ends; returns its URL."""
    from strongroom.doors.vault import server

    return stack.enter_context(server.serving(session.whole_node, host, port, gate=gate))


@contextmanager
def _reloading(node: "CommandServices", backgrounders: "Backgrounders") -> Iterator[None]:
    """Reload the parts when a change of the configuration asks for it (C-20)."""

    def reload() -> None:
        node.kms_cache.forget()
        backgrounders.restart()

    stop = node.configuration.on_restart(reload)
    try:
        yield
    finally:
        stop()
