"""What a new node sends to be let in, as bytes and back (docs/format/bootstrap-file.md §4). Pure; it judges nothing."""

import base64
import json
from dataclasses import dataclass, field
from typing import Any

from strongroom import ids
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import FormatError, UsageError
from strongroom.topology import bootstrap_file
from strongroom.topology.bootstrap_file import Credential, check_node_id

MAX_BYTES = 4096
_MEMBERS = frozenset({"installation_id", "node_id", "credential_id", "secret", "request_key"})


@dataclass(frozen=True)
class AdmissionRequest:
    """One node asks for one place.

    Attributes:
        installation_id: Of the installation that made its bootstrap file.
        node_id: Which node it will be.
        credential: The one of that file.
        request_key: 32 random bytes of its own: who knows them repeats the request (§4.2).
    """

    installation_id: str
    node_id: str
    credential: Credential
    request_key: SecretBytes = field(repr=False)


def serialize(request: AdmissionRequest) -> SecretBytes:
    """The bytes to send."""
    members = {
        "installation_id": request.installation_id,
        "node_id": request.node_id,
        "credential_id": request.credential.id,
        "secret": base64.b64encode(request.credential.secret.reveal()).decode("ascii"),
        "request_key": base64.b64encode(request.request_key.reveal()).decode("ascii"),
    }
    return SecretBytes(json.dumps(members).encode("ascii"))


def parse(data: bytes) -> AdmissionRequest:
    """The request of some bytes (§4.1).

    Raises:
        UsageError: They are something else; nothing of them is quoted.
    """
    try:
        members = _object(data)
        ids.id_bytes(members["installation_id"])
        return AdmissionRequest(
            members["installation_id"],
            check_node_id(members["node_id"]),
            bootstrap_file.credential_of(members["credential_id"], members["secret"]),
            bootstrap_file.secret_of(members["request_key"]),
        )
    except (ValueError, TypeError, AttributeError, RecursionError, FormatError):
        # from None: the cause could carry the secret into a log
        raise UsageError("this is no request of a node") from None


def _object(data: bytes) -> dict[str, Any]:
    members: dict[str, Any] = json.loads(data)
    if members.keys() != _MEMBERS:
        raise FormatError("other members")
    return members
