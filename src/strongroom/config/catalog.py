"""The catalogue of configuration keys: their kinds, defaults, and whether a change needs a restart.

Secret parameters are in `secrets.catalog`; ordinary keys and secrets share one name space.
"""

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from strongroom.errors import NotFoundError, StateError, UsageError
from strongroom.secrets import catalog as secrets
from strongroom.secrets import policy
from strongroom.system import values
from strongroom.system.late_rows import LateRows

LOGGING_SERVICES = ("backgrounder", "vizportal", "vizqlserver")
"""The services that write a log; `services.configuration.log_levels` applies their `<service>.log.level`."""
_SILENT_SERVICES = ("clustercontroller", "filestore", "gateway", "tabadmincontroller")

NO_EFFECT = "accepted for scripts, nothing here uses it"
"""The words for a key without effect, in lists of keys."""


class ConfigKey(NamedTuple):
    """An ordinary configuration key.

    Attributes:
        name: Name of the key, case-sensitive.
        default: The value in force while the key is not set; None without a default.
        check: The check of the key's kind: returns a value in its one spelling, or raises `ValueError` with words for
            what the value should be.
        dynamic: Whether a change is in force without a restart.
        summary: The effect of the key.
        has_effect: Whether any code reads the key. A key that no code reads is accepted as well, so that scripts
            written for the other product keep working.
    """

    name: str
    default: str | None
    check: values.Check
    dynamic: bool
    summary: str
    has_effect: bool = True


def _all() -> dict[str, ConfigKey]:
    keys = [*_extracts(), *_node(), *_watched(), *_without_effect()]
    return {key.name: key for key in sorted(keys, key=lambda key: key.name)}


def _extracts() -> list[ConfigKey]:
    """How keys are held and jobs run."""
    return [
        ConfigKey(
            "kms.rmk.keep_seconds",
            "3600",
            values.integer,
            True,
            "seconds that the RMK serves until its root is asked again",
        ),
        ConfigKey(
            "kms.rmk.offline_seconds",
            "3600",
            values.integer,
            True,
            "further seconds while the root is out of reach",
        ),
        ConfigKey(
            "backgrounder.extracts.concurrency",
            "2",
            values.count,
            True,
            "extracts at a time in a job",
        ),
        ConfigKey(
            "backgrounder.extracts.bytes_per_second",
            "0",
            values.integer,
            True,
            "throttle of jobs over extracts; 0 is none",
        ),
        ConfigKey(
            "backgrounder.jobs.keep_days",
            "90",
            values.integer,
            True,
            "days that a job's row and receipt stay after its end; at least 1",
        ),
        ConfigKey(
            "backgrounder.jobs.keep_most",
            "10000",
            values.integer,
            True,
            "ended jobs that stay at most, the newest ones; at least 100",
        ),
    ]


def _node() -> list[ConfigKey]:
    """The node's folders, ports and addresses."""
    return [
        ConfigKey(
            "basefilepath.backuprestore",
            "tabsvc/files/backups",
            values.path_in_data,
            False,
            "folder of backups, an absolute path; the default and any other relative one is seen from the data directory",
        ),
        ConfigKey(
            "basefilepath.log_archive",
            "tabsvc/files/log-archives",
            values.path_in_data,
            True,
            "folder of archives of logs (ziplogs), as the one of backups",
        ),
        ConfigKey(
            "features.PasswordlessBootstrapInit",
            "true",
            values.boolean,
            False,
            "whether a bootstrap file carries a one-time credential",
        ),
        ConfigKey(
            "gateway.data_keys",
            "false",
            values.boolean,
            True,
            "whether server administrators get data keys of standalone files over HTTP(S), for `strongroom-client`",
        ),
        ConfigKey(
            "gateway.https.host",
            "127.0.0.1",
            values.address,
            False,
            "address that serves HTTPS, read when serve starts; 0.0.0.0: all",
        ),
        ConfigKey(
            "gateway.https.port",
            None,
            values.port,
            False,
            "port of HTTPS, read when serve starts; none: no HTTPS",
        ),
        ConfigKey(
            "control.host",
            "127.0.0.1",
            values.address,
            False,
            "address of the control service, read when serve starts; 0.0.0.0: all",
        ),
        ConfigKey(
            "control.port",
            None,
            values.port,
            False,
            "port of the control service for other machines, usually 8850; none: no such service",
        ),
        ConfigKey(
            "vault.host",
            "127.0.0.1",
            values.address,
            False,
            "address of the Vault door, read when serve starts; others than loopback need a certificate",
        ),
        ConfigKey(
            "vault.port",
            None,
            values.port,
            False,
            "port of the Vault door, read when serve starts; none: no such door",
        ),
    ]


def _watched() -> list[ConfigKey]:
    """The parameters for watching, such as ends and ages of secrets, and for reports."""
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
            values.boolean,
            True,
            "whether a serving node rotates generated secrets that are due",
        ),
        ConfigKey(
            "tabadmincontroller.auth.expiration.minutes",
            "120",
            values.integer,
            True,
            "minutes until a bootstrap file expires",
        ),
        *(
            ConfigKey(
                f"{service}.log.level",
                "info",
                values.level,
                True,
                f"how much the log of {service} says",
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
            values.integer,
            False,
            "grace of a job, seconds",
        ),
        ("backgrounder.querylimit", "7200", values.integer, False, "longest query, seconds"),
        ("backgrounder.timeout_tasks", None, values.text, False, "jobs with a time limit"),
        ("basefilepath.site_export.exports", None, values.path, False, "folder of site exports"),
        ("basefilepath.site_import.exports", None, values.path, False, "folder of site imports"),
        ("gateway.timeout", "7200", values.integer, False, "longest request, seconds"),
        ("service.jmx_enabled", "false", values.boolean, False, "metrics by JMX"),
        (
            "vizqlserver.trustedticket.log_level",
            "info",
            values.level,
            False,
            "log of trusted tickets",
        ),
        *(
            (name, "info", values.level, True, "log of a service that has none here")
            for name in levels
        ),
    ]
    return [
        ConfigKey(name, default, check, dynamic, f"{summary}; {NO_EFFECT}", has_effect=False)
        for name, default, check, dynamic, summary in keys
    ]


def _of_components() -> Iterator[tuple[str, ConfigKey]]:
    """The addresses of components that use our secrets; a rotation reads them when it starts."""
    from strongroom.consumers import registry

    for kind in registry.kinds():
        for one in kind.settings:
            yield one.name, ConfigKey(one.name, one.default, one.check, True, one.summary)


_OWN: Final = _all()
KEYS: Final[Mapping[str, ConfigKey]] = LateRows(_OWN, _of_components)
"""All ordinary keys by name; asked for one of a component's, it imports the components' modules (F13)."""


def names() -> list[str]:
    """Every known key, ordinary and secret, sorted."""
    return sorted({*KEYS, *secrets.SECRETS})


def is_known(name: str) -> bool:
    """Whether the name is in one of the two catalogues; case matters."""
    return name in _OWN or name in secrets.LISTED or name in KEYS or name in secrets.SECRETS


def default_of(name: str) -> str | None:
    """The value in force while the key is not set."""
    key = KEYS.get(name)
    return key.default if key else None


def has_effect(name: str) -> bool:
    """Whether any code reads the key; always true for a secret, which other components may fetch."""
    key = KEYS.get(name)
    return key.has_effect if key else name in secrets.SECRETS


def summary_of(name: str) -> str:
    """The purpose of the key; empty for an unknown key."""
    key, secret = KEYS.get(name), secrets.SECRETS.get(name)
    if key:
        return key.summary
    return f"{secret.kind.value} for {secret.consumer}" if secret else ""


def needs_restart(name: str) -> bool:
    """Whether a change is in force only after a restart; true for an unknown key, to be safe."""
    key = KEYS.get(name)
    return key is None or not key.dynamic


def is_seen_from_data(name: str) -> bool:
    """Whether a relative path as the key's value starts at the data directory, and is shown as absolute (findings K12)."""
    key = None if secrets.is_secret(name) else KEYS.get(name)
    return key is not None and key.check is values.path_in_data


def check_held(name: str, value: str | None) -> str | None:
    """Check a value that is in force, before it is used; None if the key has no value.

    Raises:
        StateError: An older version accepted the value, and this version does not.
    """
    if value is None or (not value and default_of(name) is None):
        return None  # older versions stored an empty text for "no value"
    try:
        return check_value(name, value)
    except UsageError as error:
        raise StateError(
            f"the configuration holds a value that {name!r} cannot have: {value[:80]!r}",
            hint=f"{error.hint}; set it anew with 'tsm configuration set -k {name}'",
        ) from error


def check_pending(changes: Mapping[str, str | None]) -> None:
    """Refuse pending values that an older version accepted, when they are applied and not when they are used (K11).

    Raises:
        UsageError: A key cannot have its pending value.
    """
    for name, value in sorted(changes.items()):
        if value is None or name in secrets.SECRETS:
            continue
        try:
            check_value(name, value)
        except UsageError as error:
            raise UsageError(
                f"the pending value of {name!r} cannot be applied: {value[:80]!r}",
                hint=f"{error.hint}; set it anew, or discard the pending changes",
            ) from error


def check_value(name: str, value: str) -> str:
    """An ordinary key's value in its one spelling.

    Raises:
        UsageError: The key cannot have this value.
    """
    key = KEYS.get(name)
    try:
        return key.check(value) if key else values.text(value)
    except ValueError as error:
        raise UsageError(
            f"{name!r} cannot be {value[:80]!r}", hint=f"it should be {error}"
        ) from error


def unknown_key(name: str) -> NotFoundError:
    """The error about an unknown key, with the nearest known names (P11)."""
    import difflib

    folded = {known.lower(): known for known in names()}
    near = difflib.get_close_matches(name.lower(), folded, n=3, cutoff=0.7)
    hint = "run 'tsm configuration list' for all keys"
    if near:
        hint = f"did you mean {' or '.join(repr(folded[one]) for one in near)}?"
    # begins with a capital, unlike our other messages, since scripts search for these words
    return NotFoundError(f"Unknown key {name[:255]!r}", hint=hint)
