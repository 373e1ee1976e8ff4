"""The request by which a new node asks for admission, as bytes and back (docs/format/bootstrap-file.md §4); pure."""

import base64
import json
from dataclasses import dataclass, field
from typing import Any

from strongroom import ids
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import FormatError, UsageError
from strongroom.joining import bootstrap_file
from strongroom.joining.bootstrap_file import Credential, check_node_id

MAX_BYTES = 4096
_MEMBERS = frozenset({"installation_id", "node_id", "credential_id", "secret", "request_key"})


@dataclass(frozen=True)
class AdmissionRequest:
    """A new node's request for admission.

    Attributes:
        installation_id: Id of the installation that made the node's bootstrap file.
        node_id: The id that the node will have.
        credential: The credential in that file.
        request_key: 32 random bytes of the node, by which a repetition is recognised as the same request (§4.2).
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
    """Parse the bytes of a request (§4.1).

    Raises:
        UsageError: The bytes are no request; the message quotes none of them.
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
        # from None: the cause may hold the secret, and reach a log
        raise UsageError("this is no request of a node") from None


def _object(data: bytes) -> dict[str, Any]:
    members: dict[str, Any] = json.loads(data)
    if members.keys() != _MEMBERS:
        raise FormatError("other members")
    return members
