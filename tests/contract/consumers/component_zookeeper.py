"""ZooKeeper 3.8 with one digest user and its subtree, and kazoo as the eye."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kazoo.exceptions import NoAuthError
from kazoo.security import ACL, Id, make_digest_acl_credential

from strongroom.consumers.base import Credential
from strongroom.consumers.zookeeper_server import ZookeeperSettings
from strongroom.consumers.zookeeper_users import USERS, ZookeeperUser
from strongroom.crypto import rng
from strongroom.system.compat import override
from tests.contract.consumers.harness import Address, ServerLab
from tests.support.components.zookeeper import Zookeeper, running_zookeeper

USER = "filestore"
ROOT = "/strongroom"
TOP = f"{ROOT}/{USER}"
TREE = (TOP, f"{TOP}/a", f"{TOP}/a/b", f"{TOP}/c")
ALL, ALL_BUT_ADMIN = 31, 15


@dataclass
class ZookeeperLab(ServerLab[Zookeeper]):
    """The user administers its subtree itself."""

    own_administrator = True
    stores = frozenset({"data"})  # ACLs lie there, with their hashes

    @property
    @override
    def address(self) -> Address:
        host, port = self.server.hosts.split(":")
        return host, int(port)

    @override
    def consumer(
        self, *, address: Address | None = None, wrong_administrator: bool = False
    ) -> ZookeeperUser:
        hosts = f"{address[0]}:{address[1]}" if address else self.server.hosts
        return ZookeeperUser(ZookeeperSettings(hosts, ROOT), USER, USERS[USER], lambda _: ())

    @override
    def reset(self) -> Credential:
        self.server.component.ensure_running()
        present = Credential({USERS[USER]: rng.new_password()})
        with self.server.client() as client:
            for path in TREE:
                client.ensure_path(path)
            self._give(client, present, ALL)
        return present

    def _give(self, client: Any, credential: Credential, perms: int) -> None:
        own = ACL(perms, Id("digest", digest(credential)))
        other = ACL(1, Id("digest", make_digest_acl_credential("reader", "of the tests")))
        for path in TREE:
            client.set_acls(path, [other, own])

    @override
    def fresh(self, present: Credential) -> Credential:
        return Credential({USERS[USER]: rng.new_password()})

    @override
    def accepts(self, credential: Credential) -> bool:
        with self.server.client(login(credential)) as client:
            try:
                for path in TREE:
                    client.set(path, b"x")
            except NoAuthError:
                return False
        return True

    @override
    def knows(self, credential: Credential) -> bool:
        with self.server.client() as client:
            acls = [client.get_acls(path)[0] for path in TREE]
        return digest(credential) in [entry.id.id for acl in acls for entry in acl]

    @override
    @contextmanager
    def session(self, credential: Credential) -> Iterator[Callable[[], bool]]:
        with self.server.client(login(credential)) as client:

            def works() -> bool:
                try:
                    client.get(TREE[-1])
                except NoAuthError:
                    return False
                return True

            yield works

    @override
    def refuse(self, undo: ExitStack) -> None:
        client = undo.enter_context(self.server.client())
        for path in TREE:
            acl = client.get_acls(path)[0]
            undo.callback(client.set_acls, path, acl)
            client.set_acls(path, [one._replace(perms=one.perms & ALL_BUT_ADMIN) for one in acl])

    @override
    def forbidden(self, credential: Credential) -> list[bytes]:
        """The hashes too: they are unsalted."""
        return [*super().forbidden(credential), digest(credential).partition(":")[2].encode()]


def login(credential: Credential) -> str:
    return f"{USER}:{credential.only().reveal().decode()}"


def digest(credential: Credential) -> str:
    return str(make_digest_acl_credential(*login(credential).split(":", 1)))


@contextmanager
def start(folder: Path) -> Iterator[ZookeeperLab]:
    del folder
    with running_zookeeper() as server:
        yield ZookeeperLab(server)
