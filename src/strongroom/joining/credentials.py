"""The installation's records of one-time credentials of new nodes: digests, never secrets (bootstrap-file.md §3, §5).

Pure: a list in, a changed list out.

A credential that was refused `MOST_REFUSALS` times is exhausted for good. A user's account only pauses after wrong
passwords, since user names are widely known, and a stranger could otherwise lock a user out for ever. A credential's id
is 122 random bits, found only in the bootstrap file, the event log and requests under TLS. A wrong secret with a right
id therefore comes from an altered file, or from an attacker who knows the id and guesses. Such an attacker must not
cause an event and take a lock with each try, and the owner of the file can get a new one by one command. The first
refusals leave events, so the attack is noticed.
"""

import hashlib
import hmac
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

from strongroom import ids
from strongroom.canonical import UTF_8, Fields, Kind
from strongroom.clock import format_utc, is_future, parse_utc
from strongroom.crypto import labels
from strongroom.errors import AuthenticationError, ConflictError
from strongroom.joining.admission_request import AdmissionRequest
from strongroom.joining.bootstrap_file import Credential

FORMAT = "strongroom-credentials-1"
MOST = 1024
MOST_REFUSALS = 5
_KIND = Kind("the list of bootstrap credentials", UTF_8, most=1 << 20)
_MEMBERS = frozenset(
    ["id", "node_id", "digest", "expires_at", "master_key", "configuration_key_id", "used_at"]
)
_KEPT = timedelta(days=1)
LONGEST_LIFE = timedelta(days=366)
_MADE_ANEW = "make a new bootstrap file with 'tsm topology nodes get-bootstrap-file'"


class Generation(NamedTuple):
    """The newest master key and configuration key at a time; a regeneration changes both."""

    master_key: str
    configuration_key_id: str


class IssuedCredential(NamedTuple):
    """A credential that was issued.

    Attributes:
        id: UUID of the credential.
        node_id: Id of the node that it admits.
        digest: Digest of the secret, hex.
        expires_at: When the credential expires.
        generation: The newest keys when the credential was made.
        used_at: When the credential admitted its node; None before that.
        request: Digest of the request that used the credential, hex.
        refusals: How often a request with this credential was refused.
    """

    id: str
    node_id: str
    digest: str
    expires_at: datetime
    generation: Generation
    used_at: datetime | None = None
    request: str | None = None
    refusals: int = 0

    @property
    def is_exhausted(self) -> bool:
        """Whether the credential was refused too often, and admits nobody any more (§3.6)."""
        return self.refusals >= MOST_REFUSALS


Issued = tuple[IssuedCredential, ...]


def digest(credential: Credential) -> str:
    """The digest that is stored for a credential (format/bootstrap-file.md §3.2)."""
    raw = labels.BOOTSTRAP_CREDENTIAL + ids.id_bytes(credential.id) + credential.secret.reveal()
    return hashlib.sha256(raw).hexdigest()


def request_digest(request: AdmissionRequest) -> str:
    """The digest that is stored for the request that used a credential (format/bootstrap-file.md §4.2)."""
    raw = (
        labels.ADMISSION_REQUEST
        + ids.id_bytes(request.credential.id)
        + request.request_key.reveal()
    )
    return hashlib.sha256(raw).hexdigest()


def next_node_id(issued: Iterable[IssuedCredential], own: str, now: datetime) -> str:
    """The lowest node id that is neither our own, nor that of an admitted node, nor in a valid bootstrap file."""
    taken = {own, *(one.node_id for one in issued if one.used_at or now < one.expires_at)}
    number = 2
    while f"node{number}" in taken:
        number += 1
    return f"node{number}"


def with_new(issued: Issued, new: IssuedCredential, now: datetime) -> Issued:
    """The list with a new credential, without those that expired unused more than a day ago (§5.1).

    Raises:
        ConflictError: The list is full.
    """
    kept = tuple(one for one in issued if one.used_at or now < one.expires_at + _KEPT)
    if len(kept) >= MOST:
        raise ConflictError(
            f"there are {MOST} bootstrap files already", hint="wait until some have expired"
        )
    return (*kept, new)


def without(issued: Issued, credential_id: str) -> Issued:
    """The list without a credential whose bootstrap file was not handed over."""
    return tuple(one for one in issued if one.id != credential_id)


def find(issued: Issued, credential_id: str) -> IssuedCredential | None:
    """The credential of an id, which is no secret; None if no such credential was issued."""
    return next((one for one in issued if one.id == credential_id), None)


def unwelcome(found: IssuedCredential | None, credential: Credential) -> AuthenticationError:
    """The error for an unknown or exhausted credential; only a client with the right secret is told "exhausted" (§3.6)."""
    if found is None or not _is_right(found, credential):
        return _unknown()
    message = f"the credential {found.id} was refused {found.refusals} times: it is exhausted"
    return AuthenticationError(message, hint=_MADE_ANEW)


def check_secret(found: IssuedCredential, credential: Credential) -> None:
    """Refuse a wrong secret, with the same words as an unknown credential.

    Raises:
        AuthenticationError: The secret is wrong.
    """
    if not _is_right(found, credential):
        raise _unknown()


def admit(
    issued: Issued, request: AdmissionRequest, present: Generation, now: datetime
) -> Issued | None:
    """The list after a credential, whose secret was checked, has admitted its node; None for a repeated request.

    Raises:
        AuthenticationError: The request is refused; the message gives the reason (§3.3).
    """
    found, asked = _found(issued, request), request_digest(request)
    is_repeated = found.request is not None and hmac.compare_digest(found.request, asked)
    _check(found, request.node_id, present, now, is_repeated=is_repeated)
    if is_repeated:
        return None
    return _with(issued, found._replace(used_at=now, request=asked))


def with_refusal(issued: Issued, request: AdmissionRequest) -> Issued:
    """The list after a credential was refused."""
    found = _found(issued, request)
    return _with(issued, found._replace(refusals=found.refusals + 1))


def _found(issued: Issued, request: AdmissionRequest) -> IssuedCredential:
    return next(one for one in issued if one.id == request.credential.id)


def _with(issued: Issued, changed: IssuedCredential) -> Issued:
    return tuple(changed if one.id == changed.id else one for one in issued)


def _is_right(found: IssuedCredential, credential: Credential) -> bool:
    return hmac.compare_digest(found.digest, digest(credential))


def _unknown() -> AuthenticationError:
    return AuthenticationError(
        "nobody knows this credential",
        hint="the bootstrap file is of another installation, or it was changed",
    )


def _check(
    found: IssuedCredential, node_id: str, present: Generation, now: datetime, *, is_repeated: bool
) -> None:
    if found.used_at is not None and not is_repeated:
        why = f"was used at {format_utc(found.used_at)}: it admits a node once"
    elif now >= found.expires_at:
        why = f"expired at {format_utc(found.expires_at)}"
    elif is_future(found.expires_at - LONGEST_LIFE, now):
        why = f"expires at {format_utc(found.expires_at)}: it was made by a clock that was ahead"
    elif found.generation != present:
        why = "was made before the internal tokens were regenerated"
    elif found.node_id != node_id:
        why = f"is for {found.node_id}, not for {node_id[:80]}"
    else:
        return
    raise AuthenticationError(f"the credential {found.id} {why}", hint=_MADE_ANEW)


def serialize(issued: Sequence[IssuedCredential]) -> bytes:
    """The canonical bytes (§5.1)."""
    rows = list(map(_row, issued))
    return _KIND.dumps({"format": FORMAT, "credentials": rows})


@lru_cache(maxsize=1)
def parse(data: bytes) -> Issued:
    """Parse the canonical bytes of the list.

    The last result is cached: each request of a stranger reads the list, and parsing 1,024 rows takes 0.1 s.

    Raises:
        FormatError: The list is damaged.
    """
    fields = _KIND.loads(data)
    fields.check_version("format", FORMAT)
    fields.check_names(("format", "credentials"))
    fields.check_count("credentials", "credentials", MOST)
    return tuple(map(_read, fields.objects("credentials")))


def _row(one: IssuedCredential) -> dict[str, object]:
    row: dict[str, object] = {
        "id": one.id,
        "node_id": one.node_id,
        "digest": one.digest,
        "expires_at": format_utc(one.expires_at),
        **one.generation._asdict(),
        "used_at": one.used_at and format_utc(one.used_at),
    }
    if one.request is not None:
        row["request"] = one.request
    if one.refusals:
        row["refusals"] = one.refusals
    return row


def _read(row: Fields) -> IssuedCredential:
    row.check_names(_MEMBERS, optional=("request", "refusals"))
    used = row.optional("used_at", Fields.time)
    return IssuedCredential(
        row.text("id"),
        row.text("node_id"),
        row.text("digest"),
        parse_utc(row.time("expires_at")),
        Generation(row.text("master_key"), row.text("configuration_key_id")),
        None if used is None else parse_utc(used),
        row.text("request") if "request" in row.names else None,
        row.number("refusals", least=1) if "refusals" in row.names else 0,
    )
