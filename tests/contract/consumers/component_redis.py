"""Redis 7 with one user in its ACL file, and redis-cli as the eye."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import redis as client_of_redis

from strongroom.consumers.base import Credential
from strongroom.consumers.redis_server import RedisSettings
from strongroom.consumers.redis_user import PARAMETER, RedisConsumer
from strongroom.crypto import rng
from strongroom.crypto.secret import SecretBytes
from strongroom.system.compat import override
from tests.contract.consumers.harness import Address, ServerLab
from tests.support.components.redis import Redis, acl_hash, running_redis

USER = "strongroom"
RIGHTS = "~* &* +@all"
_ROOT = "tests-own-administrator"
_ROOT_PASSWORD = "of the tests, not of the product"


@dataclass
class RedisLab(ServerLab[Redis]):
    """The user changes its own password, as the product has it."""

    own_administrator = True

    @property
    @override
    def address(self) -> Address:
        return str(self.server.socket)

    @override
    def consumer(
        self, *, address: Address | None = None, wrong_administrator: bool = False
    ) -> RedisConsumer:
        where = address or self.address
        acl_file = str(self.server.acl_file)
        if isinstance(where, str):
            settings = RedisSettings(USER, socket=where, acl_file=acl_file)
        else:
            settings = RedisSettings(USER, host=where[0], port=where[1], acl_file=acl_file)
        return RedisConsumer(settings, lambda _: ())

    @override
    def reset(self) -> Credential:
        self.server.component.ensure_running()
        present = Credential({PARAMETER: rng.new_password()})
        self._administer(
            "ACL",
            "SETUSER",
            USER,
            "reset",
            "on",
            acl_hash(_text(present)),
            *RIGHTS.split(),
        )
        self._administer("ACL", "SAVE")
        return present

    @override
    def fresh(self, present: Credential) -> Credential:
        return Credential({PARAMETER: rng.new_password()})

    @override
    def accepts(self, credential: Credential) -> bool:
        said = self.server.cli("PING", user=USER, password=_text(credential))
        assert said == "PONG" or "WRONGPASS" in said or "NOAUTH" in said, said
        return said == "PONG"

    @override
    @contextmanager
    def session(self, credential: Credential) -> Iterator[Callable[[], bool]]:
        client = client_of_redis.Redis(
            unix_socket_path=str(self.server.socket),
            username=USER,
            password=_text(credential),
            single_connection_client=True,
            retry=None,  # type: ignore[arg-type]  # a session that ended must be seen to have ended
        )

        def works() -> bool:
            try:
                return bool(client.ping())
            except client_of_redis.ConnectionError:
                return False

        with client:
            yield works

    @override
    def refuse(self, undo: ExitStack) -> None:
        undo.callback(self._administer, "ACL", "SETUSER", USER, "+acl")
        self._administer("ACL", "SETUSER", USER, "-acl")

    @override
    def traces(self) -> Iterable[bytes]:
        yield from super().traces()
        for words in (("SLOWLOG", "GET", "-1"), ("ACL", "LOG"), ("CLIENT", "LIST")):
            yield self._administer(*words).encode()

    @contextmanager
    def session_of_root(self) -> Iterator[Callable[..., None]]:
        """Runs a command that may take for ever; what it is told in the end does not matter."""
        client = client_of_redis.Redis(
            unix_socket_path=str(self.server.socket),
            username=_ROOT,
            password=_ROOT_PASSWORD,
            socket_timeout=None,
        )

        def run(*words: str) -> None:
            with suppress(client_of_redis.ResponseError):
                client.execute_command(*words)  # type: ignore[no-untyped-call]

        with client:
            yield run

    def _administer(self, *words: str) -> str:
        said = self.server.cli(*words, user=_ROOT, password=_ROOT_PASSWORD)
        assert "ERR" not in said.split("\n")[0], said
        return said


def _text(credential: Credential) -> str:
    value = credential.only()
    assert isinstance(value, SecretBytes)
    return value.reveal().decode()


@contextmanager
def start(folder: Path) -> Iterator[RedisLab]:
    """A server of its own; the tests have an administrator of theirs."""
    del folder
    administrator = f"user {_ROOT} on {acl_hash(_ROOT_PASSWORD)} ~* &* +@all"
    with running_redis("user default off", administrator) as server:
        lab = RedisLab(server)
        lab._administer("CONFIG", "SET", "slowlog-log-slower-than", "0")
        yield lab
