"""The statement that sets a role's password in PostgreSQL by a verifier, so that no server sees or logs the password."""

from typing import TYPE_CHECKING, NamedTuple

from strongroom.crypto.secret import SecretBytes

if TYPE_CHECKING:
    from psycopg import Connection
    from psycopg.sql import Composed

_MECHANISM = b"scram-sha-256"


class Setting(NamedTuple):
    """A statement, and the secret in it.

    Attributes:
        statement: The statement; not for messages and logs.
        verifier: The verifier, hidden like a password: with it, an attacker can try passwords offline and pose as the
            server.
    """

    statement: "Composed"
    verifier: SecretBytes


def setting(
    connection: "Connection", role: str, password: SecretBytes, *, login: bool = False
) -> Setting:
    """The statement that sets a password, by a verifier that libpq makes here (RFC 5802, RFC 7677).

    Args:
        connection: The session that is to run the statement.
        role: The role's name.
        password: The password, not empty and without NUL.
        login: Whether the role may log in from then on.
    """
    from psycopg import sql

    made = connection.pgconn.encrypt_password(password.reveal(), role.encode(), _MECHANISM)
    verifier = SecretBytes(made)
    text = "ALTER ROLE {} LOGIN PASSWORD {}" if login else "ALTER ROLE {} PASSWORD {}"
    literal = sql.Literal(verifier.reveal().decode("ascii"))
    return Setting(sql.SQL(text).format(sql.Identifier(role), literal), verifier)
