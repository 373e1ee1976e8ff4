"""Rotates the passwords of digest users of ZooKeeper, each of which has a subtree of its own.

A digest user exists only in the ACLs that name a hash of its name and password. So a rotation changes every ACL of the
subtree: first to name the old and the new hash, later to name only the new one (`service_users.zookeeper_acls`).
ZooKeeper stores unsalted hashes, and a login sends the password itself, so the connection uses TLS or stays on this
machine.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from strongroom.consumers.base import (
    Candidates,
    ConsumerDescription,
    Credential,
    SecretCopy,
    UnprovenLoginError,
)
from strongroom.consumers.zookeeper_server import (
    ZookeeperServer,
    ZookeeperSettings,
    answer,
    answers,
    create_together,
)
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import ConsumerError, ConsumerRefusedError, ConsumerUnavailableError
from strongroom.service_users.zookeeper_acls import AclWalk, Request
from strongroom.service_users.zookeeper_digests import algorithm_of, name_of

if TYPE_CHECKING:
    from kazoo.client import KazooClient
    from kazoo.security import ACL

USERS = {
    "clustercontroller": "clustercontroller.zookeeper.password",
    "filestore": "filestore.zookeeper.password",
    "tsm": "zookeeper.tsm.password",
}
"""The documented users, and the parameter of each one's password."""
_PASSES = 4
_ALL = 31
_READ_CREATE = 5
_HOWTO = "docs/howto/consumers.md"


class ZookeeperUser:
    """A digest user, which administers its subtree itself."""

    def __init__(
        self, settings: ZookeeperSettings, user: str, parameter: str, candidates: Candidates
    ) -> None:
        """Check and keep the settings; sends no request.

        Args:
            settings: The address of ZooKeeper.
            user: The user's name, which is also the name of the subtree.
            parameter: The secret parameter of the user's password.
            candidates: The values that the password may have.

        Raises:
            UsageError: The settings would send a password over a network without encryption, or name no valid znode.
        """
        settings.check()
        self._server = ZookeeperServer(settings, user)
        self._user = user
        self._parameter = parameter
        self._candidates = candidates
        self._top = f"{settings.root}/{user}"

    def describe(self) -> ConsumerDescription:
        """A user, whose old and new password are valid together, by two entries in each ACL."""
        where = f"{self._server.where}{self._top}, user {self._user}"
        return ConsumerDescription(
            f"zookeeper/{self._user}", "zookeeper", (self._parameter,), where
        )

    def login(self, credential: Credential) -> None:
        """Log in, and read the ACL of the subtree's top: ZooKeeper shows the digests in it only to an administrator.

        Raises:
            UnprovenLoginError: The subtree is not the user's.
        """
        with self._server.session(credential.only()) as client:
            self._see_the_newest(client)
            acl = self._server.acl(client, self._top)
            if not any(map(self._acls(client).is_own, acl)):
                raise self._anybodys()
            if algorithm_of(_names(acl), self._user, [credential.only()]) is None:
                raise self._refused(self._top)

    def admit(self, new: Credential, present: Credential) -> None:
        """Have every ACL of the subtree name both passwords' hashes; creates the subtree if it does not exist."""
        valid = (present.only(), new.only())
        known = (*valid, *self._candidates(self._parameter))
        with self._server.session(*known) as client:
            self._see_the_newest(client)
            if answer(client.exists_async(self._top)) is None:
                self._create_top(valid)
            algorithm = self._algorithm(client, known)
            before, both = (self._ids(algorithm, part) for part in (valid[:1], valid))
            try:
                # twice, since a znode that a client created during the first walk names only the old hash
                for _ in range(2):
                    if self._walk(client, both) == 0:
                        break
            except ConsumerRefusedError:
                with suppress(ConsumerError):
                    self._walk(client, before)
                raise

    def take_back(self, new: Credential, present: Credential) -> None:
        """Have every ACL name only the hash of the present password."""
        self.withdraw(new, present)

    def withdraw(self, old: Credential, present: Credential) -> None:
        """Have every ACL name only the hash of the present password, so that sessions of the old one lose their rights.

        Raises:
            ConsumerUnavailableError: Clients kept changing the subtree, so that no walk found every ACL as it should
                be.
        """
        known = (present.only(), old.only(), *self._candidates(self._parameter))
        with self._server.session(*known) as client:
            self._see_the_newest(client)
            ids = self._ids(self._algorithm(client, known), (present.only(),))
            for _ in range(_PASSES):
                if self._walk(client, ids) == 0:
                    return
        raise ConsumerUnavailableError(f"the znodes below {self._top} keep changing")

    def remarks(self) -> tuple[str, ...]:
        """None."""
        return ()

    def copies(self) -> tuple[SecretCopy, ...]:
        """The hashes in the ACLs."""
        where = f"{self._server.where}: ACLs of {self._top} and below"
        return (SecretCopy((self._parameter,), where, "hash"),)

    # ---- the subtree -----------------------------------------------------------------------------

    def _walk(self, client: "KazooClient", valid: Sequence[str]) -> int:
        """Have every ACL name exactly the valid hashes; returns the number of ACLs that did not."""
        with self._server.translated():
            return self._acls(client).name(valid)

    def _acls(self, client: "KazooClient") -> AclWalk:
        def ask(requests: Sequence[Request], *expected: type[Exception]) -> list[Any]:
            return answers([request(client) for request in requests], *expected)

        return AclWalk(self._user, self._top, ask, self._refused, is_shared=True)

    def _create_top(self, valid: Sequence[SecretBytes]) -> None:
        """Create the subtree for the logged-in passwords, whose hashes ZooKeeper computes itself; all or nothing.

        Raises:
            ConsumerRefusedError: The user may not create the subtree.
        """
        from kazoo.security import ACL, Id

        passage = [ACL(_READ_CREATE, Id("world", "anyone"))]
        own = [ACL(_ALL, Id("auth", ""))]
        parts = self._top.split("/")
        paths = ["/".join(parts[:count]) for count in range(2, len(parts) + 1)]
        with self._server.session(*valid) as client, self._server.translated():
            for _ in range(_PASSES):
                found = answers([client.exists_async(path) for path in paths])
                missing = [path for path, stat in zip(paths, found, strict=True) if stat is None]
                created = {path: own if path == self._top else passage for path in missing}
                if create_together(client, created):
                    return

    def _algorithm(self, client: "KazooClient", passwords: Sequence[SecretBytes]) -> str:
        """The hash algorithm by which this ZooKeeper names users, as the ACL of the subtree's top shows.

        Raises:
            ConsumerRefusedError: The ACL names the user with none of these passwords.
        """
        found = algorithm_of(_names(self._server.acl(client, self._top)), self._user, passwords)
        if found is None:
            raise self._refused(self._top)
        return found

    def _ids(self, algorithm: str, passwords: Sequence[SecretBytes]) -> tuple[str, ...]:
        return tuple(name_of(algorithm, self._user, one) for one in passwords)

    def _see_the_newest(self, client: "KazooClient") -> None:
        """Have the connected server catch up with the leader, since any server of the ensemble may lag behind."""
        answer(client.sync_async(self._top))

    def _anybodys(self) -> UnprovenLoginError:
        unproved = UnprovenLoginError(
            f"the ACL of {self._top} at {self._server.where} does not name {self._user!r}, and lets"
            " in whoever it names: a login proves nothing",
            hint=f"its ACL must give the user all rights, and nobody else: {_HOWTO}",
        )
        unproved.is_let_in = True
        return unproved

    def _refused(self, path: str) -> ConsumerRefusedError:
        return ConsumerRefusedError(
            f"ZooKeeper does not let {self._user!r} administer {path}",
            hint="its ACL must give the user all rights, by a digest that this server computes"
            f" (digestAlg): {_HOWTO}",
        )


def consumers(settings: ZookeeperSettings, candidates: Candidates) -> tuple[ZookeeperUser, ...]:
    """The documented users.

    Raises:
        UsageError: The settings would send passwords in the clear.
    """
    return tuple(
        ZookeeperUser(settings, user, parameter, candidates) for user, parameter in USERS.items()
    )


def _names(acl: "Sequence[ACL]") -> list[str]:
    return [str(entry.id.id) for entry in acl if entry.id.scheme == "digest"]
