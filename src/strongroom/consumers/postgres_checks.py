"""Checks in the catalogue of PostgreSQL whether a role can log in at all, before its password changes (findings K6).

If the role could not, the proof of the new password would fail after the old password is gone. The checks cover every
reason in the catalogue for which the server would refuse a login. Reasons outside of it, above all `pg_hba.conf`, are
found by a trial login (`PostgresServer.knock`).
"""

from typing import TYPE_CHECKING, NamedTuple

from strongroom.errors import ConsumerRefusedError

if TYPE_CHECKING:
    from psycopg import Connection

_HOWTO = "docs/howto/consumers.md"
_STATE = """
SELECT r.rolcanlogin,
       coalesce(r.rolvaliduntil <= now(), false),
       r.rolvaliduntil::text,
       r.rolconnlimit = 0 AND NOT r.rolsuper,
       d.datconnlimit = 0 AND NOT r.rolsuper,
       has_database_privilege(r.oid, d.oid, 'CONNECT')
  FROM pg_catalog.pg_roles r, pg_catalog.pg_database d
 WHERE r.rolname = %s AND d.datname = current_database()
"""
_BECOMES = """
SELECT substr(setting, 6)
  FROM pg_catalog.pg_db_role_setting s
  CROSS JOIN LATERAL unnest(s.setconfig) AS setting
 WHERE setting LIKE 'role=%%'
   AND s.setrole IN (0, (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = %s))
   AND s.setdatabase IN (0, (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()))
 ORDER BY s.setrole = 0, s.setdatabase = 0
 LIMIT 1
"""
"""Selects the role that a session becomes at its start; settings of a role or database precede those of all."""


class _State(NamedTuple):
    may_log_in: bool
    is_expired: bool
    valid_until: str | None
    role_is_full: bool
    database_is_full: bool
    may_connect: bool


def check_can_log_in(connection: "Connection", role: str, becomes: str = "") -> None:
    """Refuse a change of a role's password if no login could prove the new password.

    Args:
        connection: A session of the administrator, in the database that logins are proved in.
        role: The role that is to log in.
        becomes: The role whose rights the session must have after the login, if not the same role.

    Raises:
        ConsumerRefusedError: The role could not log in, or its session would become another role; the hint names the
            statement that mends it.
    """
    row = connection.execute(_STATE, [role]).fetchone()
    if row is None:
        raise ConsumerRefusedError(
            f"PostgreSQL does not know the role {role!r}", hint=f"create it as in {_HOWTO}"
        )
    state = _State(*row)
    name = '"' + role.replace('"', '""') + '"'
    for is_wrong, what, mended in (
        (not state.may_log_in, "may not log in (NOLOGIN)", f"ALTER ROLE {name} LOGIN"),
        (
            state.is_expired,
            f"has expired (VALID UNTIL {state.valid_until})",
            f"ALTER ROLE {name} VALID UNTIL 'infinity'",
        ),
        (
            state.role_is_full,
            "may have no connection (CONNECTION LIMIT 0)",
            f"ALTER ROLE {name} CONNECTION LIMIT -1",
        ),
        (
            state.database_is_full,
            "is not let into the database, whose CONNECTION LIMIT is 0",
            "ALTER DATABASE … CONNECTION LIMIT -1",
        ),
        (
            not state.may_connect,
            "lacks the right to connect to the database",
            f"GRANT CONNECT ON DATABASE … TO {name}",
        ),
    ):
        if is_wrong:
            raise _could_not_be_proved(role, what, mended)
    _check_becomes(connection, role, becomes or role, name)


def _check_becomes(connection: "Connection", role: str, wanted: str, name: str) -> None:
    row = connection.execute(_BECOMES, [role]).fetchone()
    becomes = role if row is None or row[0] == "none" else row[0]
    if becomes != wanted:
        raise _could_not_be_proved(
            role, f"becomes {becomes!r} at its login (SET role)", f"ALTER ROLE {name} RESET role"
        )


def _could_not_be_proved(role: str, what: str, mended: str) -> ConsumerRefusedError:
    return ConsumerRefusedError(
        f"the role {role!r} {what}, so a new password could not be proved; nothing was changed",
        hint=f"{mended}; see {_HOWTO}",
    )
