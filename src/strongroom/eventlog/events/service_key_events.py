"""The catalogue of events about service keys, secrets of services, and the programs that use them (C-23).

No event carries a key, a value or a token (service-keys.md 5.3). A call through a door leaves exactly one of these
events; a caller without a valid token is only counted between two of them.
"""

from strongroom.eventlog.base import SYSTEM, Event
from strongroom.eventlog.events.making import event

SERVICE_KEY_CHANGED = "SERVICE_KEY_CHANGED"
SERVICE_KEY_USED = "SERVICE_KEY_USED"
SERVICE_KEY_DESTROYED = "SERVICE_KEY_DESTROYED"
SERVICE_KEYS_RESEALED = "SERVICE_KEYS_RESEALED"
PARQUET_KEYS_ROTATED = "PARQUET_KEYS_ROTATED"
SERVICE_SECRET_CHANGED = "SERVICE_SECRET_CHANGED"  # noqa: S105 the name of an event, as all below
SERVICE_SECRET_READ = "SERVICE_SECRET_READ"  # noqa: S105
SERVICE_ACCESS_CHANGED = "SERVICE_ACCESS_CHANGED"
SERVICE_ACCESS_READ = "SERVICE_ACCESS_READ"
SERVICE_CALL_REFUSED = "SERVICE_CALL_REFUSED"
SERVICE_STRANGER_REFUSED = "SERVICE_STRANGER_REFUSED"


def service_key_changed(
    actor: str, key: str, operation: str, *, version: int, accessor: str
) -> Event:
    """A service key was made, rotated, disabled, scheduled for deletion or the like; `version` is its latest."""
    return event(
        SERVICE_KEY_CHANGED,
        actor,
        key=key,
        operation=operation,
        version=version,
        accessor=accessor,
    )


def service_key_used(
    actor: str, key: str, operation: str, *, version: int, count: int, accessor: str
) -> Event:
    """A service key encrypted, decrypted, signed or the like `count` values; `version` is the newest that did."""
    return event(
        SERVICE_KEY_USED,
        actor,
        key=key,
        operation=operation,
        version=version,
        count=count,
        accessor=accessor,
    )


def service_key_destroyed(
    actor: str, key: str, *, key_id: str, versions: int, meks: str, due: str
) -> Event:
    """The certificate of a key whose waiting time ended: all `versions` of its material are gone from the repository.

    Copies in backups open as long as one of the `meks` is there, which sealed them; `due` is the time that was announced.
    """
    return event(
        SERVICE_KEY_DESTROYED,
        actor,
        key=key,
        key_id=key_id,
        versions=versions,
        meks=meks,
        due=due,
    )


def service_keys_resealed(actor: str, *, keys: int, values: int, mek_id: str) -> Event:
    """Service keys and secrets were brought under the active MEK; both are counts of versions."""
    return event(SERVICE_KEYS_RESEALED, actor, keys=keys, values=values, mek_id=mek_id)


def parquet_keys_rotated(
    actor: str, dataset: str, *, rotated: int, current: int, inside: int, left: int
) -> Event:
    """The keys of a Parquet dataset were wrapped anew; the counts are of files.

    `rotated` were replaced by this run, `current` are under the latest versions after it, `inside` hold their keys
    themselves and cannot be rotated, and `left` may still need an older version.
    """
    return event(
        PARQUET_KEYS_ROTATED,
        actor,
        dataset=dataset,
        rotated=rotated,
        current=current,
        inside=inside,
        left=left,
    )


def service_secret_changed(
    actor: str, path: str, operation: str, *, version: int, accessor: str
) -> Event:
    """A secret of a service was written, deleted, destroyed or the like; `version` is the one concerned, 0 for all."""
    return event(
        SERVICE_SECRET_CHANGED,
        actor,
        path=path,
        operation=operation,
        version=version,
        accessor=accessor,
    )


def service_secret_read(
    actor: str, path: str, operation: str, *, version: int, accessor: str
) -> Event:
    """A secret of a service, or what is known of it, was given out; `version` is 0 where there was no value."""
    return event(
        SERVICE_SECRET_READ,
        actor,
        path=path,
        operation=operation,
        version=version,
        accessor=accessor,
    )


def service_access_changed(actor: str, what: str, operation: str, *, accessor: str) -> Event:
    """A token, role, secret id, policy or mount was made, changed or ended; `what` names it."""
    return event(SERVICE_ACCESS_CHANGED, actor, what=what, operation=operation, accessor=accessor)


def service_access_read(actor: str, what: str, operation: str, *, accessor: str) -> Event:
    """A caller looked at tokens, roles, policies or mounts."""
    return event(SERVICE_ACCESS_READ, actor, what=what, operation=operation, accessor=accessor)


def service_call_refused(
    actor: str, what: str, operation: str, *, status: int, accessor: str
) -> Event:
    """A call with a valid token did not do what it asked for; `status` is that of the answer."""
    return event(
        SERVICE_CALL_REFUSED,
        actor,
        what=what,
        operation=operation,
        status=status,
        accessor=accessor,
    )


def service_stranger_refused(*, reason: str, peer: str, held_back: int) -> Event:
    """A caller without a valid token, or with a wrong secret id, was refused.

    `held_back` counts the refusals since the last such event, which strangers cannot make more often than once a minute.
    """
    return event(SERVICE_STRANGER_REFUSED, SYSTEM, reason=reason, peer=peer, held_back=held_back)
