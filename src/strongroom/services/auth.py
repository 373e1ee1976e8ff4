"""Signing in and out: from a password or an access token to a session, and from a session to who asks.

Who gives a wrong credential learns nothing but that: unknown user, wrong password, pause after
failures, unknown site and missing role all answer with the same words, after the same hashing.
"""

import threading
from dataclasses import dataclass
from datetime import datetime, timedelta

from strongroom.access import passwords, sessions, tokens
from strongroom.access.names import DEFAULT_SITE_WORD
from strongroom.access.permissions import SERVER_ADMINISTRATOR, UNLICENSED, Subject
from strongroom.clock import Clock, format_utc, parse_utc
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import AuthenticationError, PermissionDeniedError, StateError
from strongroom.eventlog import events
from strongroom.eventlog.base import EventLog
from strongroom.repository.folding import fold
from strongroom.repository.rows import SessionRow, SiteRow, UserRow
from strongroom.repository.unit_of_work import Repository, Transaction

ACTIVE = "Active"
MAX_HASHES_AT_ONCE = 4  # each takes 19 MiB and a core for a while
_LAST_FAILURE_MARK = "sign_in.last_failure"
_NO_ENTRY = {UNLICENSED, "UnlicensedWithPublish"}


@dataclass(frozen=True)
class Identity:
    """A signed-in user, the site it is signed in to, and its role there."""

    user: UserRow
    site: SiteRow
    role: str

    @property
    def subject(self) -> Subject:
        """The same as permissions see it."""
        return Subject(
            actor=f"user:{self.user.name}",
            user_id=self.user.id,
            is_server_admin=self.user.is_server_admin,
            site_id=self.site.id,
            site_role=self.role,
        )


class AuthService:
    """Sessions from their beginning to their end."""

    def __init__(self, repository: Repository, events_log: EventLog, clock: Clock) -> None:
        self._repository = repository
        self._events = events_log
        self._clock = clock
        self._hashing = threading.BoundedSemaphore(MAX_HASHES_AT_ONCE)

    def sign_in(self, name: str, password: SecretBytes, content_url: str) -> tuple[str, Identity]:
        """Sign in with a password.

        Args:
            name: The user's name, in any case.
            password: Its password.
            content_url: The site's content URL or name, in any case; empty for the default site.

        Returns:
            The session's token, and who it stands for.

        Raises:
            AuthenticationError: Anything about it is wrong.
        """
        # hashing is outside of any transaction: it takes a while on purpose. Who waits for it is looked up
        # afterwards, or any number of parallel tries would all be those of a user without a failure
        with self._hashing:
            now = self._clock.now()
            with self._repository.reading() as tx:
                user = tx.users.find_by_name(name)
            stored = None if user is None or _is_locked(user, now) else user.password_hash
            right = passwords.verify(stored, password)
            if user is None or not right:
                raise self._password_failed(name, user, now)
        fresh = stored
        if stored is not None and passwords.needs_rehash(stored):
            fresh = passwords.hash_password(password)
        with self._repository.transaction() as tx:
            self._check_unchanged(tx, user.id, stored, name)
            identity = self._enter(tx, user.id, content_url, name, "password")
            tx.users.update(user.id, failed_logins=0, locked_until=None, password_hash=fresh)
            return self._start(tx, identity, None, "password"), identity

    def sign_in_with_token(
        self, token_name: str, secret: SecretBytes, content_url: str
    ) -> tuple[str, Identity]:
        """Sign in with a personal access token; each sign-in is a session of its own beside the others.

        Raises:
            AuthenticationError: The token is unknown, expired or not valid for the site.
        """
        with self._repository.transaction() as tx:
            token = tx.tokens.find_by_hash(tokens.hash_secret(secret))
            if token is None or fold(token.name) != fold(token_name):
                raise self._failed(token_name, "token", "unknown token")
            if tokens.is_expired(token.expires_at, self._clock.now()):
                raise self._failed(token_name, "token", "expired token")
            identity = self._enter(tx, token.user_id, content_url, token_name, "token")
            tx.tokens.update(token.id, last_used_at=format_utc(self._clock.now()))
            return self._start(tx, identity, token.id, "token"), identity

    def identify(self, raw_token: str) -> Identity:
        """Who a session's token stands for; counts as use of the session.

        Raises:
            AuthenticationError: The session is unknown or has ended.
        """
        now = self._clock.now()
        with self._repository.reading() as tx:
            session, identity = self._present(tx, raw_token)
        if sessions.needs_touch(session.last_seen_at, now):
            with self._repository.transaction() as tx:
                tx.sessions.touch(session.token_hash, format_utc(now))
        return identity

    def sign_out(self, raw_token: str) -> None:
        """End a session; ending one twice is no error."""
        with self._repository.transaction() as tx:
            tx.sessions.delete(_hash(raw_token))

    def switch_site(self, raw_token: str, content_url: str) -> tuple[str, Identity]:
        """End a session and begin one of the same user on another site.

        Raises:
            AuthenticationError: The session has ended.
            StateError: The session is on that site.
            PermissionDeniedError: The user may not enter that site, or there is none.
        """
        with self._repository.transaction() as tx:
            session, present = self._present(tx, raw_token)
            site = site_for_sign_in(tx, content_url)
            identity = None if site is None else identity_on(tx, present.user, site)
            if identity is None:
                raise PermissionDeniedError(f"there is no way to the site {content_url!r}")
            if identity.site.id == present.site.id:
                raise StateError(f"already signed in to the site {identity.site.name!r}")
            tx.sessions.delete(session.token_hash)
            return self._start(tx, identity, session.token_id, "switch"), identity

    def prune(self) -> int:
        """Remove sessions that were idle for too long; returns how many."""
        with self._repository.transaction() as tx:
            return tx.sessions.prune(format_utc(self._clock.now() - sessions.IDLE_LIMIT))

    def _present(self, tx: Transaction, raw_token: str) -> tuple[SessionRow, Identity]:
        session = tx.sessions.find(_hash(raw_token))
        if session is None or self._has_ended(tx, session):
            raise _expired()
        user, site = tx.users.get(session.user_id), tx.sites.get(session.site_id)
        identity = identity_on(tx, user, site)
        if identity is None:
            raise _expired()
        return session, identity

    def _enter(
        self, tx: Transaction, user_id: str, content_url: str, name: str, method: str
    ) -> Identity:
        user = tx.users.find(user_id)
        site = site_for_sign_in(tx, content_url)
        identity = None if user is None or site is None else identity_on(tx, user, site)
        if identity is None:
            reason = "no such site" if site is None else "no role on the site"
            raise self._failed(name, method, reason)
        return identity

    def _start(self, tx: Transaction, identity: Identity, token_id: str | None, method: str) -> str:
        now = self._clock.now()
        stamp = format_utc(now)
        token = sessions.new_token()
        user_id, site_id = identity.user.id, identity.site.id
        tx.sessions.prune(format_utc(now - sessions.IDLE_LIMIT))
        tx.sessions.prune_user(user_id, keep=sessions.MAX_PER_USER - 1)
        tx.sessions.insert(
            SessionRow(sessions.hash_token(token), user_id, site_id, token_id, stamp, stamp)
        )
        actor = identity.subject.actor
        self._events.append([events.signed_in(actor, user_id, site_id, method=method)])
        return token.reveal().decode("ascii")

    def _has_ended(self, tx: Transaction, session: SessionRow) -> bool:
        now = self._clock.now()
        if sessions.is_idle(session.last_seen_at, now):
            return True
        if session.token_id is None:
            return False
        token = tx.tokens.find(session.token_id)
        return token is None or tokens.is_expired(token.expires_at, now)

    def _check_unchanged(
        self, tx: Transaction, user_id: str, stored: str | None, name: str
    ) -> None:
        """While the password was hashed it may have been changed, or others may have failed too often."""
        user = tx.users.find(user_id)
        if user is None or user.password_hash != stored:
            raise self._failed(name, "password", "password changed meanwhile")
        if _is_locked(user, self._clock.now()):
            raise self._failed(name, "password", "too many failures")

    def _password_failed(
        self, name: str, user: UserRow | None, now: datetime
    ) -> AuthenticationError:
        """Count the failure; tries during a pause do not count, or nobody could ever end it.

        Whoever it was, something is written and synced: the time that takes would tell which users there are.
        """
        with self._repository.transaction() as tx:
            tx.marks.set(_LAST_FAILURE_MARK, format_utc(now))
            user = None if user is None else tx.users.find(user.id)
            if user is None:
                return self._failed(name, "password", "unknown user")
            if _is_locked(user, now):
                return self._failed(name, "password", "too many failures")
            failures = user.failed_logins + 1
            pause = timedelta(seconds=passwords.pause_s(failures))
            until = format_utc(now + pause) if pause else None
            tx.users.update(user.id, failed_logins=failures, locked_until=until)
        return self._failed(name, "password", "wrong password")

    def _failed(self, name: str, method: str, reason: str) -> AuthenticationError:
        self._events.append([events.sign_in_failed(name, method=method, reason=reason)])
        return AuthenticationError(
            "sign-in failed: wrong name, password, access token or site",
            hint="after several failures sign-in pauses for up to 15 minutes",
        )


def site_for_sign_in(tx: Transaction, text: str) -> SiteRow | None:
    """The site that a client means: by content URL, else by name, in any case.

    tabcmd signs in with the lower-cased *name* as content URL, and says `default` for the empty one.
    """
    wanted = text.strip()
    if not wanted or wanted.casefold() == DEFAULT_SITE_WORD:
        return tx.sites.find_by_content_url("")
    return tx.sites.find_by_content_url(wanted) or tx.sites.find_by_name(wanted)


def role_of(tx: Transaction, user: UserRow, site_id: str) -> str | None:
    """A user's role on a site; server administrators have theirs on every site, also a new one."""
    if user.is_server_admin:
        return SERVER_ADMINISTRATOR
    return tx.users.site_role(site_id, user.id)


def identity_on(tx: Transaction, user: UserRow, site: SiteRow) -> Identity | None:
    """The user on the site, or None if it may not enter: no role, no licence, or a suspended site."""
    role = role_of(tx, user, site.id)
    if role is None or role in _NO_ENTRY:
        return None
    if site.state != ACTIVE and not user.is_server_admin:
        return None
    return Identity(user, site, role)


def _is_locked(user: UserRow, now: datetime) -> bool:
    return user.locked_until is not None and now < parse_utc(user.locked_until)


def _hash(raw_token: str) -> str:
    if not raw_token or len(raw_token) > sessions.MAX_TOKEN_CHARACTERS:
        raise _expired()
    return sessions.hash_token(SecretBytes(raw_token.encode("utf-8", "replace")))


def _expired() -> AuthenticationError:
    return AuthenticationError("the session is unknown or has expired", hint="sign in again")
