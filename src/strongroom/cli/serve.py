"""`strongroom serve`: the web service and, as its niced child, the backgrounder.

The backgrounder's standard input is a pipe that only this process holds: when this process goes, in
whatever way, the pipe ends and the backgrounder stops by itself.
"""

import argparse
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from strongroom.cli.session import Session

if TYPE_CHECKING:
    from strongroom.bootstrap import Node

_NICENESS = 10
_STOP_S = 15.0
_POLL_S = 0.5
_SLOWEST_RESTART_S = 30.0


def build_parser(prog: str, verb: str) -> argparse.ArgumentParser:
    """The parser of `serve`."""
    parser = argparse.ArgumentParser(prog=prog, description=f"{verb} the node until SIGTERM")
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="an address of the loopback interface; default %(default)s",
    )
    parser.add_argument(
        "--port", type=int, default=8000, help="0 picks a free one; default %(default)s"
    )
    parser.add_argument(
        "--no-backgrounder", action="store_true", help="serve only; jobs stay queued"
    )
    parser.set_defaults(run=_run)
    return parser


def _run(arguments: argparse.Namespace, session: Session) -> int:
    from strongroom.control import server as control
    from strongroom.services import log_levels
    from strongroom.topology import running, service_logs

    node = session.node
    with ExitStack() as stack:
        stack.enter_context(running.sole_server(node.paths))
        service_logs.configure(node.paths, "vizportal", access=node.access)
        following = log_levels.followed(node.coordinator, node.configuration, "vizportal")
        stack.enter_context(following)
        _bring_in_order(node, session)
        backgrounder = Backgrounder(node, enabled=not arguments.no_backgrounder)
        stack.enter_context(backgrounder.kept_running())
        stack.enter_context(_reloading(node, backgrounder))
        stack.enter_context(control.serving(node))
        _serve(arguments, session, backgrounder)
    return 0


def _serve(arguments: argparse.Namespace, session: Session, backgrounder: "Backgrounder") -> None:
    from strongroom.topology import running
    from strongroom.web import server

    node = session.node

    def ready(url: str) -> None:
        note = running.Running(url, os.getpid(), backgrounder.pid)
        running.announce(node.paths, note, node.access)
        session.out(f"ready: {url}")
        sys.stdout.flush()

    server.run(node, arguments.host, arguments.port, ready)


def _bring_in_order(node: "Node", session: Session) -> None:
    """What a start puts right: schema, YAML files, leftovers of dead processes, the keys' proof."""
    from strongroom import node_backups

    node.repository.ensure_schema()
    for path in node.configuration.project():
        session.note(f"rewrote {path}")
    if node_backups.tidy(node):
        session.note("let go of what a killed backup or restore had kept")
    status = node.kms.prove()
    for problem in status.problems:
        # what needs no key is served all the same, and status stays red
        session.note(f"keys: {problem}")


@contextmanager
def _reloading(node: "Node", backgrounder: "Backgrounder") -> Iterator[None]:
    """Reload the parts when a change of the configuration asks for it (C-20)."""

    def reload(_: object) -> None:
        node.keys.forget()
        backgrounder.restart()

    stop = node.coordinator.watch("restart", reload)
    try:
        yield
    finally:
        stop()


class Backgrounder:
    """The child process that runs jobs."""

    def __init__(self, node: "Node", *, enabled: bool) -> None:
        self._root = node.paths.root
        self._enabled = enabled
        self._child: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._stopping = threading.Event()

    @property
    def pid(self) -> int:
        """The child's process id, 0 if there is none."""
        return self._child.pid if self._child else 0

    @contextmanager
    def kept_running(self) -> Iterator[None]:
        """Start the child, start it again if it dies, stop it at the end."""
        if not self._enabled:
            yield
            return
        self._start()
        keeper = threading.Thread(target=self._keep, name="backgrounder-keeper", daemon=True)
        keeper.start()
        try:
            yield
        finally:
            self._stopping.set()
            keeper.join()
            self._stop()

    def restart(self) -> None:
        """Stop the child; the keeper starts it again, with the configuration as it is then."""
        if self._enabled and not self._stopping.is_set():
            self._stop()

    def _keep(self) -> None:
        pause = _POLL_S
        while not self._stopping.wait(pause):
            with self._lock:
                ended = self._child is None or self._child.poll() is not None
            if ended:
                self._start()
                pause = min(pause * 2, _SLOWEST_RESTART_S)
            else:
                pause = _POLL_S

    def _start(self) -> None:
        command = [sys.executable, "-m", "strongroom.backgrounder.worker"]
        with self._lock:
            self._child = subprocess.Popen(  # noqa: S603 our own interpreter and module
                ["nice", "-n", str(_NICENESS), *command, "--data-dir", str(self._root)],  # noqa: S607
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
            )

    def _stop(self) -> None:
        with self._lock:
            child = self._child
        if child is None:
            return
        child.terminate()
        try:
            child.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        if child.stdin is not None:
            child.stdin.close()
