"""The keys of a node, one to sign and one to receive, and the file that keeps them (docs/format/nodes.md 1); pure.

The node makes them itself, before it asks to be admitted, and the private halves never leave its data directory.
"""

from typing import NamedTuple

from strongroom.canonical import ASCII_LINE, Fields, Kind, to_base64
from strongroom.crypto import fingerprint, hpke, rng
from strongroom.crypto.hpke import SealingKey
from strongroom.crypto.secret import SecretBytes
from strongroom.crypto.signing import SigningKey
from strongroom.joining.bootstrap_file import check_node_id

FORMAT = "strongroom-node-1"
MAX_BYTES = 4096
KEY_BYTES = 32
_KIND = Kind("the file with the node's keys", ASCII_LINE, MAX_BYTES, hint="bring the node in anew")
_SECRETS = ("signing_seed", "sealing_key", "request_key")
_MEMBERS = frozenset({"format", "installation_id", "node_id", *_SECRETS})


class NodePublic(NamedTuple):
    """The public keys of a node.

    Attributes:
        signing: The Ed25519 key by which its signatures are checked.
        sealing: The X25519 key to which is sealed what it alone may open.
    """

    signing: bytes
    sealing: bytes

    @property
    def fingerprint(self) -> str:
        """The fingerprint of both, as it is printed."""
        return fingerprint.of_node(self.signing, self.sealing)


class NodeKeys:
    """The private keys of one node of one installation.

    Attributes:
        installation_id: The installation.
        node_id: The id of the node.
        request_key: 32 random bytes, by which a repetition of the node's request is known as the same request.
        signing: The key by which the node signs.
        sealing: The key by which the node opens what is sealed to it.
        public: The public halves.
    """

    def __init__(
        self,
        node: tuple[str, str],
        signing_seed: SecretBytes,
        sealing_key: SecretBytes,
        request_key: SecretBytes,
    ) -> None:
        """Take the ids of installation and node, and three secrets of 32 bytes.

        Raises:
            FormatError: A secret has another length.
        """
        self.installation_id, self.node_id = node
        self.request_key = request_key.reveal()
        self.signing, self.sealing = SigningKey(signing_seed), SealingKey(sealing_key)
        self.public = NodePublic(self.signing.public, self.sealing.public)
        self._secrets = (signing_seed, sealing_key, request_key)

    def serialize(self) -> SecretBytes:
        """The bytes of the file."""
        texts = [to_base64(one.reveal()) for one in self._secrets]
        members = {"installation_id": self.installation_id, "node_id": self.node_id}
        return SecretBytes(
            _KIND.dumps({"format": FORMAT, **members, **dict(zip(_SECRETS, texts, strict=True))})
        )


def make(installation_id: str, node_id: str) -> NodeKeys:
    """New keys for a node."""
    return NodeKeys((installation_id, node_id), rng.new_key(), hpke.new_private(), rng.new_key())


def parse(data: bytes) -> NodeKeys:
    """The keys of a file.

    Raises:
        FormatError: The file is damaged; the message quotes nothing of it.
    """
    fields = _KIND.loads(data)
    fields.check_version("format", FORMAT)
    fields.check_names(_MEMBERS)
    signing_seed, sealing_key, request_key = (_secret(fields, name) for name in _SECRETS)
    node = fields.id("installation_id"), check_node_id(fields.text("node_id"))
    return NodeKeys(node, signing_seed, sealing_key, request_key)


def _secret(fields: Fields, name: str) -> SecretBytes:
    found = SecretBytes(fields.raw(name))
    if len(found) != KEY_BYTES:
        raise fields.refused(f"{name!r} has another length")
    return found
