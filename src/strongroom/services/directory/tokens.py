"""Creating, listing and revoking personal access tokens; a token's secret is returned once, and only its hash stored."""

from datetime import timedelta

from strongroom.access import names, permissions, tokens
from strongroom.access.permissions import Action, Resource, Subject
from strongroom.clock import Clock, format_utc
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import NotFoundError, UsageError
from strongroom.eventlog.base import EventLog
from strongroom.eventlog.events import directory_events
from strongroom.ids import new_id
from strongroom.repository.rows import TokenRow
from strongroom.repository.unit_of_work import Repository


class TokensService:
    """The use cases of access tokens, except signing in."""

    def __init__(self, repository: Repository, event_log: EventLog, clock: Clock) -> None:
        self._repository = repository
        self._event_log = event_log
        self._clock = clock

    def create(
        self,
        subject: Subject,
        user_id: str,
        name: str,
        *,
        lifetime: timedelta | None = tokens.DEFAULT_LIFETIME,
    ) -> tuple[TokenRow, SecretBytes]:
        """Make a token for a user.

        Args:
            subject: The user who asks: the token's user or a server administrator.
            user_id: The user who signs in by the token.
            name: The token's name, unique for the user.
            lifetime: How long the token is valid; None for ever.

        Returns:
            The token, and its secret, which is never shown again.

        Raises:
            PermissionDeniedError: The subject may not make tokens for that user.
            NotFoundError: No user has that id.
            UsageError: The name or lifetime is not allowed.
            ConflictError: The user has a token of that name.
        """
        permissions.check(subject, Action.MANAGE_TOKENS, Resource(owner_id=user_id))
        if lifetime is not None and not timedelta() < lifetime <= tokens.MAX_LIFETIME:
            raise UsageError(f"an access token is valid for 1 to {tokens.MAX_LIFETIME.days} days")
        now = self._clock.now()
        secret = tokens.new_secret()
        with self._repository.transaction() as tx:
            token = TokenRow(
                id=new_id(),
                user_id=tx.users.get(user_id).id,
                name=names.canonical(name, "token"),
                secret_hash=tokens.hash_secret(secret),
                created_at=format_utc(now),
                expires_at=None if lifetime is None else format_utc(now + lifetime),
            )
            tx.tokens.insert(token)
            self._event_log.append(
                [directory_events.token_created(subject.actor, token.id, user_id)]
            )
        return token, secret

    def list(self, subject: Subject, user_id: str | None = None) -> list[TokenRow]:
        """Tokens of one user, or of all.

        Raises:
            PermissionDeniedError: The subject may not see these tokens.
        """
        permissions.check(subject, Action.MANAGE_TOKENS, Resource(owner_id=user_id or ""))
        with self._repository.reading() as tx:
            return tx.tokens.list(user_id)

    def revoke(self, subject: Subject, token_id: str) -> None:
        """Delete a token and every session that was begun by it.

        Raises:
            PermissionDeniedError: The subject may not revoke the token.
            NotFoundError: No token has that id.
        """
        with self._repository.transaction() as tx:
            token = tx.tokens.find(token_id)
            owner_id = "" if token is None else token.user_id
            permissions.check(subject, Action.MANAGE_TOKENS, Resource(owner_id=owner_id))
            if token is None:
                raise NotFoundError(f"there is no access token {token_id!r}")
            tx.tokens.delete(token_id)
            self._event_log.append(
                [directory_events.token_revoked(subject.actor, token_id, token.user_id)]
            )
