"""Sets every parameter of a connection to PostgreSQL, so that no variable and no file of a home directory has a say (K4).

libpq takes a missing parameter from `PG…` variables, `~/.pgpass` and `~/.postgresql`. So every parameter that libpq
knows is set explicitly. `PGSERVICE`, and the variables that become settings of the session (`PGTZ` …), cannot be
overridden by a parameter; so the program removes all variables of libpq from its environment at its start
(`__main__.forget_foreign`).
"""

from collections.abc import Iterable

_NOWHERE = "/dev/null/none"
"""The path of a file that cannot exist: libpq goes on without the file, and looks for no other."""
FIXED = {
    "application_name": "strongroom",
    "channel_binding": "prefer",
    "client_encoding": "UTF8",
    "connect_timeout": "3",
    "gssdelegation": "0",
    "gssencmode": "disable",
    "gsslib": "",
    "hostaddr": "",
    "krbsrvname": "postgres",
    "load_balance_hosts": "disable",
    "max_protocol_version": "3.0",
    "min_protocol_version": "3.0",
    "options": "",
    "passfile": _NOWHERE,
    # a false server could ask for the password in plain text, and a server that asks for none proves nothing
    "require_auth": "scram-sha-256",
    "requirepeer": "",
    "ssl_max_protocol_version": "",
    "ssl_min_protocol_version": "TLSv1.2",
    "sslcert": _NOWHERE,
    "sslcertmode": "disable",
    "sslcompression": "0",
    "sslcrl": _NOWHERE,
    "sslcrldir": "",
    "sslkey": _NOWHERE,
    "sslmode": "prefer",
    "sslnegotiation": "postgres",
    "sslrootcert": _NOWHERE,
    "sslsni": "1",
    "target_session_attrs": "any",
}
"""The parameters that every connection has, unless its settings differ; host, port, database, user and password are added."""


def explicit(known: Iterable[str], given: dict[str, str]) -> dict[str, str]:
    """All parameters of a connection.

    Args:
        known: The options of the installed libpq, since libpq refuses names that it does not know.
        given: The parameters that are particular to this connection.
    """
    return {**{name: FIXED[name] for name in known if name in FIXED}, **given}
