"""The nodes that are alive or work on jobs: each has a node of ZooKeeper that goes with the session of its process."""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Final, NamedTuple

from strongroom.canonical import peek
from strongroom.coordination.base import Group
from strongroom.coordination.zookeeper import requests
from strongroom.coordination.zookeeper.requests import Kind, Operation, Refused
from strongroom.coordination.zookeeper.session import Lost, Session, exceptions
from strongroom.coordination.zookeeper.settings import Deadline, ZookeeperSettings
from strongroom.coordination.zookeeper.tree import Tree
from strongroom.errors import ConflictError, CoordinationError

_LOOK_S: Final = 1.0


class _Place(NamedTuple):
    """The place of a process in a group.

    Attributes:
        group: The group.
        mine: The value of its node; no other process writes the same.
    """

    group: Group
    mine: bytes


class Membership:
    """The members, and this process as one of them."""

    def __init__(self, session: Session, tree: Tree, settings: ZookeeperSettings) -> None:
        self._session = session
        self._tree = tree
        self._limits = settings.limits
        self._node_id = settings.node_id
        self._boot_id = settings.boot_id

    def members(self, group: Group) -> list[str]:
        """The ids of the nodes that are in a group now.

        Raises:
            CoordinationError: No server answers in time.
        """
        return requests.children(self._session, self._tree.group(group))

    def boots(self) -> Mapping[str, str]:
        """The id of the process that is alive for each node; empty where a node's says none.

        Raises:
            CoordinationError: No server answers in time.
        """
        ids = self.members(Group.NODES)
        nodes = requests.read_together(
            self._session, [self._tree.member(Group.NODES, one) for one in ids]
        )
        return {
            node_id: _boot_of(node.value)
            for node_id, node in zip(ids, nodes, strict=True)
            if node is not None
        }

    @contextmanager
    def alive(self, group: Group) -> Iterator[None]:
        """Be a member until the end of the block; a new session is announced anew.

        Raises:
            ConflictError: Another process serves the node of this id, and stays for longer than a session of a dead one.
            CoordinationError: No server answers in time.
        """
        place = _Place(group, json.dumps({"boot": self._boot_id}).encode())
        if group is Group.NODES:
            self._take(place)
        ended = threading.Event()
        keeper = threading.Thread(
            target=self._keep, args=(place, ended), name="announce", daemon=True
        )
        keeper.start()
        try:
            yield
        finally:
            ended.set()
            keeper.join()
            with suppress(CoordinationError):
                self._leave(place)

    def _take(self, place: _Place) -> None:
        until = Deadline(self._limits.session_s + self._limits.read_s)
        pause = threading.Event()
        # after a crash the session of the process before us lives on for a while
        while not self._announce(place):
            if until.is_over:
                raise ConflictError(
                    f"another process is alive as {self._node_id}",
                    hint="two machines must not have one node id: see whether a disk was copied",
                )
            pause.wait(_LOOK_S / 4)

    def _keep(self, place: _Place, ended: threading.Event) -> None:
        while True:
            # another process that took this node's place meanwhile keeps it: the members' list then shows that one
            with suppress(CoordinationError):
                self._announce(place)
            if ended.wait(_LOOK_S):
                return

    def _announce(self, place: _Place) -> bool:
        """Create our node of ZooKeeper if it is not there; whether it is ours."""
        path = self._tree.member(place.group, self._node_id)
        there = requests.read(self._session, path)
        if there is not None:
            return there.value == place.mine
        try:
            requests.transact(
                self._session,
                [Operation(Kind.CREATE_EPHEMERAL, path, place.mine)],
                Deadline(self._limits.read_s),
            )
        except Lost:
            return False
        except Refused as refused:
            if isinstance(refused.reason, exceptions.NodeExistsError):
                return False
            if isinstance(refused.reason, exceptions.NoNodeError):
                # the tree is of a program that knew no such group
                requests.create_missing(self._session, self._tree.group(place.group))
                return False
            raise refused.reason from refused
        return True

    def _leave(self, place: _Place) -> None:
        path = self._tree.member(place.group, self._node_id)
        there = requests.read(self._session, path)
        if there is not None and there.value == place.mine:
            with suppress(exceptions.NoNodeError):
                self._session.ask(lambda client: client.delete_async(path))


def _boot_of(value: bytes) -> str:
    found = peek(value, "boot")
    return found if isinstance(found, str) else ""
