"""PostgreSQL: the roles whose passwords are secret parameters."""

from typing import TYPE_CHECKING

from strongroom.consumers.kinds import ConsumerKind, Effective, Setting, authority
from strongroom.system import values

if TYPE_CHECKING:
    from strongroom.consumers.base import Candidates, Consumer


def build(effective: Effective, candidates: "Candidates") -> "tuple[Consumer, ...]":
    """Every role, if a host is set."""
    host = effective("pgsql.host") or ""
    if not host:
        return ()
    from strongroom.consumers import postgres_roles
    from strongroom.consumers.postgres_server import PostgresSettings

    settings = PostgresSettings(
        host,
        port=int(effective("pgsql.port") or 0),
        database=effective("pgsql.database") or "",
        admin=effective("pgsql.adminusername") or "",
        ca_file=effective("pgsql.ca_file") or "",
    )
    return postgres_roles.consumers(settings, candidates)


def _settings() -> tuple[Setting, ...]:
    host = "host of PostgreSQL or folder of its Unix socket; none: not used"
    login = "login of jdbc.password; a rotation writes it, rails until then"
    ca_file = authority("PostgreSQL", without="the system's")
    admin = "role that changes the others' passwords"
    database = "database in which PostgreSQL logins are proved"
    port = "port of PostgreSQL; also part of its socket's name"
    return (
        Setting("jdbc.username", None, values.login, login),
        Setting("pgsql.host", None, values.host_or_socket, host),
        Setting("pgsql.port", "5432", values.port, port),
        Setting("pgsql.database", "postgres", values.name, database),
        Setting("pgsql.adminusername", "tblwgadmin", values.name, admin),
        Setting("pgsql.ca_file", None, values.path, ca_file),
    )


CONSUMER = ConsumerKind("postgresql", _settings(), build)
