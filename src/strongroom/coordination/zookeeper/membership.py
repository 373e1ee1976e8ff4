"""The nodes that are alive: each has a node of ZooKeeper that goes with the session of its process."""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Final

from strongroom.canonical import peek
from strongroom.coordination.zookeeper import requests
from strongroom.coordination.zookeeper.requests import Kind, Operation, Refused
from strongroom.coordination.zookeeper.session import Lost, Session, exceptions
from strongroom.coordination.zookeeper.settings import Deadline, ZookeeperSettings
from strongroom.coordination.zookeeper.tree import Tree
from strongroom.errors import ConflictError, CoordinationError

_LOOK_S: Final = 1.0


class Membership:
    """The members, and this process as one of them."""

    def __init__(self, session: Session, tree: Tree, settings: ZookeeperSettings) -> None:
        self._session = session
        self._tree = tree
        self._limits = settings.limits
        self._node_id = settings.node_id
        self._boot_id = settings.boot_id

    def members(self) -> list[str]:
        """The ids of the nodes alive now.

        Raises:
            CoordinationError: No server answers in time.
        """
        return requests.children(self._session, self._tree.live)

    def boots(self) -> Mapping[str, str]:
        """The id of the process that is alive for each node; empty where a node's says none.

        Raises:
            CoordinationError: No server answers in time.
        """
        ids = self.members()
        nodes = requests.read_together(self._session, [self._tree.member(one) for one in ids])
        return {
            node_id: _boot_of(node.value)
            for node_id, node in zip(ids, nodes, strict=True)
            if node is not None
        }

    @contextmanager
    def alive(self) -> Iterator[None]:
        """Be a member until the end of the block; a new session is announced anew.

        Raises:
            ConflictError: Another process is a member under this id, and stays for longer than a session of a dead one.
            CoordinationError: No server answers in time.
        """
        mine = json.dumps({"boot": self._boot_id}).encode()
        until = Deadline(self._limits.session_s + self._limits.read_s)
        pause = threading.Event()
        # after a crash the session of the process before us lives on for a while
        while not self._announce(mine):
            if until.is_over:
                raise ConflictError(
                    f"another process is alive as {self._node_id}",
                    hint="two machines must not have one node id: see whether a disk was copied",
                )
            pause.wait(_LOOK_S / 4)
        ended = threading.Event()
        keeper = threading.Thread(
            target=self._keep, args=(mine, ended), name="announce", daemon=True
        )
        keeper.start()
        try:
            yield
        finally:
            ended.set()
            keeper.join()
            with suppress(CoordinationError):
                self._leave(mine)

    def _keep(self, mine: bytes, ended: threading.Event) -> None:
        while not ended.wait(_LOOK_S):
            # another process that took this node's place meanwhile keeps it: the members' list then shows that one
            with suppress(CoordinationError):
                self._announce(mine)

    def _announce(self, mine: bytes) -> bool:
        """Create our node of ZooKeeper if it is not there; whether it is ours."""
        path = self._tree.member(self._node_id)
        there = requests.read(self._session, path)
        if there is not None:
            return there.value == mine
        try:
            requests.transact(
                self._session,
                [Operation(Kind.CREATE_EPHEMERAL, path, mine)],
                Deadline(self._limits.read_s),
            )
        except Lost:
            return False
        except Refused as refused:
            if isinstance(refused.reason, exceptions.NodeExistsError):
                return False
            raise refused.reason from refused
        return True

    def _leave(self, mine: bytes) -> None:
        path = self._tree.member(self._node_id)
        there = requests.read(self._session, path)
        if there is not None and there.value == mine:
            with suppress(exceptions.NoNodeError):
                self._session.ask(lambda client: client.delete_async(path))


def _boot_of(value: bytes) -> str:
    found = peek(value, "boot")
    return found if isinstance(found, str) else ""
