"""What can be wrong with each component when a rotation comes (findings K6): a list for each, tried by one test."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace

from kazoo.security import ACL, Id

from strongroom.consumers.certificates_files import FILES
from tests.contract.consumers.component_certificates import CertificatesLab
from tests.contract.consumers.component_postgres import PostgresLab
from tests.contract.consumers.component_redis import USER, RedisLab
from tests.contract.consumers.component_zookeeper import TREE, ZookeeperLab
from tests.contract.consumers.harness import ConsumerLab

Wrong = Callable[[ConsumerLab], AbstractContextManager[None]]


@dataclass(frozen=True)
class Failure:
    """Something that makes a rotation fail, or would have made one fail half-way.

    Attributes:
        wrong: Makes it so, and puts it back.
        says: What the message must have, as a regular expression; empty: it succeeds.
        may_be_unknown: Whether a login can be no proof meanwhile, or the component has no time for one.
        accepts: What is told then, where a login asks for more or for less than the tests' own eye.
    """

    wrong: Wrong
    says: str
    may_be_unknown: bool = False
    accepts: str = ""


# ---- PostgreSQL ----------------------------------------------------------------------------------


def _sql(wrong: str, mend: str) -> Wrong:
    """Statements in which {role} is the role that is to be proved."""

    @contextmanager
    def broken(lab: ConsumerLab) -> Iterator[None]:
        assert isinstance(lab, PostgresLab)
        role = lab.to_prove
        lab.server.run(
            f"do $$ begin if not exists (select from pg_roles where rolname = '{role}')"
            f" then create role {role}; end if; end $$"
        )
        lab.server.run(*wrong.format(role=role).split("; "))
        try:
            yield
        finally:
            lab.server.run(*mend.format(role=role).split("; "))

    return broken


def _hba(line: str) -> Wrong:
    """A line of pg_hba.conf for the role that is to be proved, before all others."""

    @contextmanager
    def broken(lab: ConsumerLab) -> Iterator[None]:
        assert isinstance(lab, PostgresLab)
        path = lab.server.component.folder / "data" / "pg_hba.conf"
        before = path.read_text()
        path.write_text(line.format(role=lab.to_prove) + "\n" + before)
        lab.server.run("select pg_reload_conf()")
        try:
            yield
        finally:
            path.write_text(before)
            lab.server.run("select pg_reload_conf()")

    return broken


_ROLE = {
    "expired": Failure(
        _sql(
            "alter role {role} valid until '2020-01-01'", "alter role {role} valid until 'infinity'"
        ),
        r"VALID UNTIL 2020.*nothing was changed",
    ),
    "no-connect": Failure(
        _sql(
            "revoke connect on database postgres from public",
            "grant connect on database postgres to public",
        ),
        "permission denied for database|right to connect",
    ),
    "no-connections": Failure(
        _sql("alter role {role} connection limit 0", "alter role {role} connection limit -1"),
        "too many connections|CONNECTION LIMIT 0",
        may_be_unknown=True,
    ),
    "another-role": Failure(
        _sql(
            "grant tableau to {role}; alter role {role} set role to tableau",
            "alter role {role} reset role; revoke tableau from {role}",
        ),
        "other rights|becomes 'tableau'",
    ),
    "another-role-in-the-database": Failure(
        _sql(
            "grant tableau to {role}; alter role {role} in database postgres set role to tableau",
            "alter role {role} in database postgres reset role; revoke tableau from {role}",
        ),
        "other rights|becomes 'tableau'",
    ),
    "no-login": Failure(
        _sql("alter role {role} nologin", "alter role {role} login"),
        "NOLOGIN|not permitted to log in",
    ),
    "hba-rejects": Failure(_hba("local all {role} reject"), "pg_hba.conf rejects"),
    "hba-in-the-clear": Failure(
        _hba("local all {role} password"), "proves nothing.*scram-sha-256", may_be_unknown=True
    ),
    "hba-trust": Failure(
        _hba("local all {role} trust"), "proves nothing.*scram-sha-256", may_be_unknown=True
    ),
    "hba-md5": Failure(_hba("local all {role} md5"), ""),
}
_NO_SUPERUSER = Failure(
    _sql("alter role tblwgadmin nosuperuser", "alter role tblwgadmin superuser"),
    "SQLSTATE 42501.*permission denied",
)
_READ_ONLY = Failure(
    _sql(
        "alter role tblwgadmin set default_transaction_read_only to on",
        "alter role tblwgadmin reset default_transaction_read_only",
    ),
    "SQLSTATE 25006.*read-only",
)
_SUPERUSER_PASSES = {"no-connect", "no-connections", "another-role-in-the-database"}


# ---- Redis ---------------------------------------------------------------------------------------


def _acl(wrong: str, mend: str) -> Wrong:
    """Rules of the user."""

    @contextmanager
    def broken(lab: ConsumerLab) -> Iterator[None]:
        assert isinstance(lab, RedisLab)
        lab._administer("ACL", "SETUSER", USER, *wrong.split())
        try:
            yield
        finally:
            lab._administer("ACL", "SETUSER", USER, *mend.split())

    return broken


@contextmanager
def _no_acl_file(lab: ConsumerLab) -> Iterator[None]:
    """Redis cannot write it: something else lies there."""
    assert isinstance(lab, RedisLab)
    path = lab.server.acl_file
    aside = path.rename(path.with_name("aside"))
    path.mkdir()
    try:
        yield
    finally:
        path.rmdir()
        aside.rename(path)


@contextmanager
def _busy(lab: ConsumerLab) -> Iterator[None]:
    """A script that does not end; Redis answers everybody that it is busy."""
    assert isinstance(lab, RedisLab)
    lab._administer("CONFIG", "SET", "busy-reply-threshold", "1")
    with lab.session_of_root() as client:
        runs = threading.Thread(target=client, args=("EVAL", "while true do end", "0"))
        runs.start()
        try:
            yield
        finally:
            while runs.is_alive():
                lab._administer("SCRIPT", "KILL")
                runs.join(0.1)
            lab._administer("CONFIG", "SET", "busy-reply-threshold", "5000")


_REDIS = {
    "off": Failure(_acl("off", "on"), "WRONGPASS.*user may be off"),
    "no-acl": Failure(_acl("-acl", "+acl"), "NOPERM"),
    "no-save": Failure(_acl("-acl|save", "+acl"), "NOPERM"),
    "no-client": Failure(_acl("-client", "+client"), "NOPERM"),
    "no-kill": Failure(_acl("-client|kill", "+client"), "NOPERM.*client\\|kill"),
    "no-pause": Failure(_acl("-client|pause", "+client"), "NOPERM.*client\\|pause"),
    "no-ping": Failure(_acl("-ping", "+ping"), "NOPERM.*ping"),
    "no-info": Failure(_acl("-info -cluster -role", "+@all"), ""),
    "no-acl-file": Failure(_no_acl_file, "refused a command.*ACL"),
    "busy": Failure(_busy, "BUSY", may_be_unknown=True),
}


# ---- ZooKeeper -----------------------------------------------------------------------------------


def _acls(wanted: Callable[[Sequence[ACL]], Sequence[ACL]], *paths: str) -> Wrong:
    """Other ACLs of these znodes."""

    @contextmanager
    def broken(lab: ConsumerLab) -> Iterator[None]:
        assert isinstance(lab, ZookeeperLab)
        with lab.server.client() as client:
            before = {path: client.get_acls(path)[0] for path in paths}
            for path in paths:
                client.set_acls(path, wanted(before[path]))
            try:
                yield
            finally:
                for path in paths:
                    client.set_acls(path, before[path])

    return broken


def _anybody(_: Sequence[ACL]) -> Sequence[ACL]:
    return [ACL(31, Id("world", "anyone"))]


def _by_address(_: Sequence[ACL]) -> Sequence[ACL]:
    return [ACL(31, Id("ip", "127.0.0.1"))]


def _reads_only(present: Sequence[ACL]) -> Sequence[ACL]:
    return [one._replace(perms=one.perms & 1) for one in present]


def _no_admin(present: Sequence[ACL]) -> Sequence[ACL]:
    return [one._replace(perms=one.perms & 15) for one in present]


@contextmanager
def _another_algorithm(lab: ConsumerLab) -> Iterator[None]:
    """As if the server had been started with another digestAlg than the one that the ACLs were made by."""
    assert isinstance(lab, ZookeeperLab)

    def changed(present: Sequence[ACL]) -> Sequence[ACL]:
        own = [one for one in present if one.id.id.startswith("filestore:")]
        return [ACL(31, Id("digest", "filestore:" + "x" * 44)) for _ in own]

    with _acls(changed, *TREE)(lab):
        yield


_ZOOKEEPER = {
    "open-to-anybody": Failure(_acls(_anybody, *TREE), "administer"),
    "by-address": Failure(_acls(_by_address, *TREE), "administer"),
    "no-admin": Failure(_acls(_no_admin, *TREE), "administer", accepts="neither"),
    "no-admin-deep-down": Failure(_acls(_no_admin, TREE[2]), "administer"),
    "reads-only-deep-down": Failure(_acls(_reads_only, TREE[1]), "administer", accepts="old"),
    "another-digest": Failure(_another_algorithm, "digestAlg"),
}


# ---- certificates --------------------------------------------------------------------------------


def _blocked(name: str) -> Wrong:
    """Something that no file can take the place of."""

    @contextmanager
    def broken(lab: ConsumerLab) -> Iterator[None]:
        assert isinstance(lab, CertificatesLab)
        path = lab.directory / name
        kept = path.read_bytes() if path.exists() else None
        path.unlink(missing_ok=True)
        path.mkdir()
        try:
            yield
        finally:
            path.rmdir()
            if kept is not None:
                path.write_bytes(kept)

    return broken


@contextmanager
def _everybodys(lab: ConsumerLab) -> Iterator[None]:
    assert isinstance(lab, CertificatesLab)
    lab.directory.chmod(0o777)
    try:
        yield
    finally:
        lab.directory.chmod(0o700)


@contextmanager
def _elsewhere(lab: ConsumerLab) -> Iterator[None]:
    assert isinstance(lab, CertificatesLab)
    with lab.refusing():
        yield


_CERTIFICATES = {
    **{f"blocked-{name}": Failure(_blocked(name), f"{name} is a directory") for name in FILES[1:]},
    "blocked-bundle": Failure(_blocked(FILES[0]), f"{FILES[0]} is a directory"),
    "everybodys": Failure(_everybodys, "only its owner"),
    "no-directory": Failure(_elsewhere, "not a directory", accepts="neither"),
}


FAILURES: Mapping[str, Mapping[str, Failure]] = {
    "postgres-role": {**_ROLE, "no-superuser": _NO_SUPERUSER, "read-only": _READ_ONLY},
    "postgres-pair": {
        # a rotation gives this right with the password
        **{name: one for name, one in _ROLE.items() if name not in {"no-login", "another-role"}},
        "no-superuser": _NO_SUPERUSER,
        "read-only": _READ_ONLY,
    },
    "postgres-admin": {
        **{name: one for name, one in _ROLE.items() if name not in _SUPERUSER_PASSES},
        # who cannot log in cannot ask the catalogue why
        "expired": replace(_ROLE["expired"], says="refused the password"),
        "no-superuser": _NO_SUPERUSER,
        "read-only": _READ_ONLY,
    },
    "redis": _REDIS,
    "zookeeper": _ZOOKEEPER,
    "certificates": _CERTIFICATES,
}
