"""Signing in with a password or an access token, which begins a session, and identifying the user of a session.

A client whose credential is refused must not learn why. An unknown user, a wrong password, a pause after failures, an
unknown site and a missing role are answered with the same words, after the same hashing and the same writing to the
disk: otherwise the answer, or the time that it takes, would tell which users exist.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from strongroom.access import passwords, sessions, tokens
from strongroom.access.names import DEFAULT_SITE_WORD
from strongroom.access.permissions import SERVER_ADMINISTRATOR, UNLICENSED, Subject
from strongroom.clock import SKEW, Clock, format_utc
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import AuthenticationError, PermissionDeniedError, StateError
from strongroom.eventlog.base import EventLog
from strongroom.eventlog.events import directory_events
from strongroom.eventlog.throttled import Throttle
from strongroom.repository.folding import fold
from strongroom.repository.reach import ROWS, of_account
from strongroom.repository.rows import SessionRow, SiteRow, UserRow
from strongroom.repository.unit_of_work import Repository, Transaction
from strongroom.services.directory.sign_in_throttle import SignInThrottle

ACTIVE = "Active"
MAX_HASHES_AT_ONCE = 4
"""Hashing a password takes 19 MiB and a core for a while: strangers must not be able to use up either."""
_PASSWORD_FAILURES_TOLD = 10
"""Events of wrong passwords in a minute: all seven that lead to a pause are logged, and a flood only counted (S8)."""
_LAST_FAILURE_MARK = "sign_in.last_failure"
_UNKNOWN_TOKEN = "unknown token"  # noqa: S105 a reason
_NO_ENTRY = {UNLICENSED, "UnlicensedWithPublish"}


@dataclass(frozen=True)
class Identity:
    """A signed-in user, the site of the session, and the user's role on that site."""

    user: UserRow
    site: SiteRow
    role: str

    @property
    def subject(self) -> Subject:
        """The user as permissions see it."""
        return Subject(
            actor=f"user:{self.user.name}",
            user_id=self.user.id,
            is_server_admin=self.user.is_server_admin,
            site_id=self.site.id,
            site_role=self.role,
        )


class AuthService:
    """Begins, identifies and ends sessions."""

    def __init__(
        self,
        repository: Repository,
        event_log: EventLog,
        clock: Clock,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._repository = repository
        self._event_log = event_log
        self._clock = clock
        self._throttle = SignInThrottle(monotonic)
        self._hashing = threading.BoundedSemaphore(MAX_HASHES_AT_ONCE)
        # When each session was last used, in memory: a request that only reads must not write to the repository, where
        # it would wait for every writer. `prune` writes these times now and then (findings R12, R20).
        self._seen: dict[str, str] = {}
        # A single throttle serves all failures of a password, whatever the reason: if only wrong passwords of real
        # users left an event, the time that its sync takes would tell which users exist. Expired tokens have a throttle
        # of their own, so that strangers who try random tokens cannot hide them.
        self._failures = {
            "password": Throttle(clock, at_once=_PASSWORD_FAILURES_TOLD),
            "token": Throttle(clock),
            "known token": Throttle(clock),
        }

    def sign_in(
        self, name: str, password: SecretBytes, content_url: str, peer: str = ""
    ) -> tuple[str, Identity]:
        """Sign in with a password.

        Args:
            name: The user's name, in any case.
            password: The user's password.
            content_url: The site's content URL or name, in any case; empty for the default site.
            peer: The client's address.

        Returns:
            The session's token, and the identity of the session.

        Raises:
            AuthenticationError: User, password, site or role is wrong, or sign-in is paused; the message does not say
                which.
        """
        # Hashing is slow on purpose, so it runs outside any transaction. The user is read only after the semaphore is
        # ours: read before it, any number of parallel tries would all see a user without failures, and none would be
        # paused.
        with self._hashing:
            now = self._clock.now()
            with self._repository.reading() as tx:
                user = tx.users.find_by_name(name)
            is_open = user is not None and not self._is_paused(user, peer, now)
            stored = user.password_hash if user is not None and is_open else None
            right = passwords.verify(stored, password)
            if user is None or not right:
                raise self._password_failed(name, user, peer, now)
        fresh = stored
        if stored is not None and passwords.needs_rehash(stored):
            fresh = passwords.hash_password(password)
        with self._repository.transaction(of_account(user.id)) as tx:
            self._check_unchanged(tx, user.id, stored, name, peer)
            identity = self._enter(tx, user.id, content_url, name, "password")
            tx.users.update(user.id, failed_logins=0, locked_until=None, password_hash=fresh)
            token = self._start(tx, identity, None, "password")
        self._throttle.entered(user.id, peer, fresh)
        return token, identity

    def unlock(self, actor: str, user_id: str) -> None:
        """End all pauses of an account, for every address; pauses that another process keeps in memory stay.

        Raises:
            NotFoundError: The server has no such user.
        """
        with self._repository.transaction() as tx:
            tx.users.update(user_id, failed_logins=0, locked_until=None)
            self._event_log.append([directory_events.sign_in_unlocked(actor, user_id)])
        self._throttle.forget(user_id)

    def sign_in_with_token(
        self, token_name: str, secret: SecretBytes, content_url: str
    ) -> tuple[str, Identity]:
        """Sign in with a personal access token; each sign-in is a session of its own beside the others.

        Raises:
            AuthenticationError: The token is unknown, expired or not valid for the site.
        """
        with self._repository.transaction(ROWS) as tx:
            token = tx.tokens.find_by_hash(tokens.hash_secret(secret))
            if token is None or fold(token.name) != fold(token_name):
                raise self._failed(token_name, "token", _UNKNOWN_TOKEN)
            invalid = tokens.why_invalid(token.created_at, token.expires_at, self._clock.now())
            if invalid:
                raise self._failed(token_name, "token", invalid)
            tx.hold(of_account(token.user_id))
            identity = self._enter(tx, token.user_id, content_url, token_name, "token")
            tx.tokens.update(token.id, last_used_at=format_utc(self._clock.now()))
            return self._start(tx, identity, token.id, "token"), identity

    def identify(self, raw_token: str) -> Identity:
        """The identity of a session, by its token; counts as use of the session.

        Raises:
            AuthenticationError: The session is unknown or has ended.
        """
        with self._repository.reading() as tx:
            session, identity = self._present(tx, raw_token)
        self._seen[session.token_hash] = format_utc(self._clock.now())
        return identity

    def sign_out(self, raw_token: str) -> None:
        """End a session; ending one twice is no error."""
        token_hash = _hash(raw_token)
        with self._repository.reading() as tx:
            if tx.sessions.find(token_hash) is None:
                # a stranger with an invented token must not make the server take the repository's write lock
                return
        with self._repository.transaction(ROWS) as tx:
            tx.sessions.delete(token_hash)

    def switch_site(self, raw_token: str, content_url: str) -> tuple[str, Identity]:
        """End a session and begin one of the same user on another site.

        Raises:
            AuthenticationError: The session has ended.
            StateError: The session is on that site already.
            PermissionDeniedError: The user may not enter that site, or no such site exists.
        """
        with self._repository.transaction(ROWS) as tx:
            session, present = self._present(tx, raw_token)
            tx.hold(of_account(present.user.id))
            site = site_for_sign_in(tx, content_url)
            identity = None if site is None else identity_on(tx, present.user, site)
            if identity is None:
                raise PermissionDeniedError(f"there is no way to the site {content_url!r}")
            if identity.site.id == present.site.id:
                raise StateError(f"already signed in to the site {identity.site.name!r}")
            if not tx.sessions.delete(session.token_hash):
                raise _expired()  # another request left the site, or signed out, at the same time
            return self._start(tx, identity, session.token_id, "switch"), identity

    def tell_held_back(self, *, last: bool = False) -> None:
        """Log how many failures were only counted, since no further failure may come whose event would say so."""
        for kind, throttle in self._failures.items():
            if held_back := throttle.rest(last=last):
                method = kind.removeprefix("known ")
                self._log_failure("", method, "only counted", held_back)

    def prune(self) -> int:
        """Write when sessions were last used, and delete those that were unused for too long; returns how many."""
        seen = dict(self._seen)
        with self._repository.transaction() as tx:
            for token_hash, at in seen.items():
                tx.sessions.touch(token_hash, at)
            pruned = self._prune(tx)
        for token_hash, at in seen.items():
            if self._seen.get(token_hash) == at:
                del self._seen[token_hash]
        return pruned

    def _prune(self, tx: Transaction) -> int:
        now = self._clock.now()
        span = format_utc(now - sessions.IDLE_LIMIT), format_utc(now + SKEW)
        seen = dict(self._seen)
        used = {one for one, at in seen.items() if not sessions.has_ended(at, now)}
        return tx.sessions.prune(*span, but=used)

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
        self._prune(tx)
        uses = [self._use(one) for one in tx.sessions.list(user_id=user_id)]
        tx.sessions.delete_all(sessions.surplus(uses, now))
        tx.sessions.insert(
            SessionRow(sessions.hash_token(token), user_id, site_id, token_id, stamp, stamp)
        )
        actor = identity.subject.actor
        self._event_log.append([directory_events.signed_in(actor, user_id, site_id, method=method)])
        return token.reveal().decode("ascii")

    def _has_ended(self, tx: Transaction, session: SessionRow) -> bool:
        now = self._clock.now()
        if sessions.has_ended(self._use(session).last_seen_at, now):
            return True
        if session.token_id is None:
            return False
        token = tx.tokens.find(session.token_id)
        return token is None or bool(tokens.why_invalid(token.created_at, token.expires_at, now))

    def _use(self, session: SessionRow) -> sessions.Use:
        seen = self._seen.get(session.token_hash, session.last_seen_at)
        return sessions.Use(session.token_hash, session.created_at, seen)

    def _is_paused(self, user: UserRow, peer: str, now: datetime) -> bool:
        """Whether sign-in to the account is paused for this address.

        A pause for one address follows failures from there. A pause for all addresses follows many more failures, and
        leaves out addresses from which the user has signed in before: an attacker must not be able to lock the user
        out.
        """
        stored = user.password_hash
        if self._throttle.is_paused(user.id, peer, stored):
            return True
        is_locked = passwords.is_paused(user.locked_until, now)
        return is_locked and not self._throttle.knows(user.id, peer, stored)

    def _check_unchanged(
        self, tx: Transaction, user_id: str, stored: str | None, name: str, peer: str
    ) -> None:
        """Refuse if the password was changed, or the account paused, while this sign-in was hashing."""
        user = tx.users.find(user_id)
        if user is None or user.password_hash != stored:
            raise self._failed(name, "password", "password changed meanwhile")
        if self._is_paused(user, peer, self._clock.now()):
            raise self._failed(name, "password", "too many failures")

    def _password_failed(
        self, name: str, user: UserRow | None, peer: str, now: datetime
    ) -> AuthenticationError:
        """Count a failure, and return the error to raise.

        Failures during a pause do not count: an attacker who goes on trying would prolong it for ever. A mark is
        written and synced for unknown users as well, or the time of an answer would tell which users exist.
        """
        account = fold(name) if user is None else user.id
        with self._repository.transaction(of_account(account)) as tx:
            tx.marks.set(_LAST_FAILURE_MARK, format_utc(now))
            user = None if user is None else tx.users.find(user.id)
            if user is None:
                return self._failed(name, "password", "unknown user")
            if self._is_paused(user, peer, now):
                return self._failed(name, "password", "too many failures")
            self._throttle.failed(user.id, peer, user.password_hash)
            failures = user.failed_logins + 1
            free = passwords.FREE_FAILURES_EVERYWHERE
            pause = timedelta(seconds=passwords.pause_s(failures, free))
            until = format_utc(now + pause) if pause else None
            tx.users.update(user.id, failed_logins=failures, locked_until=until)
        return self._failed(name, "password", "wrong password")

    def _failed(self, name: str, method: str, reason: str) -> AuthenticationError:
        kind = method if method == "password" or reason == _UNKNOWN_TOKEN else "known token"
        held_back = self._failures[kind].turn()
        if held_back is not None:
            self._log_failure(name, method, reason, held_back)
        return AuthenticationError(
            "sign-in failed: wrong name, password, access token or site",
            hint="after several failures sign-in pauses for up to 15 minutes",
        )

    def _log_failure(self, name: str, method: str, reason: str, held_back: int) -> None:
        event = directory_events.sign_in_failed(
            name, method=method, reason=reason, held_back=held_back
        )
        self._event_log.append([event])


def site_for_sign_in(tx: Transaction, text: str) -> SiteRow | None:
    """The site that a client names, by content URL or else by name, in any case; None if there is no such site.

    tabcmd signs in with the lower-cased *name* as content URL, and says `default` for the empty one.
    """
    wanted = text.strip()
    if not wanted or wanted.casefold() == DEFAULT_SITE_WORD:
        return tx.sites.find_by_content_url("")
    return tx.sites.find_by_content_url(wanted) or tx.sites.find_by_name(wanted)


def role_of(tx: Transaction, user: UserRow, site_id: str) -> str | None:
    """A user's role on a site, None without a role; server administrators have theirs on every site."""
    given = None if user.is_server_admin else tx.users.site_role(site_id, user.id)
    return _role(user, given)


def identity_on(tx: Transaction, user: UserRow, site: SiteRow) -> Identity | None:
    """The identity of a user on a site; None if the user may not enter: no role, no licence, or a suspended site."""
    role = role_of(tx, user, site.id)
    return Identity(user, site, role) if role and _may_enter(user, site, role) else None


def _role(user: UserRow, given: str | None) -> str | None:
    return SERVER_ADMINISTRATOR if user.is_server_admin else given


def _may_enter(user: UserRow, site: SiteRow, role: str | None) -> bool:
    if role is None or role in _NO_ENTRY:
        return False
    return site.state == ACTIVE or user.is_server_admin


def end_without_entry(
    tx: Transaction, *, user_id: str | None = None, site_id: str | None = None
) -> int:
    """End sessions whose user may no longer enter their site; returns how many.

    They are deleted and not only refused: a session must not come to life again when the user gets the role back, for
    its token may be in other hands by then (findings S12).
    """
    found = tx.sessions.list(user_id=user_id, site_id=site_id)
    users = tx.users.get_all(session.user_id for session in found)
    sites = tx.sites.get_all(session.site_id for session in found)
    on_site: dict[str, set[str]] = {}
    for session in found:
        on_site.setdefault(session.site_id, set()).add(session.user_id)
    roles = {site: tx.users.site_roles(site, members) for site, members in on_site.items()}

    def is_ended(session: SessionRow) -> bool:
        user, site = users[session.user_id], sites[session.site_id]
        return not _may_enter(user, site, _role(user, roles[site.id].get(user.id)))

    ended = [session.token_hash for session in found if is_ended(session)]
    tx.sessions.delete_all(ended)
    return len(ended)


def _hash(raw_token: str) -> str:
    if not raw_token or len(raw_token) > sessions.MAX_TOKEN_CHARACTERS:
        raise _expired()
    return sessions.hash_token(SecretBytes(raw_token.encode("utf-8", "replace")))


def _expired() -> AuthenticationError:
    return AuthenticationError("the session is unknown or has expired", hint="sign in again")
