"""The digest user who owns the tree: whether a password opens all of it, and which passwords its ACLs name.

A digest user exists only in ACLs, so to change its password is to change the ACL of each node of the tree, and of the
nodes above the root that are the user's.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from strongroom.coordination.zookeeper import requests
from strongroom.coordination.zookeeper.session import Session, exceptions, refusals
from strongroom.coordination.zookeeper.settings import Credentials, Deadline, ZookeeperSettings
from strongroom.coordination.zookeeper.tree import Tree
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import CoordinationError
from strongroom.service_users.zookeeper_acls import AclWalk, Request
from strongroom.service_users.zookeeper_digests import algorithm_of, name_of

_PASSES: Final = 5
_HOWTO: Final = "docs/howto/zookeeper.md"


class TreeUser:
    """The owner of an installation's tree."""

    def __init__(self, settings: ZookeeperSettings) -> None:
        """Keep the settings; nothing is sent before the first call.

        Args:
            settings: The ensemble and the tree, and the passwords by which all nodes of it may be changed.
        """
        self._settings = settings
        self._session = Session(settings)
        self._tree = Tree(settings.root)

    def close(self) -> None:
        """End the session."""
        self._session.close()

    def check(self, password: SecretBytes) -> None:
        """Prove that a login by this password alone has the user's rights in each node of the tree.

        Raises:
            CoordinationError: A node does not name the password, or ZooKeeper does not answer.
        """
        alone = Credentials.of(password)
        settings = replace(self._settings, credentials=lambda: alone)
        session = Session(settings)
        try:
            with refusals(session.where, settings.user):
                walk, algorithm = self._walk(session), self._algorithm(session, alone.shown)
                lacking = walk.lacking(name_of(algorithm, settings.user, password))
        finally:
            session.close()
        if lacking is not None:
            raise self._refused(lacking)

    def name(self, passwords: Sequence[SecretBytes]) -> None:
        """Have every ACL of the tree name exactly these passwords.

        A node above the root keeps what it names beside them while another installation lies below it.

        Raises:
            CoordinationError: A node is not the user's, the tree keeps changing, or ZooKeeper does not answer.
        """
        user = self._settings.user
        with refusals(self._session.where, user):
            algorithm = self._algorithm(self._session, self._settings.credentials().shown)
            ids = [name_of(algorithm, user, one) for one in passwords]
            for path in self._tree.above[:-1]:
                self._name_above(path, ids, algorithm)
            walk = self._walk(self._session)
            # again, since a node that came during the walk may name what was valid before it
            for _ in range(_PASSES):
                if walk.name(ids) == 0:
                    return
        raise CoordinationError(
            f"the nodes below {self._tree.root} of ZooKeeper keep changing", hint="try again"
        )

    def _name_above(self, path: str, ids: Sequence[str], algorithm: str) -> None:
        found = self._asking(self._session)(
            [lambda client: client.get_acls_async(path)], exceptions.NoAuthError
        )[0]
        named = {str(entry.id.id) for entry in found[0]} if found else set()
        known = (
            name_of(algorithm, self._settings.user, one)
            for one in self._settings.credentials().shown
        )
        if not named.intersection(known):
            return
        wanted = list(ids)
        if len(requests.children(self._session, path)) > 1:
            own = (one for one in sorted(named) if one.startswith(f"{self._settings.user}:"))
            wanted = list(dict.fromkeys([*own, *ids]))
        self._walk(self._session).set_acls([path], wanted)

    def _walk(self, session: Session) -> AclWalk:
        return AclWalk(self._settings.user, self._tree.root, self._asking(session), self._refused)

    def _asking(self, session: Session) -> "_Asking":
        return _Asking(session, self._settings.limits.read_s)

    def _algorithm(self, session: Session, passwords: Sequence[SecretBytes]) -> str:
        """The hash algorithm by which this ensemble names users, as the ACL of the root shows."""
        told, _ = session.ask(lambda client: client.get_acls_async(self._tree.root))
        names = [str(entry.id.id) for entry in told if entry.id.scheme == "digest"]
        found = algorithm_of(names, self._settings.user, passwords)
        if found is None:
            raise self._refused(self._tree.root)
        return found

    def _refused(self, path: str) -> CoordinationError:
        return CoordinationError(
            f"ZooKeeper does not let {self._settings.user!r} administer {path} by this password",
            hint=f"see whether the password is the one that the ACLs of the tree name: {_HOWTO}",
        )


class _Asking:
    """Sends requests together; after a lost answer again, which is the same: a node's ACL is set at a version."""

    def __init__(self, session: Session, limit_s: float) -> None:
        self._session = session
        self._limit_s = limit_s

    def __call__(self, asked: Sequence[Request], /, *expected: type[Exception]) -> list[Any]:
        answers: list[Any] = self._session.ask(
            lambda client: _Together([one(client) for one in asked], expected),
            Deadline(self._limit_s),
        )
        return answers


class _Together:
    """The answers to requests that are under way together."""

    def __init__(self, results: Sequence[Any], expected: tuple[type[Exception], ...]) -> None:
        self._results = results
        self._expected = (exceptions.NoNodeError, *expected)

    def get(self, timeout: float) -> list[Any]:
        """Wait for all answers."""
        until = Deadline(timeout)
        return [self._answer(one, until) for one in self._results]

    def _answer(self, result: Any, until: Deadline) -> Any:
        try:
            return result.get(timeout=until.left)
        except self._expected:
            return None
