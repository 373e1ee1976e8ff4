"""What is PostgreSQL's own: names, languages, TLS, turns, and a change that waits (S12, R6, R7)."""

import base64
import random
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import psycopg
import pytest
from psycopg import sql

from strongroom.consumers import postgres, postgres_server
from strongroom.consumers.base import Credential
from strongroom.consumers.postgres import LOGIN_PARAMETER, PostgresPair, PostgresRole
from strongroom.consumers.postgres_server import PostgresServer, PostgresSettings
from strongroom.crypto import rng, scram
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import (
    ConsumerError,
    ConsumerRefusedError,
    ConsumerUnavailableError,
    UsageError,
)
from tests.contract.consumers.bench_postgres import PostgresBench, PostgresPairBench
from tests.tls import Authority

PARAMETER = "pgsql.readonly_password"
role_bench = pytest.mark.parametrize("bench", ["postgres-role"], indirect=True)
pair_bench = pytest.mark.parametrize("bench", ["postgres-pair"], indirect=True)
NAMES = [
    'a"b',
    "a'b",
    "a\\b",
    "a b; drop role readonly; --",
    "$$",
    "%s %(x)s {}",
    "Ünïcode 秘密 🔑",
    "UPPER",
    "user",
    "a\nb\tc",
    "-c option=1",
    "host=elsewhere",
    "x" * 63,
]
PASSWORDS = [
    "'; drop role readonly; --",
    "\\",
    "é\u00a0\u00ad",
    "🔑" * 20,
    "x" * 1000,
    "a b\n",
    "%s",
]


def one(password: str | SecretBytes) -> Credential:
    value = password if isinstance(password, SecretBytes) else SecretBytes(password.encode())
    return Credential({PARAMETER: value})


def server(bench: PostgresBench, **options: str) -> PostgresServer:
    where = {"host": str(bench.server.sockets), **options}
    settings = PostgresSettings(port=bench.server.port, **where)
    return PostgresServer(settings, lambda _: (bench.admin,))


@contextmanager
def created(bench: PostgresBench, name: str) -> Iterator[None]:
    quoted = str(sql.Identifier(name).as_string())
    bench.server.run(f"create role {quoted} login")
    try:
        yield
    finally:
        bench.server.run(f"drop role {quoted}")


@role_bench
@pytest.mark.parametrize("name", NAMES)
def test_a_role_with_an_odd_name(bench: PostgresBench, name: str) -> None:
    """S12: names are quoted; another role stays as it is."""
    bystander = bench.reset()
    with created(bench, name):
        consumer = PostgresRole(server(bench), name, PARAMETER)
        new, wrong = one(rng.new_password()), one(rng.new_password())
        consumer.admit(new, wrong)
        consumer.login(new)
        with pytest.raises(ConsumerRefusedError):
            consumer.login(wrong)
    assert bench.accepts(bystander)


@role_bench
def test_forty_names_of_the_worst_characters(bench: PostgresBench) -> None:
    """S12: each changes its own role, and the neighbour whose name begins alike keeps its password."""
    choice = random.Random(12)
    worst = "\"'\\;-/*$%{}()[]@:\n\t éß秘🔑\u200bA"
    for number in range(40):
        name = "".join(choice.choices(worst, k=choice.randint(1, 12))) + str(number)
        neighbour = name + "'"
        kept, new = one(rng.new_password()), one(rng.new_password())
        with created(bench, name), created(bench, neighbour):
            PostgresRole(server(bench), neighbour, PARAMETER).admit(kept, new)
            consumer = PostgresRole(server(bench), name, PARAMETER)
            consumer.admit(new, kept)
            consumer.login(new)
            PostgresRole(server(bench), neighbour, PARAMETER).login(kept)


@role_bench
@pytest.mark.parametrize("password", PASSWORDS)
def test_a_role_with_an_odd_password(bench: PostgresBench, password: str) -> None:
    """S12: an administrator may give any text; what we compute is what the client library computes."""
    consumer = PostgresRole(server(bench), "readonly", PARAMETER)
    consumer.admit(one(password), one("unused"))
    consumer.login(one(password))
    assert bench.accepts(one(password))


@pytest.mark.parametrize("name", ["", "a\0b", "x" * 64, "é" * 32, "x" * 1000])
def test_names_that_postgresql_would_cut_are_refused(name: str) -> None:
    with pytest.raises(UsageError):
        postgres_server.check_name(name)


@role_bench
@pytest.mark.parametrize("password", ["", "a\0b"])
def test_passwords_that_postgresql_cannot_have(bench: PostgresBench, password: str) -> None:
    consumer = PostgresRole(server(bench), "readonly", PARAMETER)
    with pytest.raises(ConsumerRefusedError, match="no empty password"):
        consumer.admit(one(password), one("x"))
    with pytest.raises(ConsumerRefusedError, match="no empty password"):
        consumer.login(one(password))


@role_bench
def test_verifiers_are_those_of_the_client_library(bench: PostgresBench) -> None:
    """libpq computes the same from the same salt, whatever the characters."""
    odd = [
        "a\u200bb",
        "\u0340",
        "ﬁ\u2168",
        "\u0627\u0628",
        "\u06271",
        "\u0378",
        "\ufeff",
        "ª\u0007",
    ]
    with psycopg.connect(
        host=str(bench.server.sockets), port=bench.server.port, user="postgres"
    ) as own:
        for text in [*odd, *PASSWORDS]:
            theirs = own.pgconn.encrypt_password(text.encode(), b"x", b"scram-sha-256")
            iterations, salt = theirs.split(b"$")[1].split(b":")
            ours = scram.verifier(
                SecretBytes(text.encode()), salt=base64.b64decode(salt), iterations=int(iterations)
            )
            assert ours.reveal() == theirs, text


@role_bench
def test_over_tls_the_certificate_must_be_the_servers(bench: PostgresBench, tmp_path: Path) -> None:
    present = bench.reset()
    ca_file = str(bench.server.ca_file)
    PostgresRole(server(bench, host="127.0.0.1", ca_file=ca_file), "readonly", PARAMETER).login(
        present
    )
    stranger = str(Authority(tmp_path).ca_file)
    wrong = PostgresRole(server(bench, host="127.0.0.1", ca_file=stranger), "readonly", PARAMETER)
    with pytest.raises(ConsumerUnavailableError, match="certificate verify failed"):
        wrong.login(present)


@pytest.mark.parametrize(
    ("host", "mode"),
    [
        ("/run/postgresql", None),
        ("localhost", "prefer"),
        ("::1", "prefer"),
        ("db.example", "verify-full"),
    ],
)
def test_nothing_leaves_the_machine_without_tls(host: str, mode: str | None) -> None:
    assert PostgresSettings(host).security().get("sslmode") == mode


@role_bench
def test_a_login_that_asks_for_no_password_proves_nothing(bench: PostgresBench) -> None:
    """The tests' own door is `trust`: any password would be accepted."""
    with pytest.raises(ConsumerRefusedError, match="did not complete authentication"):
        server(bench).login("postgres", rng.new_password())


@role_bench
def test_a_role_that_is_not_there_is_not_created(bench: PostgresBench) -> None:
    with pytest.raises(ConsumerRefusedError, match="does not know the role"):
        PostgresRole(server(bench), "nobody", PARAMETER).admit(one("x"), one("y"))


@role_bench
def test_a_change_that_waits_is_given_up_and_changes_nothing(bench: PostgresBench) -> None:
    """R7: another transaction holds the role; the call comes back, and can be made again."""
    present = bench.reset()
    new = bench.fresh(present)
    consumer = bench.consumer()
    with psycopg.connect(
        host=str(bench.server.sockets), port=bench.server.port, user="postgres"
    ) as own:
        own.execute("alter role readonly connection limit 5")
        with pytest.raises(ConsumerUnavailableError):
            consumer.admit(new, present)
        own.rollback()
    assert bench.accepts(present)
    consumer.admit(new, present)
    assert bench.accepts(new)


@pair_bench
def test_an_administrator_that_is_no_superuser(bench: PostgresPairBench) -> None:
    """docs/howto/consumers.md: what it must be allowed, and that it is not more."""
    own = rng.new_password()
    settings = ("log_statement", "log_min_error_statement", "log_min_duration_statement")
    rarer = ("log_min_duration_sample", "log_transaction_sample_rate", "track_activities")
    loaded = ("pg_stat_statements.track_utility",)
    bench.server.run("create role keeper login createrole")
    bench.set_password("keeper", own.reveal().decode())
    try:
        keeper = PostgresServer(
            PostgresSettings(str(bench.server.sockets), bench.server.port, admin="keeper"),
            lambda _: (own,),
        )
        pair = PostgresPair(keeper, "rails", "jdbc.password")
        present = bench.reset()
        new = bench.fresh(present)
        with pytest.raises(ConsumerRefusedError, match="too little"):
            pair.admit(new, present)
        for name in (*settings, *rarer, *loaded):
            bench.server.run(f"grant set on parameter {name} to keeper")
        pair.admit(new, present)
        pair.withdraw(present, new)
        assert bench.accepts(new)
        itself = PostgresRole(keeper, "keeper", postgres_server.ADMIN_PARAMETER)
        later = Credential({postgres_server.ADMIN_PARAMETER: rng.new_password()})
        itself.admit(later, Credential({postgres_server.ADMIN_PARAMETER: own}))
        itself.login(later)
    finally:
        bench.server.run("drop owned by keeper", "drop role keeper")


@role_bench
def test_an_old_server_is_refused(bench: PostgresBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_server, "_OLDEST", 999999)
    present = bench.reset()
    with pytest.raises(ConsumerRefusedError, match="too old"):
        bench.consumer().admit(bench.fresh(present), present)
    assert bench.accepts(present)


def test_without_a_password_of_the_administrator_nobody_is_asked() -> None:
    nobody = PostgresServer(PostgresSettings("/nonexistent"), lambda _: ())
    with pytest.raises(ConsumerRefusedError, match="is not set"):
        PostgresRole(nobody, "readonly", PARAMETER).admit(one("x"), one("y"))


@pytest.mark.parametrize("host", ["x" * 64 + ".example", "/nonexistent"])
def test_a_host_that_is_not_there_is_unavailable(host: str) -> None:
    nobody = PostgresServer(PostgresSettings(host), lambda _: ())
    with pytest.raises(ConsumerUnavailableError):
        nobody.login("readonly", rng.new_password())


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    nobody = PostgresServer(PostgresSettings("/nonexistent"), lambda _: ())
    with pytest.raises(ConsumerError, match="not installed"):
        nobody.login("readonly", rng.new_password())


@pytest.mark.parametrize("admin", ["rails", "", "x" * 64])
def test_the_administrator_is_a_role_of_its_own(admin: str) -> None:
    with pytest.raises(UsageError):
        postgres.consumers(PostgresSettings("/nonexistent", admin=admin), lambda _: ())


# ---- turns ---------------------------------------------------------------------------------------


@pair_bench
def test_whoever_has_the_turn_is_the_documented_role(bench: PostgresPairBench) -> None:
    """An application that is told name and password alone has the role's rights, and owns what the role owns."""
    present = bench.reset()
    new = bench.fresh(present)
    bench.consumer().admit(new, present)
    bench.server.run("drop table if exists public.made", "grant create on schema public to rails")
    with connected(bench, bench.user(new), new) as client:
        client.execute("create table public.made (n int)")
        client.execute("discard all")  # what a pooler does between two applications
        client.execute("insert into public.made values (1)")
    owner = bench.server.run("select tableowner from pg_tables where tablename = 'made'")
    assert owner == "rails"
    bench.server.run("drop table public.made")


@pair_bench
def test_the_documented_name_takes_the_password_with_each_withdrawal(
    bench: PostgresPairBench,
) -> None:
    present = bench.reset()
    new = bench.fresh(present)
    consumer = bench.consumer()
    consumer.admit(new, present)
    with connected(bench, "rails", present):
        pass
    consumer.withdraw(present, new)
    with connected(bench, "rails", new):
        pass
    assert not bench.server.accepts("rails", present.only().reveal().decode())


@pair_bench
def test_the_first_rotation_begins_with_the_documented_name(bench: PostgresPairBench) -> None:
    """`jdbc.username` is not set before: the application logs in as rails."""
    before = Credential(bench.reset().values)
    consumer = bench.consumer()
    consumer.login(before)
    new = Credential(bench.fresh(bench.reset()).values, {LOGIN_PARAMETER: "rails_a"})
    consumer.admit(new, before)
    consumer.login(new)
    consumer.withdraw(before, new)
    consumer.login(new)
    with pytest.raises(ConsumerRefusedError):
        consumer.login(before)
    again = Credential({"jdbc.password": rng.new_password()})
    consumer.admit(again, new)  # back to the documented name, should anybody set it
    consumer.withdraw(new, again)
    consumer.login(again)


@pair_bench
def test_a_turn_that_does_not_become_the_role_is_refused(bench: PostgresPairBench) -> None:
    """Somebody took the setting away: the application would work with too few rights."""
    present = bench.reset()
    bench.server.run("alter role rails_a reset role", "alter role rails password null")
    with pytest.raises(ConsumerRefusedError, match="with other rights"):
        bench.consumer().login(present)


@pair_bench
def test_a_login_name_that_is_not_ours_is_left_alone(bench: PostgresPairBench) -> None:
    """Somebody wrote another name into the configuration: the rotation leads back, and changes nobody else."""
    present = bench.reset()
    strange = Credential(present.values, {LOGIN_PARAMETER: "postgres"})
    consumer, new = bench.consumer(), bench.fresh(present)
    consumer.login(strange)
    before = bench.server.run("select * from pg_authid where rolname = 'postgres'")
    consumer.admit(new, strange)
    consumer.withdraw(strange, new)
    consumer.login(new)
    with pytest.raises(ConsumerRefusedError):
        consumer.login(strange)
    assert bench.server.run("select * from pg_authid where rolname = 'postgres'") == before


def connected(bench: PostgresBench, user: str, credential: Credential) -> psycopg.Connection:
    return psycopg.connect(
        host=str(bench.server.sockets),
        port=bench.server.port,
        user=user,
        password=credential.only().reveal().decode(),
        dbname="postgres",
        autocommit=True,
    )


def test_a_pair_has_names_that_fit() -> None:
    nobody = PostgresServer(PostgresSettings("/nonexistent"), lambda _: ())
    with pytest.raises(UsageError):
        PostgresPair(nobody, "x" * 62, "jdbc.password")


# ---- a server that speaks another language ------------------------------------------------------


class Foreign:
    """Asks for SCRAM, and then says the same to whatever comes, like a server that is not set to English."""

    def __init__(self, *answers: str) -> None:
        self._answers = list(answers)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with client:
                self._answer(client)

    def _answer(self, client: socket.socket) -> None:
        if int.from_bytes(client.recv(8)[4:8]) == 80877103:  # an SSLRequest
            client.sendall(b"N")
        client.recv(4096)
        client.sendall(message(b"R", (10).to_bytes(4) + b"SCRAM-SHA-256\0\0"))
        client.recv(4096)
        text = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        client.sendall(message(b"E", f"SFATAL\0VFATAL\0C28P01\0M{text}\0\0".encode()))


def message(kind: bytes, body: bytes) -> bytes:
    return kind + (len(body) + 4).to_bytes(4) + body


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        (["Passwort-Authentifizierung fehlgeschlagen"], ConsumerRefusedError),
        (["zu viele Verbindungen", "Passwort falsch"], ConsumerUnavailableError),
        (["the database system is starting up"], ConsumerUnavailableError),
        (["no pg_hba.conf entry for host"], ConsumerRefusedError),
    ],
)
def test_a_refusal_is_recognised_in_any_language(
    answers: list[str], error: type[ConsumerError]
) -> None:
    """What a surely wrong password is told as well is the refusal of a password; all else says nothing of it."""
    with Foreign(*answers) as foreign:
        settings = PostgresSettings("127.0.0.1", foreign.port)
        with pytest.raises(error):
            PostgresServer(settings, lambda _: ()).login("readonly", rng.new_password())
