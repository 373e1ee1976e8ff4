"""Answers that are kept for whoever has a token of one use (response wrapping)."""

from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple

from strongroom.access import service_tokens
from strongroom.clock import Clock, format_utc, is_future, parse_utc
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import UsageError
from strongroom.ids import new_id
from strongroom.repository.service_rows import ServiceTokenRow, ServiceValueRow
from strongroom.repository.unit_of_work import Repository, Transaction
from strongroom.services.service_keys.by import By
from strongroom.services.service_keys.material import Material

_MOUNT_ID = "00000000-0000-4000-8000-777261707065"
_ORIGIN = "sys/wrapping"
_PIECE = 500
_BAD = "wrapping token is not valid or does not exist"


class Wrapped(NamedTuple):
    """An answer that waits for its reader."""

    token: ServiceTokenRow
    secret: SecretBytes


def check_ttl(ttl_s: int) -> None:
    """Refuse a time for which no answer waits; 0 is no wish for it.

    Raises:
        UsageError: The time is too long.
    """
    if not 0 <= ttl_s <= service_tokens.MAX_TTL.total_seconds():
        raise UsageError("a wrapped answer waits for 1 second to 32 days")


class ServiceWrapping:
    """The use cases of wrapped answers."""

    def __init__(self, repository: Repository, material: Material, clock: Clock) -> None:
        self._repository = repository
        self._material = material
        self._clock = clock

    def wrap(self, answer: SecretBytes, ttl_s: int, path: str) -> Wrapped:
        """Keep an answer; there is no event, since the call that gave the answer has one.

        Args:
            answer: The answer, as it would have been sent.
            ttl_s: For how long it waits.
            path: The path of the call that gave it.

        Raises:
            UsageError: The time is too long.
        """
        now = self._clock.now()
        check_ttl(ttl_s)
        secret = service_tokens.new_token()
        token = ServiceTokenRow(
            id=new_id(),
            secret_hash=service_tokens.hash_of(secret),
            parent_id="",
            name="wrapped",
            origin=_ORIGIN,
            created_at=format_utc(now),
            expires_at=format_utc(now + timedelta(seconds=ttl_s)),
            metadata={"creation_path": path[:512]},
            ttl_s=ttl_s,
            uses_left=1,
            renewable=False,
        )
        with self._repository.transaction() as tx:
            self._remove_expired(tx)
            sealed = self._material.seal_value(answer, _MOUNT_ID, token.id, 1)
            created = format_utc(now)
            tx.service_secrets.values.insert(
                ServiceValueRow(_MOUNT_ID, token.id, 1, *sealed, created, token.expires_at)
            )
            tx.service_tokens.insert(token)
        return Wrapped(token, secret)

    def look_up(self, by: By, secret: SecretBytes) -> ServiceTokenRow:
        """The token of a wrapped answer, which stays as it is.

        Raises:
            UsageError: The token is none of a wrapped answer, or was used.
        """
        with self._repository.reading() as tx:
            token = self._found(tx, secret)
        by.access_read(f"{_ORIGIN} {token.id}", "look up a wrapped answer")
        return token

    def unwrap(self, by: By, secret: SecretBytes) -> SecretBytes:
        """A wrapped answer, which is gone then.

        Raises:
            UsageError: The token is none of a wrapped answer, or was used.
        """
        with self._repository.reading() as tx:
            # a stranger, who has no such token, neither waits for other writers nor keeps them waiting
            self._found(tx, secret)
        with self._repository.transaction() as tx:
            token = self._found(tx, secret)
            value = tx.service_secrets.values.find_version(_MOUNT_ID, token.id, 1)
            if value is None:
                raise UsageError(_BAD)
            answer = self._material.open_value(value)
            remove(tx, token)
            by.access_changed(f"{_ORIGIN} {token.id}", "unwrap an answer")
        return answer

    def _found(self, tx: Transaction, secret: SecretBytes) -> ServiceTokenRow:
        token = tx.service_tokens.find_by_hash(service_tokens.hash_of(secret))
        if token is None or token.origin != _ORIGIN or token.expires_at is None:
            raise UsageError(_BAD)
        now = self._clock.now()
        if parse_utc(token.expires_at) <= now or is_future(parse_utc(token.created_at), now):
            raise UsageError(_BAD)
        return token

    def _remove_expired(self, tx: Transaction) -> None:
        for token in tx.service_tokens.expired(format_utc(self._clock.now()), 500):
            if token.origin == _ORIGIN:
                remove(tx, token)


def remove(tx: Transaction, token: ServiceTokenRow) -> None:
    """Remove a token, and the answer that waits for whoever has it: without the token nobody reads that any longer."""
    tx.service_tokens.delete(token.id)
    if token.origin == _ORIGIN:
        tx.service_secrets.remove(_MOUNT_ID, token.id)


def without_token(tx: Transaction) -> Sequence[ServiceValueRow]:
    """Some answers whose token is gone: those of a backup, since a restore ends all tokens."""
    return tx.service_secrets.values.of_no_token(_MOUNT_ID, _PIECE)
