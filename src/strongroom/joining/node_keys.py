"""The keys of a node, one to sign and one to receive, and the file that keeps them (docs/format/nodes.md 1); pure.

The node makes them itself, before it asks to be admitted, and the private halves never leave its data directory.
"""

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from strongroom.canonical import ASCII_LINE, Fields, Kind, to_base64
from strongroom.crypto import fingerprint, hpke, rng
from strongroom.crypto.hpke import SealingKey
from strongroom.crypto.secret import SecretBytes
from strongroom.crypto.signing import SigningKey
from strongroom.joining.bootstrap_file import check_node_id

if TYPE_CHECKING:
    from strongroom.joining.certificate_request import CertificateRequest

FORMAT_1 = "strongroom-node-1"
FORMAT_2 = "strongroom-node-2"
MAX_BYTES = 4096
KEY_BYTES = 32
_KIND = Kind("the file with the node's keys", ASCII_LINE, MAX_BYTES, hint="bring the node in anew")
_SECRETS = ("signing_seed", "sealing_key", "request_key")
_LOG = ("log_former", "log_seed")
_MEMBERS = frozenset({"format", "installation_id", "node_id", *_SECRETS})


class FormerKind(StrEnum):
    """The kinds of keys that signed a node's log before the present one."""

    #: The key in the configuration, which every node of the installation has.
    CONFIGURATION = "configuration"
    #: An earlier one of the node's own.
    NODE = "node"
    #: A key whose private half was lost.
    LOST = "lost"


class Former(NamedTuple):
    """The key that a node's log key takes the place of.

    Attributes:
        kind: The kind of key.
        key: The seed, or the public half of a lost key; empty for that of the configuration, which stays there.
    """

    kind: FormerKind
    key: SecretBytes


class LogKey(NamedTuple):
    """The key by which a node alone signs its event log (docs/format/events.md 5.2).

    Attributes:
        seed: The Ed25519 seed.
        former: The key before, until the checkpoint that this one signs first is safe on the disk; None otherwise.
    """

    seed: SecretBytes
    former: Former | None = None

    @property
    def signing(self) -> SigningKey:
        """The key that signs."""
        return SigningKey(self.seed)

    def renewed(self) -> "LogKey":
        """Another key, which takes the place of this one."""
        return LogKey(rng.new_key(), Former(FormerKind.NODE, self.seed))

    def settled(self) -> "LogKey":
        """The same key, once no checkpoint needs the one before it."""
        return LogKey(self.seed)


def succeeding(kind: FormerKind, key: bytes = b"") -> LogKey:
    """A new key in the place of one that is not the node's own, or not any more."""
    return LogKey(rng.new_key(), Former(kind, SecretBytes(key)))


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
        log: The key that signs the node's event log; None while the key in the configuration signs it.
        asked: The request for the node's first certificate and its key, in a file of their own; None once the
            installation has answered, and of a node that asks for none.
    """

    def __init__(
        self,
        node: tuple[str, str],
        signing_seed: SecretBytes,
        sealing_key: SecretBytes,
        request_key: SecretBytes,
        *,
        log: LogKey | None = None,
        asked: "CertificateRequest | None" = None,
    ) -> None:
        """Take the ids of installation and node, three secrets of 32 bytes, the log's key, and the request.

        Raises:
            FormatError: A secret has another length.
        """
        self.installation_id, self.node_id = node
        self.request_key = request_key.reveal()
        self.signing, self.sealing = SigningKey(signing_seed), SealingKey(sealing_key)
        self.public = NodePublic(self.signing.public, self.sealing.public)
        self.log = log
        self.asked = asked
        self._secrets = (signing_seed, sealing_key, request_key)

    @property
    def log_public(self) -> bytes:
        """The public half of the key that signs the node's event log, once it does so alone; empty before."""
        return b"" if self.log is None or self.log.former else self.log.signing.public

    def with_log(self, log: LogKey | None) -> "NodeKeys":
        """The same keys with another one for the event log."""
        node = self.installation_id, self.node_id
        return NodeKeys(node, *self._secrets, log=log, asked=self.asked)

    def asking(self, asked: "CertificateRequest | None") -> "NodeKeys":
        """The same keys with a request for a certificate."""
        node = self.installation_id, self.node_id
        return NodeKeys(node, *self._secrets, log=self.log, asked=asked)

    def serialize(self) -> SecretBytes:
        """The bytes of the file."""
        texts = [to_base64(one.reveal()) for one in self._secrets]
        members: dict[str, object] = {
            "format": FORMAT_1 if self.log is None else FORMAT_2,
            "installation_id": self.installation_id,
            "node_id": self.node_id,
            **dict(zip(_SECRETS, texts, strict=True)),
        }
        if self.log is not None:
            seed, former = self.log
            members["log_seed"] = to_base64(seed.reveal())
            members["log_former"] = former and {
                "key": to_base64(former.key.reveal()),
                "kind": former.kind.value,
            }
        return SecretBytes(_KIND.dumps(members))


def make(installation_id: str, node_id: str) -> NodeKeys:
    """New keys for a node that has no event log as yet."""
    node, log = (installation_id, node_id), LogKey(rng.new_key())
    return NodeKeys(node, rng.new_key(), hpke.new_private(), rng.new_key(), log=log)


def parse(data: bytes) -> NodeKeys:
    """The keys of a file.

    Raises:
        FormatError: The file is damaged; the message quotes nothing of it.
    """
    fields = _KIND.loads(data)
    is_older = fields.value("format") == FORMAT_1
    fields.check_version("format", FORMAT_1 if is_older else FORMAT_2)
    fields.check_names(_MEMBERS if is_older else _MEMBERS.union(_LOG))
    signing_seed, sealing_key, request_key = (_secret(fields, name) for name in _SECRETS)
    node = fields.id("installation_id"), check_node_id(fields.text("node_id"))
    log = None if is_older else LogKey(_secret(fields, "log_seed"), fields.optional(*_FORMER))
    return NodeKeys(node, signing_seed, sealing_key, request_key, log=log)


def _former(fields: Fields, name: str) -> Former:
    found = fields.inner(name)
    found.check_names(Former._fields)
    kind = found.one_of("kind", FormerKind)
    length = 0 if kind is FormerKind.CONFIGURATION else KEY_BYTES
    return Former(kind, _secret(found, "key", length))


_FORMER = ("log_former", _former)


def _secret(fields: Fields, name: str, length: int = KEY_BYTES) -> SecretBytes:
    found = SecretBytes(fields.raw(name))
    if len(found) != length:
        raise fields.refused(f"{name!r} has another length")
    return found
