"""Opens the control service of a serving node, and keeps its certificate valid."""

import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING

from strongroom.cli.node import places
from strongroom.cli.terminal.session import Session
from strongroom.errors import StrongroomError
from strongroom.eventlog.base import SYSTEM

if TYPE_CHECKING:
    from strongroom.doors.control.remote_server import Asked


def opened(port: int | None, session: Session, stack: ExitStack) -> str:
    """Open the control service until the stack ends, if a port says so; returns its URL, empty without one.

    A node of a cluster keeps a certificate in any case, since it may be called later.

    Args:
        port: The port, 0 for a free one; None for that of the setting `control.port`.
        session: The session of the serving process.
        stack: Ends it.

    Raises:
        ConflictError: The port is taken.
        StateError: The node has no certificate, or the configuration holds a value that its setting cannot have.
    """
    host, held = places.place(session.node.configuration, places.CONTROL)
    port = held if port is None else port
    if port is None and not session.node.paths.services.exists():
        return ""
    from strongroom.node import certificates

    node = session.whole_node
    try:
        certificates.service(node).follow(SYSTEM)
    except StrongroomError as error:
        session.note(f"certificates: {error.with_hint}")
    url, address = "", ""
    if port is not None:
        url, address = _open(session, host, port, stack)
    stack.enter_context(certificates.kept(node, SYSTEM, address))
    return url


def _open(session: Session, host: str, port: int, stack: ExitStack) -> tuple[str, str]:
    """Open the service; returns its URL, and where other machines reach it."""
    from strongroom.doors.control import remote_server
    from strongroom.doors.control.remote_server import RemotePorts
    from strongroom.node import certificates
    from strongroom.system import version

    node = session.whole_node
    ports = RemotePorts(
        services=node,
        links=certificates.links(node),
        run=lambda asked: _run(session, asked),
        node_id=session.node.paths.node_id,
        version=version.VERSION,
    )
    endpoint = stack.enter_context(remote_server.serving(ports, host, port))
    is_everywhere = host in {"0.0.0.0", "::"}  # noqa: S104 compared, not bound
    outside = endpoint._replace(host=socket.gethostname()) if is_everywhere else endpoint
    return f"https://{endpoint.text}", outside.text


def _run(session: Session, asked: "Asked") -> int | str:
    """Carry out a command for somebody elsewhere; returns its exit code, or a question."""
    from strongroom.cli.terminal.on_behalf import Far, QuestionError, SessionOnBehalf

    assert session.run_line is not None  # noqa: S101 for the type checker: the dispatcher gave it
    far = Far(asked.actor, asked.value, asked.asks, asked.say)
    try:
        return session.run_line(list(asked.words), SessionOnBehalf(session, far))
    except QuestionError as question:
        return question.question
