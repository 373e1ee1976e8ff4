"""Looks at the servers of an ensemble, and at what a session with it gives, as they are now; nothing is changed.

`probing` proves before a move that every link and right is there; this module tells of an ensemble that is in use.
"""

import re
import ssl
from typing import Final, NamedTuple

from strongroom import foreign_words
from strongroom.coordination.zookeeper import probing, requests
from strongroom.coordination.zookeeper.session import Session, refusals, tls_context
from strongroom.coordination.zookeeper.settings import ZookeeperSettings
from strongroom.coordination.zookeeper.tree import Tree
from strongroom.errors import CoordinationError
from strongroom.system.hosts import Endpoint

_ROLE: Final = re.compile(r"^Mode: (\w+)\s*$", re.MULTILINE)


class ServerState(NamedTuple):
    """A server, by its own words.

    Attributes:
        server: The server's name and port.
        is_reachable: Whether the server answers over TLS, with a certificate that has this name.
        role: The part in the quorum, `leader`, `follower`, `observer` or `standalone`; None if it is in none, or does not
            say.
        version: The version of its program; None if it does not say.
        problem: The reason for which it does not serve; empty if it does.
    """

    server: str
    is_reachable: bool = False
    role: str | None = None
    version: str | None = None
    problem: str = ""


class SessionState(NamedTuple):
    """A session of this node's user.

    Attributes:
        id: The session's id; None if none came about, or the tree could not be read by it.
        problem: The reason; empty if all is well.
    """

    id: str | None = None
    problem: str = ""


def server(one: Endpoint, settings: ZookeeperSettings) -> ServerState:
    """The state of a server, which is asked over TLS."""
    try:
        context = tls_context(settings)
        said = probing.asked(one, context).decode("utf-8", "replace")
    except CoordinationError as error:
        return ServerState(one.text, problem=error.message)
    except (OSError, ssl.SSLError) as error:
        return ServerState(one.text, problem=f"no connection: {foreign_words.of(error)}")
    role = _ROLE.search(said)
    if role is not None:
        return ServerState(one.text, True, role[1], probing.version_in(said))
    in_none = "not currently serving" in said
    problem = "runs, and is in no quorum" if in_none else "does not tell its role"
    return ServerState(one.text, True, problem=problem)


def session(settings: ZookeeperSettings) -> SessionState:
    """The state of a session that is begun for this, and ended: the root of the tree is read behind a sync."""
    made = Session(settings)
    try:
        with refusals(made.where, settings.user):
            root = requests.read(made, Tree(settings.root).root)
            number = made.ask(_Number)
    except CoordinationError as error:
        return SessionState(problem=error.message)
    finally:
        made.close()
    if root is None:
        return SessionState(problem=f"there is no tree {settings.root}")
    return SessionState(f"0x{number:x}")


class _Number:
    """The number of a client's session, which the client knows."""

    def __init__(self, client: object) -> None:
        self._client = client

    def get(self, timeout: float) -> int:
        """Return the number."""
        del timeout
        number: int = self._client.client_id[0]  # type: ignore[attr-defined]
        return number
