"""One-time credentials of new nodes as the installation remembers them: digests, never secrets (bootstrap-file.md §3, §4).

Pure: a list in, a changed list out.
"""

import hashlib
import hmac
import json
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from strongroom import ids
from strongroom.clock import format_utc, parse_utc
from strongroom.errors import AuthenticationError, ConflictError, FormatError
from strongroom.topology.bootstrap_file import Credential

FORMAT = "strongroom-credentials-1"
MOST = 1024
_LABEL = b"strongroom/v1/bootstrap-credential"
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
    """

    id: str
    node_id: str
    digest: str
    expires_at: datetime
    generation: Generation
    used_at: datetime | None = None


Issued = tuple[IssuedCredential, ...]


def digest(credential: Credential) -> str:
    """What is kept of a credential (format/bootstrap-file.md §3.2)."""
    raw = _LABEL + ids.id_bytes(credential.id) + credential.secret.reveal()
    return hashlib.sha256(raw).hexdigest()


def next_node_id(issued: Iterable[IssuedCredential], own: str, now: datetime) -> str:
    """The lowest id of a node that is neither ours, nor admitted, nor promised to somebody."""
    taken = {own, *(one.node_id for one in issued if one.used_at or now < one.expires_at)}
    number = 2
    while f"node{number}" in taken:
        number += 1
    return f"node{number}"


def with_new(issued: Issued, new: IssuedCredential, now: datetime) -> Issued:
    """One more; those that expired unused more than a day ago go (§4.1).

    Raises:
        ConflictError: There are too many.
    """
    kept = tuple(one for one in issued if one.used_at or now < one.expires_at + _KEPT)
    if len(kept) >= MOST:
        raise ConflictError(
            f"there are {MOST} bootstrap files already", hint="wait until some have expired"
        )
    return (*kept, new)


def admit(
    issued: Issued, credential: Credential, node_id: str, present: Generation, now: datetime
) -> Issued:
    """The list after a credential has admitted its node.

    Raises:
        AuthenticationError: It is refused, with the reason as soon as the secret was right (§3.3).
    """
    found = next((one for one in issued if one.id == credential.id), None)
    if found is None or not hmac.compare_digest(found.digest, digest(credential)):
        raise AuthenticationError(
            "nobody knows this credential",
            hint="the bootstrap file is of another installation, or it was changed",
        )
    _check(found, node_id, present, now)
    return tuple(one._replace(used_at=now) if one is found else one for one in issued)


def _check(found: IssuedCredential, node_id: str, present: Generation, now: datetime) -> None:
    if found.used_at is not None:
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
    """The canonical bytes (§4.1)."""
    rows = [
        {
            "id": one.id,
            "node_id": one.node_id,
            "digest": one.digest,
            "expires_at": format_utc(one.expires_at),
            **one.generation._asdict(),
            "used_at": one.used_at and format_utc(one.used_at),
        }
        for one in issued
    ]
    return _canonical({"format": FORMAT, "credentials": rows})


def parse(data: bytes) -> Issued:
    """The list of its canonical bytes.

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


def _read(row: dict[str, Any]) -> IssuedCredential:
    used = row["used_at"]
    return IssuedCredential(
        row["id"],
        row["node_id"],
        row["digest"],
        parse_utc(row["expires_at"]),
        Generation(row["master_key"], row["configuration_key_id"]),
        None if used is None else parse_utc(used),
    )


def _canonical(value: object) -> bytes:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8")
