"""One-time credentials of new nodes as the installation remembers them: digests, never secrets (bootstrap-file.md §3, §5).

Pure: a list in, a changed list out.

A credential that was refused `MOST_REFUSALS` times is exhausted. It does not pause, as a user's name does after wrong
passwords: those are typed, and a name is known to many, so a stranger could lock its owner out for ever. The id of a
credential is 122 random bits; it stands in the file, in the event log and in requests under TLS, and nobody types it. A
wrong secret under a right id is an altered file, or somebody who knows the id and guesses: he is not given an event and a
turn at the lock for each try, and a new file costs its owner one command. The first tries are events, so they are seen.
"""

import hashlib
import hmac
import json
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

from strongroom import ids
from strongroom.clock import format_utc, parse_utc
from strongroom.errors import AuthenticationError, ConflictError, FormatError
from strongroom.topology.admission_request import AdmissionRequest
from strongroom.topology.bootstrap_file import Credential

FORMAT = "strongroom-credentials-1"
MOST = 1024
MOST_REFUSALS = 5
_LABEL = b"strongroom/v1/bootstrap-credential"
_REQUEST_LABEL = b"strongroom/v1/admission-request"
_KEPT = timedelta(days=1)
_MADE_ANEW = "make a new bootstrap file with 'tsm topology nodes get-bootstrap-file'"


class Generation(NamedTuple):
    """Which keys were the present ones: a regeneration changes both."""

    master_key: str
    configuration_key_id: str


class IssuedCredential(NamedTuple):
    """One credential that was given out.

    Attributes:
        id: UUID.
        node_id: Whom it admits.
        digest: Of the secret, hex.
        expires_at: From when on it admits nobody.
        generation: The keys when it was made.
        used_at: When it admitted its node; None as long as it has not.
        request: Digest of the request that used it, hex.
        refusals: How often it was refused.
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
        """Whether it was refused too often: it admits nobody any longer (§3.6)."""
        return self.refusals >= MOST_REFUSALS


Issued = tuple[IssuedCredential, ...]


def digest(credential: Credential) -> str:
    """What is kept of a credential (format/bootstrap-file.md §3.2)."""
    raw = _LABEL + ids.id_bytes(credential.id) + credential.secret.reveal()
    return hashlib.sha256(raw).hexdigest()


def request_digest(request: AdmissionRequest) -> str:
    """What is kept of the request that used a credential (format/bootstrap-file.md §4.2)."""
    raw = _REQUEST_LABEL + ids.id_bytes(request.credential.id) + request.request_key.reveal()
    return hashlib.sha256(raw).hexdigest()


def next_node_id(issued: Iterable[IssuedCredential], own: str, now: datetime) -> str:
    """The lowest id of a node that is neither ours, nor admitted, nor promised to somebody."""
    taken = {own, *(one.node_id for one in issued if one.used_at or now < one.expires_at)}
    number = 2
    while f"node{number}" in taken:
        number += 1
    return f"node{number}"


def with_new(issued: Issued, new: IssuedCredential, now: datetime) -> Issued:
    """One more; those that expired unused more than a day ago go (§5.1).

    Raises:
        ConflictError: There are too many.
    """
    kept = tuple(one for one in issued if one.used_at or now < one.expires_at + _KEPT)
    if len(kept) >= MOST:
        raise ConflictError(
            f"there are {MOST} bootstrap files already", hint="wait until some have expired"
        )
    return (*kept, new)


def find(issued: Issued, credential_id: str) -> IssuedCredential | None:
    """The credential of an id, or None; the id is no secret."""
    return next((one for one in issued if one.id == credential_id), None)


def unwelcome(found: IssuedCredential | None, credential: Credential) -> AuthenticationError:
    """What somebody is told whose credential is unknown or exhausted; the latter only if he has its secret (§3.6)."""
    if found is None or not _is_right(found, credential):
        return _unknown()
    message = f"the credential {found.id} was refused {found.refusals} times: it is exhausted"
    return AuthenticationError(message, hint=_MADE_ANEW)


def check_secret(found: IssuedCredential, credential: Credential) -> None:
    """Refuse a wrong secret, in the words for an unknown credential.

    Raises:
        AuthenticationError: It is wrong.
    """
    if not _is_right(found, credential):
        raise _unknown()


def admit(
    issued: Issued, request: AdmissionRequest, present: Generation, now: datetime
) -> Issued | None:
    """The list after a credential, whose secret was checked, has admitted its node; None if it is the same admission again.

    Raises:
        AuthenticationError: It is refused, with the reason (§3.3).
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
    return _canonical({"format": FORMAT, "credentials": rows})


@lru_cache(maxsize=1)
def parse(data: bytes) -> Issued:
    """The list of its canonical bytes; the last one is kept, for every stranger has it read (1,024 rows take 0.1 s).

    Raises:
        FormatError: It is damaged.
    """
    try:
        document = json.loads(data)
        issued = tuple(map(_read, document["credentials"]))
        same = document["format"] == FORMAT and serialize(issued) == data
    except (ValueError, KeyError, TypeError, FormatError) as error:
        raise FormatError("the list of bootstrap credentials is damaged") from error
    if not same or len(issued) > MOST:
        raise FormatError("the list of bootstrap credentials is damaged: not in canonical form")
    return issued


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


def _read(row: dict[str, Any]) -> IssuedCredential:
    used = row["used_at"]
    return IssuedCredential(
        row["id"],
        row["node_id"],
        row["digest"],
        parse_utc(row["expires_at"]),
        Generation(row["master_key"], row["configuration_key_id"]),
        None if used is None else parse_utc(used),
        row.get("request"),
        row.get("refusals", 0),
    )


def _canonical(value: object) -> bytes:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8")
