"""Events about secret parameters and the settings that are applied, imported and exported (C-23)."""

from collections.abc import Iterable, Sequence

from strongroom.eventlog.base import Detail, Event
from strongroom.eventlog.events.making import event, events

SECRET_ENCRYPTED = "SECRET_ENCRYPTED"  # noqa: S105 the name of an event
SECRET_REVEALED = "SECRET_REVEALED"  # noqa: S105
SECRET_ROTATED = "SECRET_ROTATED"  # noqa: S105
SECRET_ROTATION_FAILED = "SECRET_ROTATION_FAILED"  # noqa: S105
CONFIGURATION_APPLIED = "CONFIGURATION_APPLIED"
IMPORT = "IMPORT"
EXPORT_PLAINTEXT = "EXPORT_PLAINTEXT"
EXPORT_SEALED = "EXPORT_SEALED"
EXPORT_WITHOUT_SECRETS = "EXPORT_WITHOUT_SECRETS"


def secret_encrypted(actor: str, parameter: str, key_id: str) -> Event:
    """A new value of a secret parameter was encrypted under a configuration key."""
    return event(SECRET_ENCRYPTED, actor, parameter=parameter, key_id=key_id)


def secret_revealed(actor: str, parameter: str, *, reason: str = "") -> Event:
    """A secret parameter's value was shown; `reason` is the text that its reader gave."""
    return event(SECRET_REVEALED, actor, parameter=parameter, reason=reason)


def secret_rotated(actor: str, parameter: str, consumer: str, *, step: str, version: int) -> Event:
    """A rotation of a secret made progress.

    Step `promoted`: the new value is in use. `withdrawn`: the component no longer accepts the old value. `taken-back`:
    no login succeeded with the new value, so the old one stays in use. `consumer` is empty where no component is
    configured that uses the secret. `version` is that of the configuration, which is never lower again
    (docs/format/anchor.md 3.5).
    """
    details: dict[str, Detail] = {"parameter": parameter, "consumer": consumer, "step": step}
    return event(SECRET_ROTATED, actor, **details, version=version)


def secret_rotation_failed(
    actor: str, parameter: str, consumer: str, *, step: str, error: str, attempt: int
) -> Event:
    """A rotation stopped at `step`; `error` is the class of the error, `attempt` counts the attempts from 1."""
    details: dict[str, Detail] = {"parameter": parameter, "consumer": consumer, "step": step}
    return event(SECRET_ROTATION_FAILED, actor, **details, error=error, attempt=attempt)


def configuration_applied(
    actor: str, *, version: int, keys: int, secrets: Iterable[str] = ()
) -> tuple[Event, ...]:
    """Pending changes became the current configuration; `secrets` names those of them, with blanks between.

    Where the names do not fit into one event there are several of the same version, and each says which `part` it is.
    """
    details: dict[str, Detail] = {"version": version, "keys": keys}
    return events(CONFIGURATION_APPLIED, actor, details, "secrets", secrets)


def imported(actor: str, *, source: str, names: Sequence[str]) -> tuple[Event, ...]:
    """Settings were imported: the parameters of these names are pending now; several events if the names are many."""
    details: dict[str, Detail] = {"source": source, "keys": len(names)}
    return events(IMPORT, actor, details, "names", names)


def exported_plaintext(actor: str, *, target: str, keys: int) -> Event:
    """Settings were exported with their secrets in plain text."""
    return event(EXPORT_PLAINTEXT, actor, target=target, keys=keys)


def exported_sealed(
    actor: str, *, target: str, keys: int, recipients: Iterable[str]
) -> tuple[Event, ...]:
    """Settings were exported, sealed to recipients, or to a passphrase if there are none; a long list gives several events."""
    details: dict[str, Detail] = {"target": target, "keys": keys}
    return events(EXPORT_SEALED, actor, details, "recipients", recipients)


def exported_without_secrets(actor: str, *, target: str, keys: int) -> Event:
    """Settings were exported, their secrets left out."""
    return event(EXPORT_WITHOUT_SECRETS, actor, target=target, keys=keys)
