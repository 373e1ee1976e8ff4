"""Events about sites, users and how users sign in (C-23)."""

from strongroom.eventlog import fitting
from strongroom.eventlog.base import SYSTEM, Detail, Event
from strongroom.eventlog.events.making import CLAIMED_BYTES, event

SITE_CREATED = "SITE_CREATED"
SITE_MODE_CHANGED = "SITE_MODE_CHANGED"
SITE_DELETED = "SITE_DELETED"
USER_CREATED = "USER_CREATED"
USER_ROLE_CHANGED = "USER_ROLE_CHANGED"
USER_DELETED = "USER_DELETED"
PASSWORD_CHANGED = "PASSWORD_CHANGED"  # noqa: S105 the name of an event
SIGN_IN_UNLOCKED = "SIGN_IN_UNLOCKED"
TOKEN_CREATED = "TOKEN_CREATED"  # noqa: S105
TOKEN_REVOKED = "TOKEN_REVOKED"  # noqa: S105
SIGNED_IN = "SIGNED_IN"
SIGN_IN_FAILED = "SIGN_IN_FAILED"


def site_created(actor: str, site_id: str, name: str, *, mode: str) -> Event:
    """A site was created."""
    return event(SITE_CREATED, actor, site_id=site_id, name=name, mode=mode)


def site_deleted(actor: str, site_id: str, name: str, *, files: int) -> Event:
    """A site was deleted with its content."""
    return event(SITE_DELETED, actor, site_id=site_id, name=name, files=files)


def site_mode_changed(actor: str, site_id: str, *, before: str, after: str) -> Event:
    """A site has another encryption mode."""
    return event(SITE_MODE_CHANGED, actor, site_id=site_id, before=before, after=after)


def user_created(actor: str, user_id: str, name: str) -> Event:
    """A user was created."""
    return event(USER_CREATED, actor, user_id=user_id, name=name)


def user_role_changed(actor: str, user_id: str, *, site_id: str, role: str) -> Event:
    """A user has another role on a site, or on the server if `site_id` is empty; an empty role: the role was taken away."""
    return event(USER_ROLE_CHANGED, actor, user_id=user_id, site_id=site_id, role=role)


def user_deleted(actor: str, user_id: str, name: str) -> Event:
    """A user was deleted."""
    return event(USER_DELETED, actor, user_id=user_id, name=name)


def password_changed(actor: str, user_id: str) -> Event:
    """A user's password was set."""
    return event(PASSWORD_CHANGED, actor, user_id=user_id)


def sign_in_unlocked(actor: str, user_id: str) -> Event:
    """The pauses after a user's failed sign-ins were ended."""
    return event(SIGN_IN_UNLOCKED, actor, user_id=user_id)


def token_created(actor: str, token_id: str, user_id: str) -> Event:
    """A personal access token was made."""
    return event(TOKEN_CREATED, actor, token_id=token_id, user_id=user_id)


def token_revoked(actor: str, token_id: str, user_id: str) -> Event:
    """A personal access token was revoked."""
    return event(TOKEN_REVOKED, actor, token_id=token_id, user_id=user_id)


def signed_in(actor: str, user_id: str, site_id: str, *, method: str) -> Event:
    """A user signed in by `password` or `token`."""
    return event(SIGNED_IN, actor, user_id=user_id, site_id=site_id, method=method)


def sign_in_failed(name: str, *, method: str, reason: str, held_back: int) -> Event:
    """A sign-in with a wrong credential; `name` is the user name that was claimed, cut to 128 bytes.

    Strangers cause this event, so it is throttled, or they could fill the log: at most ten events a minute for wrong
    passwords and one for wrong tokens. `held_back` counts the failures since the last event that left none.
    """
    details: dict[str, Detail] = {"name": fitting.text(name, CLAIMED_BYTES), "method": method}
    return event(SIGN_IN_FAILED, SYSTEM, **details, reason=reason, held_back=held_back)
