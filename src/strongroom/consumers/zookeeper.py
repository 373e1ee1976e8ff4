"""Digest users of ZooKeeper, each with a subtree of its own (requirements 2.4); the one door to kazoo.

A digest user exists only in the ACLs that name it. So a rotation walks its subtree: first every ACL names old and new,
later only the new one, from the top down: who holds the old one cannot create anything any more where the walk has
passed. ZooKeeper keeps unsalted hashes, and gets passwords in the clear: over TLS, or on this machine.
"""

import ipaddress
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from strongroom.consumers.base import Candidates, ConsumerDescription, Credential, SecretCopy
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import (
    ConsumerError,
    ConsumerRefusedError,
    ConsumerUnavailableError,
    UsageError,
)

if TYPE_CHECKING:
    from kazoo.client import KazooClient
    from kazoo.security import ACL

T = TypeVar("T")

USERS = {
    "clustercontroller": "clustercontroller.zookeeper.password",
    "filestore": "filestore.zookeeper.password",
    "tsm": "zookeeper.tsm.password",
}
"""The documented users, and the parameter of each one's password."""
_ANSWER_S = 3.0
_CHUNK = 500
"""Requests under way at a time: ten times as many a second as one by one."""
_PASSES = 4
_ALL = 31
_READ_CREATE = 5
_HOWTO = "docs/howto/consumers.md"


@dataclass(frozen=True)
class ZookeeperSettings:
    """Where ZooKeeper is, and where in it the users' subtrees are.

    Attributes:
        hosts: `host:port,host:port`.
        root: The znode that has a child of each user's name.
        ca_file: The authority of the TLS certificates; needed if a host is another machine.
    """

    hosts: str
    root: str = "/strongroom"
    ca_file: str = ""

    def check(self) -> None:
        """Refuse to send a password in the clear to another machine, and a root that is none.

        Raises:
            UsageError: A host is another machine's, and there is no TLS; or hosts or root are none.
        """
        hosts = [_host(one.strip()) for one in self.hosts.split(",")]
        if not (self.ca_file or all(map(_is_loopback, hosts))):
            raise UsageError(
                f"ZooKeeper at {self.hosts} would get passwords unencrypted",
                hint="set zookeeper.ca_file, the authority of its TLS certificate",
            )
        parts = self.root.split("/")
        if parts[0] or not all(parts[1:]) or {".", ".."} & set(parts) or "\0" in self.root:
            raise UsageError(f"not a znode: {self.root!r}", hint="for example /strongroom")


class ZookeeperUser:
    """One digest user; it administers its subtree itself."""

    def __init__(
        self, settings: ZookeeperSettings, user: str, parameter: str, candidates: Candidates
    ) -> None:
        """Take the settings; nobody is asked.

        Args:
            settings: Where it is.
            user: Its name, and that of its subtree.
            parameter: The secret parameter of its password.
            candidates: The values that the password may have.

        Raises:
            UsageError: They would send a password in the clear, or the root is no znode.
        """
        settings.check()
        self._settings = settings
        self._user = user
        self._parameter = parameter
        self._candidates = candidates
        self._top = f"{settings.root}/{user}"

    def describe(self) -> ConsumerDescription:
        """Old and new overlap, by two entries in each ACL."""
        where = f"{self._settings.hosts}{self._top}, user {self._user}"
        return ConsumerDescription(
            f"zookeeper/{self._user}", "zookeeper", (self._parameter,), where
        )

    def login(self, credential: Credential) -> None:
        """Read the subtree's own ACL: only who administers it sees the digests in it."""
        with self._session(credential.only()) as client:
            found = self._acl(client, self._top)
            if self._id(credential.only()) not in [entry.id.id for entry in found]:
                raise self._refused(self._top)

    def admit(self, new: Credential, present: Credential) -> None:
        """Every ACL of the subtree names both; a subtree that is not there yet is created."""
        valid = (present.only(), new.only())
        with self._session(*valid, *self._candidates(self._parameter)) as client:
            self._ensure_top(client, valid)
            # twice: what a client of the old one created meanwhile does not name the new one
            for _ in range(2):
                if self._walk(client, valid) == 0:
                    break

    def withdraw(self, old: Credential, present: Credential) -> None:
        """Every ACL names the present one alone; sessions of the old one are refused at once.

        Raises:
            ConsumerUnavailableError: The subtree did not come to rest.
        """
        known = (present.only(), old.only(), *self._candidates(self._parameter))
        with self._session(*known) as client:
            for _ in range(_PASSES):
                if self._walk(client, (present.only(),)) == 0:
                    return
        raise ConsumerUnavailableError(f"the znodes below {self._top} keep changing")

    def copies(self) -> tuple[SecretCopy, ...]:
        """The hashes in the ACLs."""
        where = f"{self._settings.hosts}: ACLs of {self._top} and below"
        return (SecretCopy((self._parameter,), where, "hash"),)

    # ---- the subtree -----------------------------------------------------------------------------

    def _walk(self, client: "KazooClient", valid: Sequence[SecretBytes]) -> int:
        """Bring every ACL to name exactly the valid ones; returns how many did not."""
        from kazoo.exceptions import NoAuthError

        changed, level = 0, [self._top]
        while level:
            below: list[str] = []
            for paths in _chunks(level):
                changed += self._set_acls(client, paths, valid)
                # asked only after the level's ACLs are set: nothing of the old one can come after
                listed = _answers([client.get_children_async(path) for path in paths], NoAuthError)
                for path, names in zip(paths, listed, strict=True):
                    below += [f"{path}/{name}" for name in names or ()]
            level = below
        return changed

    def _set_acls(
        self, client: "KazooClient", paths: Sequence[str], valid: Sequence[SecretBytes]
    ) -> int:
        from kazoo.exceptions import BadVersionError, NoAuthError

        found = _answers([client.get_acls_async(path) for path in paths], NoAuthError)
        sent = []
        for path, answer in zip(paths, found, strict=True):
            if answer is None and path == self._top:
                raise self._refused(path)
            if answer is None:  # deleted meanwhile, or somebody else's
                continue
            present, stat = answer
            wanted = self._wanted(path, present, valid)
            if set(wanted) != set(present):
                sent.append(client.set_acls_async(path, wanted, version=stat.aversion))
        _answers(sent, BadVersionError)  # changed meanwhile: the next pass sees it
        return len(sent)

    def _wanted(
        self, path: str, present: "Sequence[ACL]", valid: Sequence[SecretBytes]
    ) -> "list[ACL]":
        """An ACL that gives the user's rights to the valid ones alone, and leaves others' entries as they are."""
        from kazoo.security import ACL, Id

        own = [entry for entry in present if self._is_own(entry)]
        if any(entry.id.id == f"{self._user}:x" for entry in own) or (
            not own and path == self._top
        ):
            raise self._refused(path)
        perms = 0
        for entry in own:
            perms |= entry.perms
        others = [entry for entry in present if not self._is_own(entry)]
        named = [ACL(perms, Id("digest", self._id(one))) for one in valid] if own else []
        return others + named

    def _is_own(self, entry: "ACL") -> bool:
        return entry.id.scheme == "digest" and str(entry.id.id).startswith(f"{self._user}:")

    def _ensure_top(self, client: "KazooClient", valid: Sequence[SecretBytes]) -> None:
        from kazoo.exceptions import NodeExistsError
        from kazoo.security import ACL, Id

        if _answer(client.exists_async(self._top)) is not None:
            return
        passage = [ACL(_READ_CREATE, Id("world", "anyone"))]
        own = [ACL(_ALL, Id("digest", self._id(one))) for one in valid]
        parts = self._top.split("/")
        for count in range(2, len(parts) + 1):
            path = "/".join(parts[:count])
            acl = own if path == self._top else passage
            _answer(client.create_async(path, b"", acl=acl), NodeExistsError)

    def _acl(self, client: "KazooClient", path: str) -> "Sequence[ACL]":
        answer = _answer(client.get_acls_async(path))
        if answer is None:
            raise ConsumerRefusedError(
                f"ZooKeeper at {self._settings.hosts} has no znode {path}",
                hint="a rotation of the parameter creates it",
            )
        return tuple(answer[0])

    def _id(self, password: SecretBytes) -> str:
        from kazoo.security import make_digest_acl_credential

        return str(make_digest_acl_credential(self._user, password.reveal().decode()))

    # ---- sessions --------------------------------------------------------------------------------

    @contextmanager
    def _session(self, *passwords: SecretBytes) -> "Iterator[KazooClient]":
        """A client that is logged in by all of the passwords: ZooKeeper grants what any of them may."""
        kazoo_client = _kazoo()
        # kazoo writes what it sends at the level debug, passwords too
        silent = logging.getLogger(f"{__name__}.silent")
        silent.disabled = True
        settings = self._settings
        distinct = [one for n, one in enumerate(passwords) if one not in passwords[:n]]
        client = kazoo_client(
            settings.hosts,
            timeout=_ANSWER_S,
            connection_retry={"max_tries": 1},  # trying again is the rotation's business
            logger=silent,
            auth_data=[("digest", f"{self._user}:{one.reveal().decode()}") for one in distinct],
            use_ssl=bool(settings.ca_file),
            check_hostname=bool(settings.ca_file),
            ca=settings.ca_file or None,
        )
        try:
            with self._translated():
                client.start(_ANSWER_S)
                yield client
        finally:
            client.stop()
            client.close()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        from kazoo import exceptions
        from kazoo.handlers.threading import KazooTimeoutError

        lost = (
            exceptions.ConnectionLoss,
            exceptions.ConnectionClosedError,
            exceptions.OperationTimeoutError,
            exceptions.SessionExpiredError,
        )
        try:
            yield
        except (KazooTimeoutError, *lost, OSError) as error:
            raise ConsumerUnavailableError(
                f"ZooKeeper does not answer at {self._settings.hosts}"
            ) from error
        except exceptions.NoAuthError as error:
            raise self._refused(self._top) from error
        except exceptions.KazooException as error:
            raise ConsumerRefusedError(
                f"ZooKeeper refused a request at {self._settings.hosts}: {type(error).__name__}"
            ) from error

    def _refused(self, path: str) -> ConsumerRefusedError:
        return ConsumerRefusedError(
            f"ZooKeeper does not let {self._user!r} administer {path}",
            hint=f"its ACL must give the user all rights: {_HOWTO}",
        )


def consumers(settings: ZookeeperSettings, candidates: Candidates) -> tuple[ZookeeperUser, ...]:
    """The documented users (requirements 2.4).

    Raises:
        UsageError: The settings would send passwords in the clear.
    """
    return tuple(
        ZookeeperUser(settings, user, parameter, candidates) for user, parameter in USERS.items()
    )


def _answer(result: Any, *expected: type[Exception]) -> Any:
    """The answer to a request; None if the znode is not there, or for an expected refusal."""
    from kazoo.exceptions import NoNodeError

    try:
        return result.get(timeout=_ANSWER_S)
    except (NoNodeError, *expected):
        return None


def _answers(results: Iterable[Any], *expected: type[Exception]) -> list[Any]:
    return [_answer(result, *expected) for result in results]


def _chunks(paths: Sequence[T]) -> Iterator[Sequence[T]]:
    return (paths[start : start + _CHUNK] for start in range(0, len(paths), _CHUNK))


def _kazoo() -> Any:
    try:
        from kazoo.client import KazooClient
    except ImportError as error:
        raise ConsumerError(
            "the client of ZooKeeper is not installed", hint="pip install 'strongroom[zookeeper]'"
        ) from error
    return KazooClient


def _host(text: str) -> str:
    host, colon, port = text.rpartition(":")
    if not (colon and host and port.isascii() and port.isdigit()):
        raise UsageError(f"not a host with its port: {text!r}", hint="for example 127.0.0.1:2181")
    return host.strip("[]")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
