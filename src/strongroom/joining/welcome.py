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

VERSION = 1
MAX_BYTES = 32 << 10
_KIND = Kind("the answer of the installation", ASCII, MAX_BYTES)


class Welcome(NamedTuple):
    """All that a node needs to reach the services of its cluster.

    Attributes:
        coordination: The members of the place of the coordination service, as the file of services has them.
        repository: The parameters of the repository's driver.
        passwords: The passwords by the names of the services.
    """

    coordination: Mapping[str, str]
    repository: Mapping[str, str]
    passwords: Mapping[str, SecretBytes]


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
    members = {
        "v": VERSION,
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
    fields.check_version("v", VERSION)
    fields.check_names(("v", "coordination", "repository", "passwords"))
    inside = fields.inner("passwords")
    passwords = {name: SecretBytes(inside.raw(name)) for name in inside.names}
    return Welcome(fields.text_map("coordination"), fields.text_map("repository"), passwords)


def _info(identity: InstallationIdentity, asked: Asked) -> bytes:
    return labels.WELCOME + id_bytes(identity.origin.installation_id) + asked.digest
