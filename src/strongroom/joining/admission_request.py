"""The request by which a new node asks for admission, as bytes and back (docs/format/bootstrap-file.md §4); pure.

Nothing in it is secret. The credential's key signs it, so that whoever reads it can ask for nothing else by it, and the
node's own key does, so that the keys in it are those of whoever asks.
"""

import json
from dataclasses import dataclass
from typing import Any

from strongroom import ids
from strongroom.canonical import from_base64, to_base64
from strongroom.crypto import said
from strongroom.crypto.statements import SIGNATURE_BYTES, Origin, Purpose, Statement
from strongroom.errors import FormatError, UsageError
from strongroom.joining.bootstrap_file import Credential, check_node_id
from strongroom.joining.node_keys import KEY_BYTES, NodeKeys, NodePublic

MAX_BYTES = 4096
_TEXTS = frozenset({"installation_id", "node_id", "credential_id"})
_MEMBERS = _TEXTS | {"signing_key", "sealing_key", "request_key", "signature", "proof"}
_ASKED = "certificate_request"
_EARLIER = _TEXTS | {"secret", "request_key"}


@dataclass(frozen=True)
class AdmissionRequest:
    """A new node's request for admission.

    Attributes:
        installation_id: Id of the installation that made the node's bootstrap file.
        node_id: The id that the node will have.
        credential_id: The credential in that file.
        keys: The public keys of the node.
        request_key: 32 random bytes of the node, by which a repetition is recognised as the same request (§4.3).
        signature: The signature of the credential's key.
        proof: The signature of the node's own key.
        asked: The node's request for a certificate (PKCS#10, DER); empty in that of a node with an earlier file.
    """

    installation_id: str
    node_id: str
    credential_id: str
    keys: NodePublic
    request_key: bytes
    signature: bytes
    proof: bytes
    asked: bytes = b""

    def check_signature(self, public: bytes, identity: bytes) -> None:
        """Check that the credential with this public key signed the request, for the installation of this identity.

        Raises:
            IntegrityError: The signature is not of that key, or for another installation, node, key or request.
        """
        self._said(Purpose.ADMISSION, identity).check(self.signature, public)

    def check_proof(self, identity: bytes) -> None:
        """Check that the node's own key signed the request as well.

        Raises:
            IntegrityError: The key did not: whoever asks does not have it.
        """
        self._said(Purpose.NODE_KEYS, identity).check(self.proof, self.keys.signing)

    def check_asked(self) -> None:
        """Check that the request for a certificate is of this node, and that whoever asks has the key in it.

        Raises:
            FormatError: The request for a certificate is damaged, of another node, or not signed by its key.
        """
        if self.asked:
            from strongroom.crypto import node_certificates

            name = node_certificates.NodeName(self.installation_id, self.node_id)
            node_certificates.check_request(self.asked, name)

    def _said(self, purpose: Purpose, identity: bytes) -> Statement:
        payload = said.of_admission(
            self.node_id, self.credential_id, identity, self.keys, self.request_key, self.asked
        )
        return Statement(purpose, Origin(self.installation_id), payload)


def make(keys: NodeKeys, credential: Credential, identity: bytes) -> AdmissionRequest:
    """The request of a node, signed by the credential of its bootstrap file and by its own key.

    Args:
        keys: The keys of the node, which say its id and its installation.
        credential: The credential.
        identity: The public key of the identity that signed the file.
    """
    asked = b"" if keys.asked is None else keys.asked.asked
    payload = said.of_admission(
        keys.node_id, credential.id, identity, keys.public, keys.request_key, asked
    )
    origin = Origin(keys.installation_id)
    return AdmissionRequest(
        keys.installation_id,
        keys.node_id,
        credential.id,
        keys.public,
        keys.request_key,
        signature=Statement(Purpose.ADMISSION, origin, payload).signature(credential.key),
        proof=Statement(Purpose.NODE_KEYS, origin, payload).signature(keys.signing),
        asked=asked,
    )


def serialize(request: AdmissionRequest) -> bytes:
    """The bytes to send."""
    members = {
        "installation_id": request.installation_id,
        "node_id": request.node_id,
        "credential_id": request.credential_id,
        "signing_key": to_base64(request.keys.signing),
        "sealing_key": to_base64(request.keys.sealing),
        "request_key": to_base64(request.request_key),
        "signature": to_base64(request.signature),
        "proof": to_base64(request.proof),
    }
    if request.asked:
        members[_ASKED] = to_base64(request.asked)
    return json.dumps(members).encode("ascii")


def parse(data: bytes) -> AdmissionRequest:
    """Parse the bytes of a request (§4.1).

    Raises:
        UsageError: The bytes are no request, or one of an earlier version; the message quotes none of them.
    """
    try:
        members = _object(data)
        ids.id_bytes(members["installation_id"])
        ids.id_bytes(members["credential_id"])
        return AdmissionRequest(
            members["installation_id"],
            check_node_id(members["node_id"]),
            members["credential_id"],
            NodePublic(_raw(members["signing_key"]), _raw(members["sealing_key"])),
            _raw(members["request_key"]),
            _raw(members["signature"], SIGNATURE_BYTES),
            _raw(members["proof"], SIGNATURE_BYTES),
            _asked(members),
        )
    except (ValueError, TypeError, AttributeError, RecursionError, FormatError):
        # from None: the cause may quote what a stranger sent, and reach a log
        raise UsageError("this is no request of a node") from None


def _object(data: bytes) -> dict[str, Any]:
    members: dict[str, Any] = json.loads(data)
    if members.keys() == _EARLIER:
        raise UsageError(
            "this request is of an earlier version, which sent its credential's secret",
            hint="bring the node in by this version of strongroom, with a new bootstrap file",
        )
    if members.keys() - {_ASKED} != _MEMBERS:
        raise FormatError("other members")
    return members


def _asked(members: dict[str, Any]) -> bytes:
    if _ASKED not in members:
        return b""
    found = from_base64(members[_ASKED])
    if not found:
        raise FormatError("the request for a certificate is not in base64")
    return found


def _raw(text: str, length: int = KEY_BYTES) -> bytes:
    raw = from_base64(text)
    if raw is None or len(raw) != length:
        raise FormatError(f"a member is no {length} bytes in base64")
    return raw
