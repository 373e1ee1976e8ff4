"""The configuration keys: which exist, what they default to, and which change without a restart.

Secret parameters are in `secrets.catalog`; here both kinds are one name space.
"""

from collections.abc import Callable
from typing import NamedTuple

from strongroom.errors import NotFoundError, UsageError
from strongroom.secrets import catalog as secrets
from strongroom.secrets import policy

MAX_TEXT_CHARACTERS = 64 << 10
_MAX_INTEGER = 2**53
_MAX_PORT = 65535
_LEVELS = ("trace", "debug", "info", "warn", "error", "fatal", "off")
LOGGING_SERVICES = ("backgrounder", "vizportal", "vizqlserver")
"""Those that write a log here; `services.log_levels` follows their `<service>.log.level`."""
_SILENT_SERVICES = ("clustercontroller", "filestore", "gateway", "tabadmincontroller")

NO_EFFECT = "accepted for scripts, nothing here uses it"
"""What is said of a key without effect."""


class ConfigKey(NamedTuple):
    """One ordinary configuration key.

    Attributes:
        name: Its name, case-sensitive.
        default: The value in force while it is not set; None if there is none.
        check: Gives the value in its one spelling, or raises `ValueError` saying what it should be.
        dynamic: Whether a change needs no restart.
        summary: What it does.
        has_effect: Whether anything here reads it; a key that nothing reads is accepted all the
            same, so that scripts written for the other product go on (requirements 2.4).
    """

    name: str
    default: str | None
    check: Callable[[str], str]
    dynamic: bool
    summary: str
    has_effect: bool = True


def _text(value: str) -> str:
    if len(value) > MAX_TEXT_CHARACTERS:
        message = f"a text of at most {MAX_TEXT_CHARACTERS} characters"
        raise ValueError(message)
    return value


def _integer(value: str) -> str:
    # int() would also take " 7", "1_000" and other scripts' digits: one spelling only
    if not (value.isascii() and value.isdigit()) or int(value) > _MAX_INTEGER:
        message = "a whole number from 0"
        raise ValueError(message)
    return str(int(value))


def _port(value: str) -> str:
    if not (value.isascii() and value.isdigit()) or not 1 <= int(value) <= _MAX_PORT:
        message = f"a port from 1 to {_MAX_PORT}"
        raise ValueError(message)
    return str(int(value))


def _login(value: str) -> str:
    if value not in {"rails", "rails_a", "rails_b"}:
        message = "rails, rails_a or rails_b"
        raise ValueError(message)
    return value


def _boolean(value: str) -> str:
    if value.lower() not in {"true", "false"}:
        message = "true or false"
        raise ValueError(message)
    return value.lower()


def _level(value: str) -> str:
    if value.lower() not in _LEVELS:
        message = f"one of {', '.join(_LEVELS)}"
        raise ValueError(message)
    return value.lower()


def _all() -> dict[str, ConfigKey]:
    keys = [*_extracts(), *_node(), *_components(), *_watched(), *_without_effect()]
    return {key.name: key for key in sorted(keys, key=lambda key: key.name)}


def _extracts() -> list[ConfigKey]:
    """How keys are held and jobs run."""
    return [
        ConfigKey(
            "kms.rmk.keep_seconds",
            "3600",
            _integer,
            True,
            "seconds that the RMK serves until its root is asked again",
        ),
        ConfigKey(
            "kms.rmk.offline_seconds",
            "3600",
            _integer,
            True,
            "further seconds while the root is out of reach",
        ),
        ConfigKey(
            "backgrounder.extracts.concurrency", "2", _integer, True, "extracts at a time in a job"
        ),
        ConfigKey(
            "backgrounder.extracts.bytes_per_second",
            "0",
            _integer,
            True,
            "throttle of jobs over extracts; 0 is none",
        ),
    ]


def _node() -> list[ConfigKey]:
    """Where it keeps and serves what."""
    return [
        ConfigKey(
            "basefilepath.backuprestore",
            "tabsvc/files/backups",
            _text,
            False,
            "folder of backups, seen from the data directory",
        ),
        ConfigKey(
            "features.PasswordlessBootstrapInit",
            "true",
            _boolean,
            False,
            "whether a bootstrap file carries a one-time credential",
        ),
        ConfigKey(
            "gateway.https.host",
            "127.0.0.1",
            _text,
            False,
            "address that serves HTTPS, read when serve starts; 0.0.0.0: all",
        ),
        ConfigKey(
            "gateway.https.port",
            None,
            _port,
            False,
            "port of HTTPS, read when serve starts; none: no HTTPS",
        ),
    ]


def _watched() -> list[ConfigKey]:
    """What runs out, and what is told."""
    return [
        ConfigKey(
            "secrets.policy",
            None,
            policy.check,
            True,
            "longest age of secrets, in days: 'redis.password=30 pgsql.*=90 *=365'",
        ),
        ConfigKey(
            "secrets.rotate_when_due",
            "false",
            _boolean,
            True,
            "whether a serving node rotates generated secrets that are due",
        ),
        ConfigKey(
            "tabadmincontroller.auth.expiration.minutes",
            "120",
            _integer,
            True,
            "minutes until a bootstrap file expires",
        ),
        *(
            ConfigKey(
                f"{service}.log.level", "info", _level, True, f"how much the log of {service} says"
            )
            for service in LOGGING_SERVICES
        ),
    ]


def _without_effect() -> list[ConfigKey]:
    """Keys of the other product's scripts that govern nothing here; their values are still checked."""
    levels = (f"{service}.log.level" for service in _SILENT_SERVICES)
    keys = [
        (
            "backgrounder.extra_timeout_in_seconds",
            "1800",
            _integer,
            False,
            "grace of a job, seconds",
        ),
        ("backgrounder.querylimit", "7200", _integer, False, "longest query, seconds"),
        ("backgrounder.timeout_tasks", None, _text, False, "jobs with a time limit"),
        ("basefilepath.log_archive", None, _text, False, "folder of log archives"),
        ("basefilepath.site_export.exports", None, _text, False, "folder of site exports"),
        ("basefilepath.site_import.exports", None, _text, False, "folder of site imports"),
        ("gateway.timeout", "7200", _integer, False, "longest request, seconds"),
        ("service.jmx_enabled", "false", _boolean, False, "metrics by JMX"),
        ("vizqlserver.trustedticket.log_level", "info", _level, False, "log of trusted tickets"),
        *((name, "info", _level, True, "log of a service that has none here") for name in levels),
    ]
    return [ConfigKey(*key[:4], f"{key[4]}; {NO_EFFECT}", has_effect=False) for key in keys]


def _components() -> list[ConfigKey]:
    """Where the components are that use our secrets; a rotation reads these at its start."""
    tls = "authority of the TLS certificate of {}; without it, {}"
    smtp = "svcmonitor.notification.smtp"
    texts = {
        "indexandsearchserver.ssl.directory": (
            None,
            "where the internal certificates lie as files for the search server",
        ),
        "pgsql.host": (None, "host of PostgreSQL or folder of its Unix socket; none: not used"),
        "pgsql.database": ("postgres", "database in which PostgreSQL logins are proved"),
        "pgsql.adminusername": ("tblwgadmin", "role that changes the others' passwords"),
        "pgsql.ca_file": (None, tls.format("PostgreSQL", "the system's")),
        "redis.host": (None, "host of Redis; with none and no socket, Redis is not used"),
        "redis.socket": (None, "Unix socket of Redis, before its host"),
        "redis.user": ("strongroom", "ACL user of Redis whose password is redis.password"),
        "redis.ca_file": (None, tls.format("Redis", "loopback only")),
        "redis.acl_file": (None, "ACL file of Redis on this machine, for the inventory"),
        f"{smtp}.server": (None, "host of the mail server for alerts; none: not used"),
        f"{smtp}.send_account": (None, "who logs in there"),
        f"{smtp}.ca_file": (None, tls.format("the mail server", "the system's")),
        "zookeeper.hosts": (None, "host:port,host:port of ZooKeeper; none: not used"),
        "zookeeper.root": ("/strongroom", "znode below which each user has a subtree"),
        "zookeeper.ca_file": (None, tls.format("ZooKeeper", "loopback only")),
    }
    ports = {
        "pgsql.port": ("5432", "port of PostgreSQL; also part of its socket's name"),
        "redis.port": ("6379", "port of Redis"),
        f"{smtp}.port": ("587", "port of the mail server; 465 is TLS from the start"),
    }
    login = "login of jdbc.password; a rotation writes it, rails until then"
    return [
        ConfigKey("jdbc.username", None, _login, True, login),
        *(ConfigKey(name, value, _text, True, use) for name, (value, use) in texts.items()),
        *(ConfigKey(name, value, _port, True, use) for name, (value, use) in ports.items()),
    ]


KEYS = _all()
"""All ordinary keys by name."""


def names() -> list[str]:
    """Every known key, ordinary and secret, sorted."""
    return sorted({*KEYS, *secrets.SECRETS})


def is_known(name: str) -> bool:
    """Whether the name is in one of the registries; case matters."""
    return name in KEYS or name in secrets.SECRETS


def default_of(name: str) -> str | None:
    """The value in force while the key is not set."""
    key = KEYS.get(name)
    return key.default if key else None


def has_effect(name: str) -> bool:
    """Whether anything here reads the key; a secret is kept for whoever fetches it."""
    key = KEYS.get(name)
    return key.has_effect if key else name in secrets.SECRETS


def summary_of(name: str) -> str:
    """What the key is for; empty for one that nobody knows."""
    key, secret = KEYS.get(name), secrets.SECRETS.get(name)
    if key:
        return key.summary
    return f"{secret.kind.value} for {secret.consumer}" if secret else ""


def needs_restart(name: str) -> bool:
    """Whether a change comes into force with a restart only; of a key nobody knows, to be safe."""
    key = KEYS.get(name)
    return key is None or not key.dynamic


def check_value(name: str, value: str) -> str:
    """An ordinary key's value in its one spelling.

    Raises:
        UsageError: The key cannot have this value.
    """
    key = KEYS.get(name)
    try:
        return key.check(value) if key else _text(value)
    except ValueError as error:
        raise UsageError(
            f"{name!r} cannot be {value[:80]!r}", hint=f"it should be {error}"
        ) from error


def unknown_key(name: str) -> NotFoundError:
    """The error about a key that nobody knows, with the nearest names (P11)."""
    import difflib

    folded = {known.lower(): known for known in names()}
    near = difflib.get_close_matches(name.lower(), folded, n=3, cutoff=0.7)
    hint = "run 'tsm configuration list' for all keys"
    if near:
        hint = f"did you mean {' or '.join(repr(folded[one]) for one in near)}?"
    # capital, unlike our other messages: scripts look for these words (requirements 3.3)
    return NotFoundError(f"Unknown key {name[:255]!r}", hint=hint)
