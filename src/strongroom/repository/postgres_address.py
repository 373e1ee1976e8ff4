"""The address of a PostgreSQL database: what may be in it, and the parameters of a connection that follow from it.

A password is no part of an address: addresses are printed, logged and given on command lines. Whoever opens the
repository brings the password by a function, which is asked for each new connection, so that a changed one is used.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Final, NamedTuple

from sqlalchemy import URL

from strongroom import foreign_words
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import StorageError, UsageError
from strongroom.system import hosts, postgres_conninfo
from strongroom.system.extras import needed

Passwords = Callable[[], Sequence[SecretBytes]]
"""Returns the passwords that the server may take from the repository's user now, the likeliest first.

There is more than one only while the password is changed.
"""
LOCK_WAIT_S: Final = 35
"""How long a statement waits for another transaction: longer than `IDLE_S`, so that it outlives a holder that hangs."""
STATEMENT_S: Final = 60
"""How long a statement may take, and wait."""
IDLE_S: Final = 30
"""How long a transaction may do nothing before PostgreSQL ends it: its process is stopped, or cut off."""
GONE_S: Final = 2
"""How soon PostgreSQL ends the statement, and lets go of the locks, of a client that is gone."""
_DRIVER: Final = "postgresql+psycopg"
_NEEDED: Final = ("host", "dbname", "user")
"""Parameters that a stored address must have, so that it leads to the same place whoever runs the process."""
_LISTS: Final = ("host", "hostaddr", "port")
"""Parameters that are lists, an entry for each server."""
_PORT: Final = "5432"
_FILES: Final = ("sslrootcert", "sslcert", "sslkey", "sslcrl", "sslcrldir")
_SECRETS: Final = ("password", "sslpassword")
_USUAL: Final[Mapping[str, str]] = {
    "connect_timeout": "5",
    # of several hosts the one that can be written, so never a primary that was replaced
    "target_session_attrs": "read-write",
    "keepalives": "1",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "20000",
}


def postgres_url(dsn: str) -> URL:
    """The URL of a database, from an address in either form of libpq: `host=… dbname=…` or `postgresql://…`.

    Raises:
        UsageError: The text is no address, or holds a password, or does without proof of the server's name.
        StorageError: The library for PostgreSQL is not installed.
    """
    with needed("the library for PostgreSQL is missing: psycopg", "postgres", StorageError):
        import psycopg
        from psycopg import conninfo
    try:
        given = {name: str(value) for name, value in conninfo.conninfo_to_dict(dsn).items()}
    except psycopg.ProgrammingError as error:
        # the library's words quote the address, in which somebody may have written a password
        raise UsageError(
            "this is no address of PostgreSQL", hint="write host=… port=… dbname=… user=…"
        ) from foreign_words.cause(error, dsn)
    check_address(given)
    return URL.create(_DRIVER, query=given)


def stored_form(dsn: str) -> dict[str, str]:
    """The parameters of an address as they are stored: complete, and with the paths of files from the root on.

    Raises:
        UsageError: The text is no address, lacks host, database or user, or must not be an address.
        StorageError: The library for PostgreSQL is not installed.
    """
    given = {name: str(value) for name, value in postgres_url(dsn).query.items()}
    missing = [name for name in _NEEDED if not given.get(name)]
    if missing:
        raise UsageError(
            f"the address of PostgreSQL does not say its {' and '.join(missing)}",
            hint="write host=… port=… dbname=… user=… sslrootcert=FILE",
        )
    for name in _FILES:
        if name in given and given[name] != "system":
            given[name] = str(Path(given[name]).absolute())
    return given


def stored_url(given: Mapping[str, str]) -> URL:
    """The URL of an address in its stored form.

    Raises:
        UsageError: The address holds a password, or does without proof of the server's name.
    """
    check_address(given)
    return URL.create(_DRIVER, query=dict(given))


def words(given: Mapping[str, str]) -> str:
    """An address for people: each host with its port, and the database."""
    found = (
        f"{hosts.bracketed(one.host)}:{one.port}" if one.port else one.host
        for one in _servers(given)
    )
    return f"{','.join(found)}/{given.get('dbname', '')}"


def hosts_of(given: Mapping[str, str]) -> tuple[str, ...]:
    """The hosts whose names are looked up; a folder of sockets, or what has a `hostaddr` as well, is none."""
    return tuple(one.host for one in _servers(given) if not (one.is_local or one.address))


def places_of(given: Mapping[str, str]) -> tuple[str, ...]:
    """Where a connection goes, each `host:port`: by the `hostaddr`, where there is one; folders of sockets are no place.

    With a `hostaddr` the host is only the name in the server's certificate, which no name service need know.
    """
    return tuple(
        f"{hosts.bracketed(one.address or one.host)}:{one.port or _PORT}"
        for one in _servers(given)
        if not one.is_local
    )


def check_address(given: Mapping[str, str]) -> None:
    """Refuse what must not be in an address.

    Raises:
        UsageError: The address holds a password, or does without proof of the server's name.
    """
    if any(given.get(name) for name in _SECRETS):
        raise UsageError(
            "a password does not belong into the address of PostgreSQL",
            hint="put it into a file that only its owner can read",
        )
    if not _is_local(given) and given.get("sslmode", "verify-full") != "verify-full":
        raise UsageError(
            f"sslmode={given['sslmode']} does not prove which server answers",
            hint="write sslmode=verify-full and sslrootcert=FILE",
        )


def parameters(given: Mapping[str, str], known: frozenset[str]) -> dict[str, str]:
    """All parameters of a connection but the password; what is not given is set explicitly as well (K4).

    Args:
        given: The address.
        known: The options of the installed libpq.
    """
    chosen = {name: value for name, value in _USUAL.items() if name in known}
    chosen |= {"sslmode": "prefer" if _is_local(given) else "verify-full"}
    if not _is_local(given):
        chosen["sslrootcert"] = "system"
    if _is_local(given) or "sslcert" in given:
        # a peer is known by its user on this machine, or by its certificate, and may be asked for a password as well; an
        # empty list would refuse each server that asks (libpq 18)
        chosen |= {"require_auth": "none,scram-sha-256", "sslcertmode": "allow"}
    chosen |= given
    chosen["options"] = f"{given.get('options', '')} {_limits()}".strip()
    return postgres_conninfo.explicit(known, {"user": "", "password": "", **chosen})


def _limits() -> str:
    limits = {
        "lock_timeout": LOCK_WAIT_S,
        "statement_timeout": STATEMENT_S,
        "idle_in_transaction_session_timeout": IDLE_S,
        "client_connection_check_interval": GONE_S,
    }
    return " ".join(f"-c {name}={seconds}s" for name, seconds in limits.items())


def _is_local(given: Mapping[str, str]) -> bool:
    """Whether every host is a folder of Unix sockets; without a host libpq takes the usual folder."""
    return all(one.is_local for one in _servers(given))


class _Server(NamedTuple):
    """A server of an address; each part may be empty."""

    host: str
    address: str
    port: str

    @property
    def is_local(self) -> bool:
        return not self.address and (not self.host or self.host.startswith(("/", "@")))


def _servers(given: Mapping[str, str]) -> Iterator[_Server]:
    """The servers, as libpq pairs the lists: one port stands for all, and an empty address for none."""
    names, addresses, ports = (given.get(one, "").split(",") for one in _LISTS)
    count = max(len(names), len(addresses))
    if len(ports) == 1:
        ports *= count
    for name, address, port in zip_longest(names, addresses, ports[:count], fillvalue=""):
        yield _Server(name, address, port)
