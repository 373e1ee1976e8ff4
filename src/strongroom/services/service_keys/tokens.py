"""Tokens of services: made, checked, renewed, revoked; a token's secret is returned once, and only its hash stored."""

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from strongroom.access import acl, service_tokens
from strongroom.access.acl import Acl, Capability
from strongroom.clock import Clock, format_utc, is_future, parse_utc
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import (
    AuthenticationError,
    PermissionDeniedError,
    UsageError,
)
from strongroom.ids import new_id
from strongroom.repository.service_rows import ServiceTokenRow
from strongroom.repository.unit_of_work import Repository, Transaction
from strongroom.service_keys.model import check_name
from strongroom.services.service_keys import policies, wrapping
from strongroom.services.service_keys.by import By
from strongroom.services.service_keys.present import Present

_SWEEP = 500
MAX_POLICIES = 100
MAX_METADATA = 64
MAX_GENERATIONS = 32
"""The most makers that a token has, one behind the other: each of them is looked at when the token is used."""


class Span(NamedTuple):
    """The time in which a token is valid, by its own row and those of its makers.

    Attributes:
        begins_at: When the last of them was made.
        ends_at: When the first of them ends; None if none of them ends by time.
    """

    begins_at: str
    ends_at: str | None


class Caller(NamedTuple):
    """A program with a valid token, and what it may do."""

    token: ServiceTokenRow
    acl: Acl
    span: Span

    @property
    def actor(self) -> str:
        """The name in events."""
        return f"service:{self.token.name}"


@dataclass(frozen=True)
class Wanted:
    """A token as its maker wants it.

    Attributes:
        policies: Names; empty takes those of the maker.
        ttl_s: How long it lives, and by how much a renewal prolongs it; 0 is the default.
        max_ttl_s: The longest it lives with all renewals; 0 is the installation's.
        period_s: The token lives for this after each renewal, with no end but that of `max_ttl_s`; 0 without one.
        uses: How often it can be used; 0 is any number.
        is_orphan: Whether the token stays when its maker ends.
        with_default: Whether the token has the policy `default` as well.
        granted: Policies that the token may have though its maker has them not: those of a role.
        barred: Policies that the token must not have, not even from its maker.
        is_by_role: Whether a role said what the token is, so that its maker needs no leave for a period or an orphan.
    """

    name: str = "token"
    policies: Sequence[str] = ()
    ttl_s: int = 0
    max_ttl_s: int = 0
    period_s: int = 0
    uses: int = 0
    renewable: bool = True
    is_orphan: bool = False
    with_default: bool = True
    metadata: Mapping[str, str] = field(default_factory=dict)
    origin: str = "auth/token/create"
    never_expires: bool = False
    granted: frozenset[str] = frozenset()
    barred: frozenset[str] = frozenset()
    is_by_role: bool = False


class Made(NamedTuple):
    """A new token, with its secret."""

    token: ServiceTokenRow
    secret: SecretBytes


class ServiceTokensService:
    """The use cases of tokens."""

    def __init__(self, repository: Repository, present: Present, clock: Clock) -> None:
        self._repository = repository
        self._present = present
        self._clock = clock

    # ---- who asks --------------------------------------------------------------------------------

    def admit(self, secret: SecretBytes) -> Caller:
        """The caller of a token.

        Raises:
            AuthenticationError: No valid token has that secret.
        """
        caller = self.caller_of(secret)
        if caller.token.uses_left:
            self._use_once(caller.token)
        return caller

    def caller_of(self, secret: SecretBytes) -> Caller:
        """The caller of a token, of whose uses none is taken.

        Raises:
            AuthenticationError: No valid token has that secret.
        """
        if not 0 < len(secret) <= service_tokens.MAX_CHARACTERS:
            raise AuthenticationError("permission denied")
        wanted = service_tokens.hash_of(secret)
        caller = self._present.get(("caller", wanted), lambda tx: _caller(tx, wanted))
        if caller is None or not self._is_now(caller.span):
            raise AuthenticationError("permission denied")
        return caller

    def check_lasts(self, caller: Caller) -> None:
        """Refuse a caller whose rows are the present ones, and whose token has ended since.

        Raises:
            AuthenticationError: The token has ended.
        """
        if not self._is_now(caller.span):
            raise AuthenticationError("permission denied")

    def _use_once(self, token: ServiceTokenRow) -> None:
        with self._repository.transaction() as tx:
            # others may have taken uses since the row was read, also on another node
            present = tx.service_tokens.find(token.id)
            if present is None or not tx.service_tokens.use_once(present):
                raise AuthenticationError("permission denied")
            if present.uses_left == 1:
                self._end(tx, present)

    # ---- making ----------------------------------------------------------------------------------

    def create(self, by: By, wanted: Wanted, maker: Caller | None = None) -> Made:
        """Make a token.

        Args:
            by: The caller.
            wanted: The token.
            maker: The token that makes it; None for a command or a sign-in.

        Raises:
            PermissionDeniedError: The maker has not all of the wanted policies, or wants what ends later than a token
                of its own making may, without `sudo` at the path.
            UsageError: A name, a time or a number is not possible; or the maker's own uses are numbered, or it has too
                many makers.
            AuthenticationError: The maker has ended meanwhile.
        """
        if maker is not None and maker.token.uses_left:
            # a child would be used without a number, so that the number of its maker would bound nothing
            raise UsageError("restricted use token cannot generate child tokens")
        if maker is not None and not wanted.is_by_role:
            check_lasting(maker, wanted.origin, wanted)
        with self._repository.transaction() as tx:
            if maker is not None:
                # the maker may have been revoked since it was admitted, and would leave a child that nobody ends
                self._check_line(tx, maker.token, is_orphan=wanted.is_orphan)
            return self.create_in(tx, by, wanted, maker)

    def create_in(
        self, tx: Transaction, by: By, wanted: Wanted, maker: Caller | None = None
    ) -> Made:
        """Make a token in a transaction of the caller's, who checked that the maker may.

        Raises:
            PermissionDeniedError: The maker has not all of the wanted policies.
            UsageError: A name, a time or a number is not possible.
        """
        secret = service_tokens.new_token()
        row = self._new(wanted, maker, service_tokens.hash_of(secret))
        self._sweep(tx)
        tx.service_tokens.insert(row)
        by.access_changed(f"{wanted.origin} {row.id}", "create a token")
        return Made(row, secret)

    def _new(self, wanted: Wanted, maker: Caller | None, secret_hash: str) -> ServiceTokenRow:
        names = self._policies(wanted, maker)
        now = self._clock.now()
        expires = self._first_end(wanted, names, now)
        return ServiceTokenRow(
            id=new_id(),
            secret_hash=secret_hash,
            parent_id="" if maker is None or wanted.is_orphan else maker.token.id,
            name=_shown_name(wanted.name),
            origin=wanted.origin,
            created_at=format_utc(now),
            expires_at=None if expires is None else format_utc(expires),
            policies=names,
            metadata=check_metadata(wanted.metadata),
            ttl_s=0 if expires is None else int((expires - now).total_seconds()),
            max_ttl_s=wanted.max_ttl_s,
            period_s=wanted.period_s,
            uses_left=wanted.uses,
            renewable=wanted.renewable and expires is not None,
        )

    def _policies(self, wanted: Wanted, maker: Caller | None) -> list[str]:
        names = [check_name(one.lower()) for one in wanted.policies]
        if not names and maker is not None:
            names = [one for one in maker.token.policies if one not in wanted.barred]
        if acl.ROOT in names:
            if maker is not None and not maker.acl.is_root:
                raise PermissionDeniedError(
                    "root tokens may not be created without parent token being root"
                )
            return [acl.ROOT]
        if wanted.with_default:
            names.append(acl.DEFAULT)
        if maker is not None and not _may_give(maker, set(names) - wanted.granted):
            raise PermissionDeniedError("child policies must be subset of parent")
        if len(set(names)) > MAX_POLICIES:
            raise UsageError(f"a token has at most {MAX_POLICIES} policies")
        return sorted(set(names))

    def _first_end(self, wanted: Wanted, names: list[str], now: datetime) -> datetime | None:
        if wanted.period_s:
            return now + min([*_spans(wanted.period_s), *_spans(wanted.max_ttl_s)])
        if wanted.never_expires or (
            acl.ROOT in names and not wanted.ttl_s and not wanted.max_ttl_s
        ):
            return None
        most = [service_tokens.MAX_TTL, *_spans(wanted.max_ttl_s)]
        return now + min([*(_spans(wanted.ttl_s) or [service_tokens.DEFAULT_TTL]), *most])

    def _check_line(self, tx: Transaction, maker: ServiceTokenRow, *, is_orphan: bool) -> None:
        present = tx.service_tokens.find(maker.id)
        line = None if present is None else _line(tx.service_tokens.find, present)
        if line is None or not self._is_now(_span(line)):
            raise AuthenticationError("permission denied")
        if len(line) >= MAX_GENERATIONS and not is_orphan:
            raise UsageError(f"a token has at most {MAX_GENERATIONS} makers behind each other")

    # ---- looking ---------------------------------------------------------------------------------

    def of_secret(self, secret: SecretBytes) -> ServiceTokenRow:
        """The token of a secret.

        Raises:
            PermissionDeniedError: No valid token has that secret.
        """
        with self._repository.reading() as tx:
            token = tx.service_tokens.find_by_hash(service_tokens.hash_of(secret))
            if token is None or not self._is_valid(tx.service_tokens.find, token):
                raise PermissionDeniedError("bad token")
        return token

    def of_accessor(self, accessor: str) -> ServiceTokenRow:
        """The token of an accessor.

        Raises:
            UsageError: No token has it; Vault answers so.
        """
        with self._repository.reading() as tx:
            token = tx.service_tokens.find(accessor)
            if token is None or not self._is_valid(tx.service_tokens.find, token):
                raise UsageError("invalid accessor")
        return token

    def list(self) -> list[ServiceTokenRow]:
        """All tokens that are valid, without their secrets and without an event."""
        with self._repository.reading() as tx:
            rows = {one.id: one for one in tx.service_tokens.list()}
        return [one for one in rows.values() if self._is_valid(rows.get, one)]

    def left_s(self, token: ServiceTokenRow) -> int:
        """For how many seconds a token is valid still; 0 for one without an end."""
        if token.expires_at is None:
            return 0
        return max(0, int((parse_utc(token.expires_at) - self._clock.now()).total_seconds()))

    # ---- changing --------------------------------------------------------------------------------

    def renew(
        self, by: By, token: ServiceTokenRow, increment_s: int = 0
    ) -> tuple[ServiceTokenRow, int]:
        """Prolong a token, as far as its maker allowed that.

        Returns:
            The prolonged token, and for how many seconds it is valid from the moment of this call.

        Raises:
            UsageError: The token cannot be renewed.
        """
        if not token.renewable:
            raise UsageError("lease is not renewable")
        now = self._clock.now()
        end = now + timedelta(seconds=token.period_s or increment_s or token.ttl_s)
        most = [] if token.period_s else [service_tokens.MAX_TTL]
        for longest in (*most, *_spans(token.max_ttl_s)):
            end = min(end, parse_utc(token.created_at) + longest)
        with self._repository.transaction() as tx:
            changed = tx.service_tokens.update(token.id, expires_at=format_utc(end))
            by.access_changed(f"auth/token {token.id}", "renew a token")
        return changed, max(0, int((end - now).total_seconds()))

    def revoke(self, by: By, token: ServiceTokenRow, *, alone: bool = False) -> None:
        """End a token, and all that it made.

        Args:
            by: The caller.
            token: The token.
            alone: The tokens that it made stay, and belong to nobody.
        """
        with self._repository.transaction() as tx:
            if alone:
                for child in tx.service_tokens.children(token.id):
                    tx.service_tokens.update(child.id, parent_id="")
            self._end(tx, token)
            by.access_changed(f"auth/token {token.id}", "revoke a token")

    def remove_ended(self) -> int:
        """Remove the tokens whose time has ended, with all that they made, and answers that nobody will read.

        Returns:
            How many tokens' time had ended.
        """
        removed = 0
        while True:
            with self._repository.reading() as tx:
                is_any = tx.service_tokens.expired(format_utc(self._clock.now()), 1)
                orphans = wrapping.without_token(tx)
            if not is_any and not orphans:
                return removed
            with self._repository.transaction() as tx:
                removed += self._sweep(tx)
                for value in wrapping.without_token(tx):
                    tx.service_secrets.remove(value.mount_id, value.path)

    def _sweep(self, tx: Transaction) -> int:
        ended = tx.service_tokens.expired(format_utc(self._clock.now()), _SWEEP)
        for old in ended:
            self._end(tx, old)
        return len(ended)

    def _end(self, tx: Transaction, token: ServiceTokenRow) -> None:
        waiting = [token]
        while waiting:
            one = waiting.pop()
            waiting += tx.service_tokens.children(one.id)
            wrapping.remove(tx, one)

    def _is_valid(
        self, find: Callable[[str], ServiceTokenRow | None], token: ServiceTokenRow
    ) -> bool:
        """Whether a token has not ended; one that was made before the clock was set back is shown, and can be revoked."""
        line = _line(find, token)
        return line is not None and not _is_over(_span(line), format_utc(self._clock.now()))

    def _is_now(self, span: Span) -> bool:
        """Whether a token is of use by the clock; one that was made before the clock was set back is not (R13)."""
        now = self._clock.now()
        text = format_utc(now)
        if _is_over(span, text):
            return False
        return span.begins_at <= text or not is_future(parse_utc(span.begins_at), now)


def check_lasting(maker: Caller, path: str, wanted: Wanted) -> None:
    """Refuse a maker that wants a token with a period, or one that stays when it ends, without `sudo` at the path.

    Raises:
        PermissionDeniedError: The maker's policies do not allow that.
    """
    if maker.acl.allows(path, Capability.SUDO):
        return
    asked = [(wanted.is_orphan, "orphan"), (bool(wanted.period_s), "periodic")]
    for kind in [kind for is_asked, kind in asked if is_asked]:
        raise PermissionDeniedError(f"root or sudo privileges required to create {kind} token")


def _caller(tx: Transaction, secret_hash: str) -> Caller | None:
    token = tx.service_tokens.find_by_hash(secret_hash)
    line = None if token is None else _line(tx.service_tokens.find, token)
    if token is None or line is None:
        return None
    return Caller(token, policies.acl_of(tx, token.policies), _span(line))


def _line(
    find: Callable[[str], ServiceTokenRow | None], token: ServiceTokenRow
) -> list[ServiceTokenRow] | None:
    """A token and its makers, one behind the other; None if one of them is gone, so that the token is of no use."""
    line = [token]
    while line[-1].parent_id:
        maker = find(line[-1].parent_id)
        if maker is None:
            return None
        line.append(maker)
    return line


def _is_over(span: Span, now: str) -> bool:
    return span.ends_at is not None and span.ends_at <= now


def _span(line: Sequence[ServiceTokenRow]) -> Span:
    ends = (one.expires_at for one in line if one.expires_at is not None)
    return Span(max(one.created_at for one in line), min(ends, default=None))


def _may_give(maker: Caller, names: AbstractSet[str]) -> bool:
    """Whether a maker may give these policies: its own, or any with sudo at the path where tokens are made."""
    if maker.acl.is_root or maker.acl.allows("auth/token/create", Capability.SUDO):
        return True
    return names <= {*maker.token.policies, acl.DEFAULT}


def _spans(seconds: int) -> list[timedelta]:
    return [timedelta(seconds=seconds)] if seconds else []


def _shown_name(name: str) -> str:
    clean = "".join(one if one.isalnum() or one in "._-" else "-" for one in name)[:64]
    return clean or "token"


def check_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    """The metadata of a token.

    Raises:
        UsageError: The pairs are too many or too long.
    """
    if len(metadata) > MAX_METADATA or any(
        len(one) > 512 for pair in metadata.items() for one in pair
    ):
        raise UsageError(f"metadata has at most {MAX_METADATA} pairs of at most 512 characters")
    return dict(metadata)
