"""A node with PostgreSQL, Redis and ZooKeeper configured, each holding the present passwords of the configuration.

The components are told the passwords by ways that leave no trace, so that a search for traces finds
only what the product leaves.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from kazoo.exceptions import NoAuthError, NoNodeError
from kazoo.security import ACL, Id, make_digest_acl_credential

from strongroom.node import opening
from tests.support.components.postgres import Postgres, running_postgres
from tests.support.components.process import Component
from tests.support.components.redis import Redis, acl_hash, running_redis
from tests.support.components.zookeeper import Zookeeper, running_zookeeper

USER = "strongroom"
ADMIN = "tblwgadmin"
ROOT = "/strongroom"
ROLES = {
    "jdbc.password": "rails",
    "pgsql.readonly_password": "readonly",
    "pgsql.remote_password": "tableau",
    "pgsql.adminpassword": ADMIN,
}
REDIS = "redis.password"
DIGESTS = {
    "clustercontroller.zookeeper.password": "clustercontroller",
    "filestore.zookeeper.password": "filestore",
    "zookeeper.tsm.password": "tsm",
}
PARAMETERS = (*ROLES, REDIS, *DIGESTS)
_TURNS = ("rails_a", "rails_b")


@dataclass
class Estate:
    """The three components, and the node whose secrets they hold.

    Attributes:
        home: The node's data directory.
    """

    home: Path
    postgres: Postgres
    redis: Redis
    zookeeper: Zookeeper
    _opened: dict[str, opening.Node] = field(default_factory=dict)

    @contextmanager
    def node(self, home: Path | None = None) -> Iterator[opening.Node]:
        """The node, opened by this process; or a copy of it."""
        node = opening.open_node(str(home or self.home))
        try:
            yield node
        finally:
            node.close()

    def secrets(self, home: Path | None = None) -> dict[str, str]:
        """What the configuration says now, of the parameters that a component holds."""
        with self.node(home) as node:
            return {name: reveal(node, name) for name in PARAMETERS}

    def configure(self) -> None:
        """Tell the node where the components are, and them the node's present passwords."""
        settings = {
            "pgsql.host": str(self.postgres.sockets),
            "pgsql.port": str(self.postgres.port),
            "redis.socket": str(self.redis.socket),
            "redis.acl_file": str(self.redis.acl_file),
            "zookeeper.hosts": self.zookeeper.hosts,
        }
        with self.node() as node:
            for key, value in settings.items():
                node.configuration.set(key, value, actor="os:tests")
            node.configuration.apply(actor="os:tests")
        self.postgres.run(
            f"create role {ADMIN} superuser login; create role rails login;"
            " create role readonly login; create role tableau login;"
            " create extension pg_stat_statements;"
            " create table public.ledger (who text, number int);"
            " grant insert on public.ledger to rails, readonly, tableau"
        )
        self.reset(self.secrets())

    def reset(self, secrets: Mapping[str, str]) -> None:
        """Make these passwords the valid ones, and no others; parameters that are not named stay as they are."""
        for server in (self.postgres, self.redis, self.zookeeper):
            server.component.ensure_running()
        roles = {role: secrets[name] for name, role in ROLES.items() if name in secrets}
        if roles:
            self._reset_postgres(roles)
        if REDIS in secrets:
            self._reset_redis(secrets[REDIS])
        digests = {user: secrets[name] for name, user in DIGESTS.items() if name in secrets}
        if digests:
            self._reset_zookeeper(digests)

    def _reset_postgres(self, passwords: Mapping[str, str]) -> None:
        quiet = (
            "set log_statement = none; set log_min_duration_statement = -1;"
            " set pg_stat_statements.track = none; set track_activities = off"
        )
        roles = [
            f"alter role {role} login password '{self.postgres.verifier(password)}'"
            for role, password in passwords.items()
        ]
        gone = [f"drop role if exists {turn}" for turn in _TURNS if "rails" in passwords]
        self.postgres.run(quiet, *roles, *gone)

    def _reset_zookeeper(self, passwords: Mapping[str, str]) -> None:
        with self.zookeeper.client() as client:
            client.ensure_path(ROOT)
            for user, password in passwords.items():
                own = make_digest_acl_credential(user, password)
                for path in (f"{ROOT}/{user}", f"{ROOT}/{user}/data"):
                    client.ensure_path(path)
                    client.set_acls(path, [ACL(31, Id("digest", own))])

    def _reset_redis(self, password: str) -> None:
        root = {"user": _REDIS_ROOT, "password": _REDIS_ROOT_PASSWORD}
        words = ("reset", "on", acl_hash(password), "~*", "&*", "+@all")
        assert self.redis.cli("ACL", "SETUSER", USER, *words, **root) == "OK"
        assert self.redis.cli("ACL", "SAVE", **root) == "OK"

    def accepts(self, name: str, password: str, login: str = "") -> bool:
        """Whether other people's client gets in: libpq, redis-cli, kazoo."""
        if name in ROLES:
            return self.postgres.accepts(login or ROLES[name], password)
        if name == REDIS:
            return self.redis.accepts(USER, password)
        user = DIGESTS[name]
        with self.zookeeper.client(f"{user}:{password}") as client:
            try:
                client.set(f"{ROOT}/{user}/data", b"x")
            except (NoAuthError, NoNodeError):
                return False
        return True

    def component_of(self, name: str) -> Component:
        """The server that holds a secret."""
        if name in ROLES:
            return self.postgres.component
        return (self.redis if name == REDIS else self.zookeeper).component


_REDIS_ROOT = "tests-own-administrator"
_REDIS_ROOT_PASSWORD = "of the tests, not of the product"


def reveal(node: opening.Node, name: str) -> str:
    return node.configuration.open_secret(name).reveal().decode()


@contextmanager
def estate(make_node: Callable[[], Path]) -> Iterator[Estate]:
    """Start the components, make a node, and bring them together."""
    administrator = f"user {_REDIS_ROOT} on {acl_hash(_REDIS_ROOT_PASSWORD)} ~* &* +@all"
    with ExitStack() as stack:
        postgres = stack.enter_context(running_postgres())
        redis = stack.enter_context(running_redis("user default off", administrator))
        zookeeper = stack.enter_context(running_zookeeper())
        made = Estate(make_node(), postgres, redis, zookeeper)
        made.configure()
        yield made
