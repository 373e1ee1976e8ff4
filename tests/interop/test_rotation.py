"""Rotation with real PostgreSQL, Redis and ZooKeeper, all configured, while clients work (issue's "Must show" 1)."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import psycopg
import pytest
import redis as redis_client
from kazoo.client import KazooClient
from kazoo.exceptions import NoAuthError

from strongroom.node.opening import Node
from tests.canary import recorder
from tests.support.node_with_components import (
    DIGESTS,
    PARAMETERS,
    REDIS,
    ROLES,
    ROOT,
    USER,
    Estate,
    estate,
    reveal,
)
from tests.support.servers import TestNode, create_node, serving

pytestmark = pytest.mark.interop
_PATIENCE_S = 60


@pytest.fixture(scope="module")
def test_node(tmp_path_factory: pytest.TempPathFactory) -> TestNode:
    return create_node(tmp_path_factory.mktemp("rotation"))


@pytest.fixture(scope="module")
def whole(test_node: TestNode) -> Iterator[Estate]:
    with estate(lambda: test_node.home) as made:
        yield made


@dataclass
class Client:
    """Works until it is told to stop; on a refused login it reads its secret anew, and tries again.

    Attributes:
        name: The parameter of its password.
        work: One transaction by a password and perhaps a login name; raises `RefusedError` if it was not let in.
        done: Transactions that succeeded.
        failed: What went wrong otherwise.
        refused: How often a login was refused.
    """

    name: str
    node: Node
    work: Callable[[str, str], None]
    done: int = 0
    refused: int = 0
    failed: list[str] = field(default_factory=list)

    def run(self, stopping: threading.Event) -> None:
        password, login = self._read()
        while not stopping.is_set():
            limit = time.monotonic() + _PATIENCE_S
            while True:
                try:
                    self.work(password, login)
                    self.done += 1
                    break
                except RefusedError as error:
                    self.refused += 1
                    if time.monotonic() > limit:
                        self.failed.append(f"refused for {_PATIENCE_S} s: {error}")
                        return
                    time.sleep(0.01)
                    password, login = self._read()
                except Exception as error:  # noqa: BLE001 every failed transaction is told
                    self.failed.append(f"{type(error).__name__}: {error}")
                    return

    def _read(self) -> tuple[str, str]:
        login = self.node.configuration.effective("jdbc.username") if "jdbc" in self.name else ""
        return reveal(self.node, self.name), login or ""


class RefusedError(Exception):
    """The login was refused, or the session was ended: nothing was done."""


class Postgres:
    """A new session for each transaction."""

    def __init__(self, whole: Estate, name: str) -> None:
        self._whole, self._name = whole, name

    def __call__(self, password: str, login: str) -> None:
        server = self._whole.postgres
        try:
            connection = psycopg.connect(
                host=str(server.sockets),
                port=server.port,
                dbname="postgres",
                user=login or ROLES[self._name],
                password=password,
            )
        except psycopg.OperationalError as error:
            if "authentication failed" in str(error) or "not permitted to log in" in str(error):
                raise RefusedError(str(error)) from error
            raise
        with connection:
            connection.execute("insert into public.ledger values (%s, 1)", [self._name])


class Redis:
    """One session as long as it lasts; each transaction counts up, and reads back."""

    def __init__(self, whole: Estate) -> None:
        self._whole = whole
        self._client: redis_client.Redis | None = None
        self._password = ""

    def __call__(self, password: str, login: str) -> None:
        try:
            if self._client is None or password != self._password:
                self._client = redis_client.Redis(
                    unix_socket_path=str(self._whole.redis.socket),
                    username=USER,
                    password=password,
                    single_connection_client=True,
                    retry=None,  # type: ignore[arg-type]  # trying again is this test's own business
                )
                self._password = password
            with self._client.pipeline(transaction=True) as transaction:
                transaction.incr("ledger")
                transaction.get("ledger")
                transaction.execute()
        except (redis_client.AuthenticationError, redis_client.ConnectionError) as error:
            self._client = None
            raise RefusedError(str(error)) from error


class Zookeeper:
    """One session as long as it is let in; each transaction counts up by compare-and-set."""

    def __init__(self, whole: Estate, name: str) -> None:
        self._whole, self._user = whole, DIGESTS[name]
        self._client: KazooClient | None = None
        self._password = ""

    def __call__(self, password: str, login: str) -> None:
        if self._client is None or password != self._password:
            self.close()
            credential = ("digest", f"{self._user}:{password}")
            self._client = KazooClient(self._whole.zookeeper.hosts, auth_data=[credential])
            self._client.start(_PATIENCE_S)
            self._password = password
        path = f"{ROOT}/{self._user}/data"
        try:
            value, stat = self._client.get(path)
            number = int(value) if value.isdigit() else 0
            transaction = self._client.transaction()
            transaction.set_data(path, str(number + 1).encode(), stat.version)
            (answer,) = transaction.commit()
        except NoAuthError as error:
            raise RefusedError("no rights") from error
        if isinstance(answer, NoAuthError):
            raise RefusedError("no rights")
        if isinstance(answer, Exception):
            raise answer

    def close(self) -> None:
        if self._client is not None:
            self._client.stop()
            self._client.close()


def test_everything_is_renewed_while_clients_work(test_node: TestNode, whole: Estate) -> None:
    """Old passwords refused, new ones accepted by psql, redis-cli and kazoo; no failed transaction; no trace."""
    before = whole.secrets()
    stopping = threading.Event()
    filestore = Zookeeper(whole, "filestore.zookeeper.password")
    with recorder.arguments(0.02) as arguments, serving(test_node), whole.node() as node:
        works: dict[str, Callable[[str, str], None]] = {
            "jdbc.password": Postgres(whole, "jdbc.password"),
            "pgsql.readonly_password": Postgres(whole, "pgsql.readonly_password"),
            REDIS: Redis(whole),
            "filestore.zookeeper.password": filestore,
        }
        clients = [Client(name, node, work) for name, work in works.items()]
        threads = [threading.Thread(target=one.run, args=(stopping,)) for one in clients]
        for thread in threads:
            thread.start()
        try:
            _wait(lambda: all(one.done > 3 for one in clients))
            said = test_node.run("tsm", "security", "regenerate-internal-tokens")
            counts = [one.done for one in clients]
            _wait(lambda: all(one.done > n + 3 for one, n in zip(clients, counts, strict=True)))
        finally:
            stopping.set()
            for thread in threads:
                thread.join()
            filestore.close()  # or its threads seek a server until the last test
    assert "Internal tokens were regenerated." in said.out
    assert {one.name: one.failed for one in clients if one.failed} == {}
    after = whole.secrets()
    check_counts(whole, {one.name: one.done for one in clients})
    check_valid(whole, before, after)
    check_traces(whole, [*before.values(), *after.values()], arguments.seen, said.out + said.err)


def _wait(ready: Callable[[], bool]) -> None:
    limit = time.monotonic() + 60
    while not ready():
        assert time.monotonic() < limit, "the clients do not get on"
        time.sleep(0.01)


def check_counts(whole: Estate, done: dict[str, int]) -> None:
    """No transaction was lost, and none done twice: what was cut had not been done."""
    rows = whole.postgres.run("select who, count(*) from public.ledger group by who").split()
    assert dict(row.split("|") for row in rows) == {
        name: str(count) for name, count in done.items() if name in ROLES
    }
    password = whole.secrets()[REDIS]
    assert whole.redis.cli("GET", "ledger", user=USER, password=password) == str(done[REDIS])
    with whole.zookeeper.client() as client:
        value, _ = client.get(f"{ROOT}/filestore/data")
    assert int(value) == done["filestore.zookeeper.password"]


def check_valid(whole: Estate, before: dict[str, str], after: dict[str, str]) -> None:
    for name in PARAMETERS:
        assert after[name] != before[name]
        assert whole.accepts(name, after[name]), name
        assert not whole.accepts(name, before[name]), name
    # and by the real psql, which the operator has
    for name, role in ROLES.items():
        assert whole.postgres.psql("select 1", user=role, password=after[name]) == "1"
        refused = whole.postgres.try_psql("select 1", user=role, password=before[name])
        assert "password authentication failed" in refused.stderr


def check_traces(whole: Estate, values: list[str], lines: set[bytes], said: str) -> None:
    """No plaintext anywhere, no verifier in any log, file of ours, or command line."""
    texts = [value.encode() for value in values]
    folders = [
        whole.home,
        whole.postgres.component.folder,
        whole.redis.component.folder,
        whole.zookeeper.component.folder,
    ]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 100
    for path in files:
        data = path.read_bytes()
        assert not [text for text in texts if text in data], path
    logs = [
        path
        for path in files
        if path.suffix in {".log", ".jsonl"} or path.is_relative_to(whole.home)
    ]
    statements = whole.postgres.run("select query from pg_stat_statements")
    spoken = [statements.encode(), said.encode(), *lines, *(path.read_bytes() for path in logs)]
    assert len(lines) > 5
    for data in spoken:
        assert b"SCRAM-SHA-256$" not in data
        assert not [text for text in texts if text in data]


def test_each_component_that_is_down_keeps_its_own_secrets_only(
    test_node: TestNode, whole: Estate
) -> None:
    before = whole.secrets()
    words = ("tsm", "security", "secrets", "rotate", "--only", "passwords")
    with whole.redis.component.down():
        said = test_node.run(*words, check=False)
    assert said.code == 50
    assert f"{REDIS}: still the old value" in said.out
    assert "Redis does not answer" in said.err
    between = whole.secrets()
    assert {name for name in PARAMETERS if between[name] == before[name]} == {REDIS}
    for name in PARAMETERS:
        assert whole.accepts(name, between[name])
    test_node.run("tsm", "security", "secrets", "rotate", REDIS)
    after = whole.secrets()
    assert whole.accepts(REDIS, after[REDIS])
    assert not whole.accepts(REDIS, before[REDIS])


def test_offline_in_the_documented_order(test_node: TestNode, whole: Estate) -> None:
    """It refuses while the server runs, and says how to go on."""
    before = whole.secrets()
    words = ("tsm", "security", "regenerate-internal-tokens", "--offline")
    with serving(test_node):
        refused = test_node.run(*words, check=False)
        assert refused.code == 7
        assert "stop 'strongroom serve' first" in refused.err
    assert whole.secrets() == before
    said = test_node.run(*words)
    assert "strongroom serve" in said.err
    check_valid(whole, before, whole.secrets())
