"""The installation's records of one-time credentials of new nodes: public keys, never secrets (bootstrap-file.md §3, §5).

Pure: a list in, a changed list out. Who reads the list can admit nobody by it.

A credential that was refused `MOST_REFUSALS` times is exhausted for good. A user's account only pauses after wrong
passwords, since user names are widely known, and a stranger could otherwise lock a user out for ever. A credential's id
is 122 random bits, found only in the bootstrap file, the event log and requests under TLS. A wrong signature under a
right id therefore comes from an altered file, or from an attacker who knows the id. Such an attacker must not cause an
event and take a lock with each try, and the owner of the file can get a new one by one command. The first refusals
leave events, so the attack is noticed.
"""

import hashlib
import hmac
from collections.abc import Collection
from datetime import datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

from strongroom import ids
from strongroom.canonical import UTF_8, Fields, Kind, to_base64
from strongroom.clock import format_utc, is_future, parse_utc
from strongroom.crypto import labels, said
from strongroom.crypto.signing import PUBLIC_BYTES
from strongroom.errors import AuthenticationError, ConflictError, IntegrityError
from strongroom.joining.admission_request import AdmissionRequest
from strongroom.joining.bootstrap_file import check_node_id

FORMAT = "strongroom-credentials-2"
FIRST_FORMAT = "strongroom-credentials-1"
"""The list that held digests of secrets; read, so that its credentials are refused in words, and written no more."""
MOST = 1024
MOST_ADMITTED = 9998
MOST_REFUSALS = 5
_KIND = Kind("the list of bootstrap credentials", UTF_8, most=1 << 20)
_MEMBERS = frozenset(
    ["id", "node_id", "expires_at", "master_key", "configuration_key_id", "used_at"]
)
_KEPT = timedelta(days=1)
LONGEST_LIFE = timedelta(days=366)
_MADE_ANEW = "make a new bootstrap file with 'tsm topology nodes get-bootstrap-file'"


class Generation(NamedTuple):
    """The keys of an installation at a time, for which a credential is good.

    Attributes:
        master_key: The newest master key; a regeneration changes it.
        configuration_key_id: The active configuration key; a regeneration changes it.
        identity: The public key of the identity; `tsm security identity renew` changes it. Empty in a credential of an
            earlier version.
    """

    master_key: str
    configuration_key_id: str
    identity: bytes = b""


class IssuedCredential(NamedTuple):
    """A credential that was issued.

    Attributes:
        id: UUID of the credential.
        node_id: Id of the node that it admits.
        public: The public key; empty in a credential of an earlier version, by which nobody can sign.
        expires_at: When the credential expires.
        generation: The newest keys when the credential was made.
        used_at: When the credential admitted its node; None before that.
        request: Digest of the request that used the credential, hex.
        refusals: How often a request with this credential was refused.
    """

    id: str
    node_id: str
    public: bytes
    expires_at: datetime
    generation: Generation
    used_at: datetime | None = None
    request: str | None = None
    refusals: int = 0

    @property
    def is_earlier(self) -> bool:
        """Whether an earlier version made the credential: nothing that could be checked is known of it."""
        return not self.public

    @property
    def is_exhausted(self) -> bool:
        """Whether the credential was refused too often, and admits nobody any more (§3.6)."""
        return self.refusals >= MOST_REFUSALS


class Issued(NamedTuple):
    """The list.

    Attributes:
        credentials: The credentials that are valid, or ended a short time ago.
        admitted: Ids of the nodes that others had admitted, which are given to nobody again.
    """

    credentials: tuple[IssuedCredential, ...] = ()
    admitted: tuple[str, ...] = ()


def request_digest(request: AdmissionRequest) -> str:
    """The digest that is stored for the request that used a credential (format/bootstrap-file.md §4.2)."""
    own = (*request.keys, request.request_key, *said.digests_of(request.asked))
    parts = (ids.id_bytes(request.credential_id), *own)
    return hashlib.sha256(labels.ADMISSION_REQUEST + b"".join(parts)).hexdigest()


def next_node_id(issued: Issued, known: Collection[str], now: datetime) -> str:
    """The lowest node id that is neither known, nor that of an admitted node, nor in a valid bootstrap file."""
    live = (one.node_id for one in issued.credentials if one.used_at or now < one.expires_at)
    taken = {*known, *issued.admitted, *live}
    number = 2
    while f"node{number}" in taken:
        number += 1
    return f"node{number}"


def with_new(issued: Issued, new: IssuedCredential, now: datetime) -> Issued:
    """The list with a new credential, without those that expired more than a day ago (§5.1).

    Of those that admitted a node its id is kept.

    Raises:
        ConflictError: The list is full.
    """
    kept = tuple(one for one in issued.credentials if now < one.expires_at + _KEPT)
    gone = {one.node_id for one in issued.credentials if one.used_at and one not in kept}
    if len(kept) >= MOST:
        raise ConflictError(
            f"there are {MOST} bootstrap files already", hint="wait until some have expired"
        )
    return Issued((*kept, new), tuple(sorted({*issued.admitted, *gone})))


def without(issued: Issued, credential_id: str) -> Issued:
    """The list without a credential whose bootstrap file was not handed over."""
    return issued._replace(
        credentials=tuple(one for one in issued.credentials if one.id != credential_id)
    )


def find(issued: Issued, credential_id: str) -> IssuedCredential | None:
    """The credential of an id, which is no secret; None if no such credential was issued."""
    return next((one for one in issued.credentials if one.id == credential_id), None)


def unwelcome(found: IssuedCredential | None, request: AdmissionRequest) -> AuthenticationError:
    """The error for an unknown, earlier or exhausted credential; only who has its key is told "exhausted" (§3.6)."""
    if found is not None and found.is_earlier:
        return AuthenticationError(
            f"the credential {found.id} was made by an earlier version", hint=_MADE_ANEW
        )
    if found is None or not _is_signed(found, request):
        return _unknown()
    message = f"the credential {found.id} was refused {found.refusals} times: it is exhausted"
    return AuthenticationError(message, hint=_MADE_ANEW)


def check_signatures(found: IssuedCredential, request: AdmissionRequest) -> None:
    """Refuse a request that its credential did not sign, with the same words as an unknown credential.

    Raises:
        AuthenticationError: The credential's signature, or that of the node's own key, is wrong.
    """
    if not _is_signed(found, request):
        raise _unknown()
    try:
        request.check_proof(found.generation.identity)
    except IntegrityError:
        raise AuthenticationError(
            "the request is not signed by the node's own key", hint="start 'initialize-tsm' again"
        ) from None


def admit(
    issued: Issued, request: AdmissionRequest, present: Generation, now: datetime
) -> Issued | None:
    """The list after a credential, whose signature was checked, has admitted its node; None for a repeated request.

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
    return next(one for one in issued.credentials if one.id == request.credential_id)


def _with(issued: Issued, changed: IssuedCredential) -> Issued:
    return issued._replace(
        credentials=tuple(changed if one.id == changed.id else one for one in issued.credentials)
    )


def _is_signed(found: IssuedCredential, request: AdmissionRequest) -> bool:
    try:
        request.check_signature(found.public, found.generation.identity)
    except IntegrityError:
        return False
    return True


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
    elif found.generation.identity != present.identity:
        why = "was made before the identity of the installation was renewed"
    elif found.generation != present:
        why = "was made before the internal tokens were regenerated"
    elif found.node_id != node_id:
        why = f"is for {found.node_id}, not for {node_id[:80]}"
    else:
        return
    raise AuthenticationError(f"the credential {found.id} {why}", hint=_MADE_ANEW)


def serialize(issued: Issued) -> bytes:
    """The canonical bytes (§5.1)."""
    rows = list(map(_row, issued.credentials))
    return _KIND.dumps({"format": FORMAT, "credentials": rows, "admitted": sorted(issued.admitted)})


@lru_cache(maxsize=1)
def parse(data: bytes) -> Issued:
    """Parse the canonical bytes of the list, also of one that an earlier version wrote (§5.2).

    The last result is cached: each request of a stranger reads the list, and parsing 1,024 rows takes 0.1 s.

    Raises:
        FormatError: The list is damaged.
    """
    fields = _KIND.loads(data)
    is_first = fields.value("format") == FIRST_FORMAT
    if not is_first:
        fields.check_version("format", FORMAT)
    fields.check_names(("format", "credentials", *(() if is_first else ("admitted",))))
    fields.check_count("credentials", "credentials", MOST)
    rows = fields.objects("credentials")
    if is_first:
        return Issued(tuple(map(_read_first, rows)))
    fields.check_count("admitted", "nodes", MOST_ADMITTED)
    admitted = tuple(check_node_id(one) for one in fields.texts("admitted"))
    return Issued(tuple(map(_read, rows)), admitted)


def _row(one: IssuedCredential) -> dict[str, object]:
    row: dict[str, object] = {
        "id": one.id,
        "node_id": one.node_id,
        "public": to_base64(one.public),
        "expires_at": format_utc(one.expires_at),
        **one.generation._asdict(),
        "identity": to_base64(one.generation.identity),
        "used_at": one.used_at and format_utc(one.used_at),
    }
    if one.request is not None:
        row["request"] = one.request
    if one.refusals:
        row["refusals"] = one.refusals
    return row


def _read(row: Fields) -> IssuedCredential:
    row.check_names({*_MEMBERS, "public", "identity"}, optional=("request", "refusals"))
    found = _read_common(row)._replace(public=_public(row, "public"))
    identity = _public(row, "identity")
    return found._replace(
        generation=found.generation._replace(identity=identity),
        request=row.text("request") if "request" in row.names else None,
        refusals=row.number("refusals", least=1) if "refusals" in row.names else 0,
    )


def _read_first(row: Fields) -> IssuedCredential:
    """A row of the first form: neither its digest, nor that of a request, is good for anything any more."""
    row.check_names({*_MEMBERS, "digest"}, optional=("request", "refusals"))
    return _read_common(row)


def _read_common(row: Fields) -> IssuedCredential:
    used = row.optional("used_at", Fields.time)
    return IssuedCredential(
        row.text("id"),
        row.text("node_id"),
        b"",
        parse_utc(row.time("expires_at")),
        Generation(row.text("master_key"), row.text("configuration_key_id")),
        None if used is None else parse_utc(used),
    )


def _public(row: Fields, name: str) -> bytes:
    public = row.raw(name)
    if len(public) not in {0, PUBLIC_BYTES}:
        raise row.refused(f"{name!r} is no public key")
    return public
