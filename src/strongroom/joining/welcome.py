"""The answer by which an installation tells a new node where its services are (docs/format/nodes.md 3); pure.

Addresses and passwords, sealed to the node's own key for its request, and signed by the installation's identity. Who
repeats the request of another node gets it, too, and opens nothing.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from strongroom.canonical import ASCII, Kind, from_base64, to_base64
from strongroom.crypto import hpke, labels, said
from strongroom.crypto.hpke import SealingKey
from strongroom.crypto.installation_identity import IdentityKey, InstallationIdentity
from strongroom.crypto.secret import SecretBytes
from strongroom.crypto.statements import Purpose
from strongroom.errors import FormatError, IntegrityError
from strongroom.ids import id_bytes

VERSION = 2
_FIRST = 1
"""The version without a certificate, to a request that asks for none."""
MAX_BYTES = 32 << 10
_MEMBERS = ("v", "coordination", "repository", "passwords")
_CERTIFIED = ("certificate", "authorities")
_KIND = Kind("the answer of the installation", ASCII, MAX_BYTES)


class Welcome(NamedTuple):
    """All that a node needs to reach the services of its cluster.

    Attributes:
        coordination: The members of the place of the coordination service, as the file of services has them.
        repository: The parameters of the repository's driver.
        passwords: The passwords by the names of the services.
        certificate: The node's first certificate, DER; empty if it has to make its own.
        authorities: The certificates of the internal authorities, DER; none without a certificate.
    """

    coordination: Mapping[str, str]
    repository: Mapping[str, str]
    passwords: Mapping[str, SecretBytes]
    certificate: bytes = b""
    authorities: tuple[bytes, ...] = ()


class Sealed(NamedTuple):
    """A welcome on its way.

    Attributes:
        message: The welcome, sealed to the node.
        signature: The signature of the identity.
    """

    message: bytes
    signature: bytes

    def fields(self) -> dict[str, str]:
        """The members of the answer."""
        return {"services": to_base64(self.message), "signature": to_base64(self.signature)}


class Asked(NamedTuple):
    """The request that is answered.

    Attributes:
        node_id: The node that asks.
        digest: The digest of its request.
    """

    node_id: str
    digest: bytes


def seal(welcome: Welcome, asked: Asked, public: bytes, identity: IdentityKey) -> Sealed:
    """Seal a welcome to a node.

    Args:
        welcome: The content.
        asked: The request that is answered.
        public: The node's key to receive.
        identity: The identity of the installation.

    Raises:
        FormatError: Nothing can be sealed to that key.
    """
    certified = {
        "certificate": to_base64(welcome.certificate),
        "authorities": [to_base64(one) for one in welcome.authorities],
    }
    members = {
        "v": VERSION if welcome.certificate else _FIRST,
        **(certified if welcome.certificate else {}),
        "coordination": dict(welcome.coordination),
        "repository": dict(welcome.repository),
        "passwords": {name: to_base64(one.reveal()) for name, one in welcome.passwords.items()},
    }
    info = _info(identity.identity, asked)
    message = hpke.seal(public, SecretBytes(_KIND.dumps(members)), info=info)
    told = said.of_welcome(asked.node_id, asked.digest, message)
    return Sealed(message, identity.sign(Purpose.WELCOME, told))


def find(answer: Mapping[str, Any]) -> Sealed | None:
    """The welcome in an answer; None if it has none, as that of a single node.

    Raises:
        FormatError: The answer has something else in its place.
    """
    if "services" not in answer:
        return None
    found = [
        from_base64(text) if isinstance(text, str) else None
        for text in (answer["services"], answer.get("signature"))
    ]
    message, signature = found
    if message is None or signature is None:
        raise FormatError("the answer of the installation is damaged")
    return Sealed(message, signature)


def opened(
    sealed: Sealed, asked: Asked, key: SealingKey, identity: InstallationIdentity
) -> Welcome:
    """The content of a welcome, after its signature was checked.

    Args:
        sealed: The welcome as it came.
        asked: The request that it answers.
        key: The node's key to receive.
        identity: The identity that the bootstrap file names.

    Raises:
        IntegrityError: Another installation made the answer, or it was changed, or it is for another request.
        FormatError: The content is damaged.
    """
    told = said.of_welcome(asked.node_id, asked.digest, sealed.message)
    try:
        identity.check(Purpose.WELCOME, told, sealed.signature)
        raw = key.open(sealed.message, info=_info(identity, asked)).reveal()
    except IntegrityError:
        raise IntegrityError(
            "the answer is not of the installation that made the bootstrap file, or it was changed",
            hint="somebody may answer in the place of the first node: look who, before you go on",
        ) from None
    fields = _KIND.loads(raw)
    has_certificate = fields.value("v") != _FIRST
    fields.check_version("v", VERSION if has_certificate else _FIRST)
    fields.check_names((*_MEMBERS, *_CERTIFIED) if has_certificate else _MEMBERS)
    inside = fields.inner("passwords")
    passwords = {name: SecretBytes(inside.raw(name)) for name in inside.names}
    places = fields.text_map("coordination"), fields.text_map("repository")
    if not has_certificate:
        return Welcome(*places, passwords)
    return Welcome(*places, passwords, fields.raw("certificate"), fields.raws("authorities"))


def _info(identity: InstallationIdentity, asked: Asked) -> bytes:
    return labels.WELCOME + id_bytes(identity.origin.installation_id) + asked.digest
