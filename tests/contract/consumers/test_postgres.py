"""What is PostgreSQL's own: names, languages, TLS, turns, and a change that waits (S12, R6, R7)."""

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

from strongroom.consumers import postgres_roles, postgres_server
from strongroom.consumers.base import Credential, UnprovenLoginError
from strongroom.consumers.postgres_roles import LOGIN_PARAMETER, PostgresPair, PostgresRole
from strongroom.consumers.postgres_server import NotAskedError, PostgresServer, PostgresSettings
from strongroom.crypto import rng
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import (
    ConsumerError,
    ConsumerRefusedError,
    ConsumerUnavailableError,
    UsageError,
)
from tests.contract.consumers.component_postgres import PostgresLab, PostgresPairLab
from tests.support.tls import Authority

PARAMETER = "pgsql.readonly_password"
role_lab = pytest.mark.parametrize("lab", ["postgres-role"], indirect=True)
pair_lab = pytest.mark.parametrize("lab", ["postgres-pair"], indirect=True)
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

ODD = ["a\u200bb", "\u0340", "ﬁ\u2168", "\u0627\u0628", "\u06271", "\u0378", "\ufeff", "ª\u0007"]


def one(password: str | SecretBytes) -> Credential:
    value = password if isinstance(password, SecretBytes) else SecretBytes(password.encode())
    return Credential({PARAMETER: value})


def server(lab: PostgresLab, **options: str) -> PostgresServer:
    where = {"host": str(lab.server.sockets), **options}
    settings = PostgresSettings(port=lab.server.port, **where)
    return PostgresServer(settings, lambda _: (lab.admin,))


@contextmanager
def created(lab: PostgresLab, name: str) -> Iterator[None]:
    quoted = str(sql.Identifier(name).as_string())
    lab.server.run(f"create role {quoted} login")
    try:
        yield
    finally:
        lab.server.run(f"drop role {quoted}")


@role_lab
@pytest.mark.parametrize("name", NAMES)
def test_a_role_with_an_odd_name(lab: PostgresLab, name: str) -> None:
    """S12: names are quoted; another role stays as it is."""
    bystander = lab.reset()
    with created(lab, name):
        consumer = PostgresRole(server(lab), name, PARAMETER)
        new, wrong = one(rng.new_password()), one(rng.new_password())
        consumer.admit(new, wrong)
        consumer.login(new)
        with pytest.raises(ConsumerRefusedError):
            consumer.login(wrong)
    assert lab.accepts(bystander)


@role_lab
def test_forty_names_of_the_worst_characters(lab: PostgresLab) -> None:
    """S12: each changes its own role, and the neighbour whose name begins alike keeps its password."""
    choice = random.Random(12)
    worst = "\"'\\;-/*$%{}()[]@:\n\t éß秘🔑\u200bA"
    for number in range(40):
        name = "".join(choice.choices(worst, k=choice.randint(1, 12))) + str(number)
        neighbour = name + "'"
        kept, new = one(rng.new_password()), one(rng.new_password())
        with created(lab, name), created(lab, neighbour):
            PostgresRole(server(lab), neighbour, PARAMETER).admit(kept, new)
            consumer = PostgresRole(server(lab), name, PARAMETER)
            consumer.admit(new, kept)
            consumer.login(new)
            PostgresRole(server(lab), neighbour, PARAMETER).login(kept)


@role_lab
@pytest.mark.parametrize("password", PASSWORDS)
def test_a_role_with_an_odd_password(lab: PostgresLab, password: str) -> None:
    """S12: an administrator may give any text; what we compute is what the client library computes."""
    consumer = PostgresRole(server(lab), "readonly", PARAMETER)
    consumer.admit(one(password), one("unused"))
    consumer.login(one(password))
    assert lab.accepts(one(password))


@pytest.mark.parametrize("name", ["", "a\0b", "x" * 64, "é" * 32, "x" * 1000])
def test_names_that_postgresql_would_cut_are_refused(name: str) -> None:
    with pytest.raises(UsageError):
        postgres_server.check_name(name)


@role_lab
@pytest.mark.parametrize("password", ["", "a\0b"])
def test_passwords_that_postgresql_cannot_have(lab: PostgresLab, password: str) -> None:
    consumer = PostgresRole(server(lab), "readonly", PARAMETER)
    with pytest.raises(ConsumerRefusedError, match="no empty password"):
        consumer.admit(one(password), one("x"))
    with pytest.raises(ConsumerRefusedError, match="no empty password"):
        consumer.login(one(password))


@role_lab
@pytest.mark.parametrize("password", ODD)
def test_characters_that_saslprep_maps_or_refuses(lab: PostgresLab, password: str) -> None:
    """RFC 4013: what our verifier admits is what any client of libpq logs in by."""
    consumer = PostgresRole(server(lab), "readonly", PARAMETER)
    consumer.admit(one(password), one("unused"))
    assert lab.accepts(one(password))
    assert not lab.accepts(one(f"{password}x"))


@role_lab
def test_the_server_stores_a_verifier_and_never_heard_the_password(lab: PostgresLab) -> None:
    """C-28; each admission has a salt of its own."""
    consumer = PostgresRole(server(lab), "readonly", PARAMETER)
    stored = "select rolpassword from pg_authid where rolname = 'readonly'"
    seen = set()
    for _ in range(2):
        consumer.admit(one("of this test"), one("unused"))
        seen.add(lab.server.run(stored).strip())
    assert len(seen) == 2
    for text in seen:
        mechanism, iterations, _ = text.replace(":", "$").split("$", 2)
        assert mechanism == "SCRAM-SHA-256"
        assert int(iterations) >= 4096
        assert "of this test" not in text


@role_lab
def test_a_verifier_that_the_server_quotes_is_masked(lab: PostgresLab) -> None:
    """It is made in the session, after its error would have been prepared; S12, C-28."""
    setting = postgres_roles._Password("no such role", SecretBytes(b"of this test"))
    with pytest.raises(ConsumerRefusedError):
        server(lab).administer(setting.set, hidden=setting.hidden)
    password, verifier = setting.hidden
    assert verifier.reveal().startswith(b"SCRAM-SHA-256$")

    def quoting(connection: "psycopg.Connection") -> None:
        # or the log, in which another test looks for verifiers, has this one
        connection.execute("set log_min_messages to panic")
        connection.execute(f"select '{verifier.reveal().decode()}'::int".encode())

    with pytest.raises(ConsumerRefusedError) as caught:
        server(lab).administer(quoting, hidden=setting.hidden)
    assert verifier.reveal().decode() not in str(caught.value)
    assert password.reveal().decode() not in str(caught.value)


@role_lab
def test_over_tls_the_certificate_must_be_the_servers(lab: PostgresLab, tmp_path: Path) -> None:
    present = lab.reset()
    ca_file = str(lab.server.ca_file)
    PostgresRole(server(lab, host="127.0.0.1", ca_file=ca_file), "readonly", PARAMETER).login(
        present
    )
    stranger = str(Authority(tmp_path).ca_file)
    wrong = PostgresRole(server(lab, host="127.0.0.1", ca_file=stranger), "readonly", PARAMETER)
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


@role_lab
def test_a_login_that_asks_for_no_password_proves_nothing(lab: PostgresLab) -> None:
    """The tests' own door is `trust`: any password would be accepted."""
    with pytest.raises(NotAskedError, match="did not complete authentication") as caught:
        server(lab).login("postgres", rng.new_password())
    # findings K6: nor that an old one is dead
    assert not isinstance(caught.value, ConsumerRefusedError)


@role_lab
def test_a_role_that_is_not_there_is_not_created(lab: PostgresLab) -> None:
    with pytest.raises(ConsumerRefusedError, match="does not know the role"):
        PostgresRole(server(lab), "nobody", PARAMETER).admit(one("x"), one("y"))


@role_lab
def test_a_change_that_waits_is_given_up_and_changes_nothing(lab: PostgresLab) -> None:
    """R7: another transaction holds the role; the call comes back, and can be made again."""
    present = lab.reset()
    new = lab.fresh(present)
    consumer = lab.consumer()
    with psycopg.connect(
        host=str(lab.server.sockets), port=lab.server.port, user="postgres"
    ) as own:
        own.execute("alter role readonly connection limit 5")
        with pytest.raises(ConsumerUnavailableError):
            consumer.admit(new, present)
        own.rollback()
    assert lab.accepts(present)
    consumer.admit(new, present)
    assert lab.accepts(new)


@pair_lab
def test_an_administrator_that_is_no_superuser(lab: PostgresPairLab) -> None:
    """docs/howto/consumers.md: what it must be allowed, and that it is not more."""
    own = rng.new_password()
    settings = ("log_statement", "log_min_error_statement", "log_min_duration_statement")
    rarer = ("log_min_duration_sample", "log_transaction_sample_rate", "track_activities")
    loaded = ("pg_stat_statements.track_utility",)
    lab.server.run("create role keeper login createrole")
    lab.set_password("keeper", own.reveal().decode())
    try:
        keeper = PostgresServer(
            PostgresSettings(str(lab.server.sockets), lab.server.port, admin="keeper"),
            lambda _: (own,),
        )
        pair = PostgresPair(keeper, "rails", "jdbc.password")
        present = lab.reset()
        new = lab.fresh(present)
        # from version 16 on, a role that may create roles may not change those of others
        lab.server.run("grant rails, rails_a to keeper with admin option")
        with pytest.raises(ConsumerRefusedError, match="too little"):
            pair.admit(new, present)
        for name in (*settings, *rarer, *loaded):
            lab.server.run(f"grant set on parameter {name} to keeper")
        pair.admit(new, present)
        pair.withdraw(present, new)
        assert lab.accepts(new)
        itself = PostgresRole(keeper, "keeper", postgres_server.ADMIN_PARAMETER)
        later = Credential({postgres_server.ADMIN_PARAMETER: rng.new_password()})
        itself.admit(later, Credential({postgres_server.ADMIN_PARAMETER: own}))
        itself.login(later)
    finally:
        lab.server.run("drop owned by keeper", "drop role keeper")


@role_lab
def test_an_old_server_is_refused(lab: PostgresLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_server, "_OLDEST", 999999)
    present = lab.reset()
    with pytest.raises(ConsumerRefusedError, match="too old"):
        lab.consumer().admit(lab.fresh(present), present)
    assert lab.accepts(present)


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
    nobody._candidates = lambda _: (SecretBytes(b"of the administrator"),)
    role, new = PostgresRole(nobody, "readonly", PARAMETER), one(rng.new_password())
    with pytest.raises(ConsumerError, match="not installed") as asked:
        role.login(new)
    with pytest.raises(ConsumerError, match="not installed") as changed:
        role.admit(new, new)
    assert {asked.value.hint, changed.value.hint} == {"pip install 'strongroom[postgres]'"}


@pytest.mark.parametrize("admin", ["rails", "", "x" * 64])
def test_the_administrator_is_a_role_of_its_own(admin: str) -> None:
    with pytest.raises(UsageError):
        postgres_roles.consumers(PostgresSettings("/nonexistent", admin=admin), lambda _: ())


# ---- turns ---------------------------------------------------------------------------------------


@pair_lab
def test_whoever_has_the_turn_is_the_documented_role(lab: PostgresPairLab) -> None:
    """An application that is told name and password alone has the role's rights, and owns what the role owns."""
    present = lab.reset()
    new = lab.fresh(present)
    lab.consumer().admit(new, present)
    lab.server.run("drop table if exists public.made", "grant create on schema public to rails")
    with connected(lab, lab.user(new), new) as client:
        client.execute("create table public.made (n int)")
        client.execute("discard all")  # what a pooler does between two applications
        client.execute("insert into public.made values (1)")
    owner = lab.server.run("select tableowner from pg_tables where tablename = 'made'")
    assert owner == "rails"
    lab.server.run("drop table public.made")


@pair_lab
def test_the_documented_name_takes_the_password_with_each_withdrawal(
    lab: PostgresPairLab,
) -> None:
    present = lab.reset()
    new = lab.fresh(present)
    consumer = lab.consumer()
    consumer.admit(new, present)
    with connected(lab, "rails", present):
        pass
    consumer.withdraw(present, new)
    with connected(lab, "rails", new):
        pass
    assert not lab.server.accepts("rails", present.only().reveal().decode())


@pair_lab
def test_the_first_rotation_begins_with_the_documented_name(lab: PostgresPairLab) -> None:
    """`jdbc.username` is not set before: the application logs in as rails."""
    before = Credential(lab.reset().values)
    consumer = lab.consumer()
    consumer.login(before)
    new = Credential(lab.fresh(lab.reset()).values, {LOGIN_PARAMETER: "rails_a"})
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


@pair_lab
def test_a_turn_that_does_not_become_the_role_is_refused(lab: PostgresPairLab) -> None:
    """Somebody took the setting away: the application would work with too few rights."""
    present = lab.reset()
    lab.server.run("alter role rails_a reset role", "alter role rails password null")
    with pytest.raises(UnprovenLoginError, match="with other rights") as caught:
        lab.consumer().login(present)
    assert caught.value.is_let_in  # findings K6: it is no proof that the password is dead


@pair_lab
def test_a_login_name_that_is_not_ours_is_left_alone(lab: PostgresPairLab) -> None:
    """Somebody wrote another name into the configuration: the rotation leads back, and changes nobody else."""
    present = lab.reset()
    strange = Credential(present.values, {LOGIN_PARAMETER: "postgres"})
    consumer, new = lab.consumer(), lab.fresh(present)
    consumer.login(strange)
    before = lab.server.run("select * from pg_authid where rolname = 'postgres'")
    consumer.admit(new, strange)
    consumer.withdraw(strange, new)
    consumer.login(new)
    with pytest.raises(ConsumerRefusedError):
        consumer.login(strange)
    assert lab.server.run("select * from pg_authid where rolname = 'postgres'") == before


def connected(lab: PostgresLab, user: str, credential: Credential) -> psycopg.Connection:
    return psycopg.connect(
        host=str(lab.server.sockets),
        port=lab.server.port,
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
