"""The keys of the keystore on their way from one node to another (docs/format/key-changes.md 4); pure.

Sealed to the receiving node's own key and signed by the giving one's: sealed under a key that is replaced they would reach
whoever has that one, which may be why it is replaced.
"""

import hashlib
from dataclasses import dataclass, field
from typing import NamedTuple

from strongroom.canonical import ASCII, Kind, to_base64
from strongroom.coordination.floors import Point
from strongroom.crypto import hpke, labels, said
from strongroom.crypto.secret import SecretBytes
from strongroom.crypto.statements import Origin, Purpose, Statement
from strongroom.errors import IntegrityError
from strongroom.ids import id_bytes
from strongroom.joining.bootstrap_file import check_node_id
from strongroom.joining.node_keys import NodeKeys, NodePublic

PREFIX = "keystore/bundles/"
FORMAT = "strongroom-key-bundle-1"
_KIND = Kind("the bundle of keys", ASCII, most=4 << 20)
_CONTENT = Kind("the content of the bundle of keys", ASCII, most=2 << 20)
_VERSION = 1


@dataclass(frozen=True)
class KeyBundle:
    """The keys.

    Attributes:
        keystore: The keystore.
        password: The password of that keystore.
        records: The configuration-key records, which a node takes byte for byte.
    """

    keystore: bytes = field(repr=False)
    password: SecretBytes = field(repr=False)
    records: bytes = field(repr=False)


class Occasion(NamedTuple):
    """The moment for which keys are given.

    Attributes:
        change_id: The id of this giving.
        generation: The generation of the records.
        present: Epoch and digest of the KMS store that is in force.
    """

    change_id: str
    generation: int
    present: Point


class SealedBundle(NamedTuple):
    """A bundle on its way.

    Attributes:
        occasion: The moment.
        by: The node that gives it.
        message: The keys, sealed to the node that is to have them.
        signature: The signature of the giving node.
    """

    occasion: Occasion
    by: str
    message: bytes
    signature: bytes

    def serialize(self) -> bytes:
        """The canonical bytes."""
        change_id, generation, present = self.occasion
        return _KIND.dumps(
            {
                "format": FORMAT,
                "change_id": change_id,
                "generation": generation,
                "present": {"digest": present.digest.hex(), "epoch": present.number},
                "by": self.by,
                "message": to_base64(self.message),
                "signature": to_base64(self.signature),
            }
        )

    def opened(self, own: NodeKeys, signer: NodePublic) -> KeyBundle:
        """The keys, after the signature was checked.

        Args:
            own: The keys of the node to which they were given.
            signer: The public keys of the node that gave them, by the registry.

        Raises:
            IntegrityError: Another node has made the bundle, or it was changed, or is for another node or moment.
            FormatError: The content is damaged.
        """
        told = _told(own.installation_id, (self.by, own.node_id), self.occasion, self.message)
        told.check(self.signature, signer.signing)
        info = _info(own.installation_id, self.occasion, own.public)
        try:
            raw = own.sealing.open(self.message, info=info).reveal()
        except IntegrityError:
            raise IntegrityError("the bundle of keys is for another node or moment") from None
        fields = _CONTENT.loads(raw)
        fields.check_version("v", _VERSION)
        fields.check_names(("v", "keystore", "password", "records"))
        password = SecretBytes(fields.raw("password"))
        return KeyBundle(fields.raw("keystore"), password, fields.raw("records"))


def entry(node_id: str) -> str:
    """The name of the entry with the bundle for a node."""
    return PREFIX + node_id


def seal(
    bundle: KeyBundle, occasion: Occasion, to: tuple[str, NodePublic], own: NodeKeys
) -> SealedBundle:
    """Seal keys to a node.

    Args:
        bundle: The keys.
        occasion: The moment.
        to: Id and public keys of the node.
        own: The keys of the node that gives them.

    Raises:
        FormatError: Nothing can be sealed to the key of that node.
    """
    node_id, public = to
    content = {
        "v": _VERSION,
        "keystore": to_base64(bundle.keystore),
        "password": to_base64(bundle.password.reveal()),
        "records": to_base64(bundle.records),
    }
    info = _info(own.installation_id, occasion, public)
    message = hpke.seal(public.sealing, SecretBytes(_CONTENT.dumps(content)), info=info)
    told = _told(own.installation_id, (own.node_id, node_id), occasion, message)
    return SealedBundle(occasion, own.node_id, message, told.signature(own.signing))


def parse(data: bytes) -> SealedBundle:
    """The bundle of an entry; neither its signature is checked nor its content opened.

    Raises:
        FormatError: The entry is damaged.
    """
    fields = _KIND.loads(data)
    fields.check_version("format", FORMAT)
    names = ("change_id", "generation", "present", "by", "message", "signature")
    fields.check_names(("format", *names))
    present = fields.inner("present")
    present.check_names(("digest", "epoch"))
    digest = bytes.fromhex(present.hexadecimal("digest", 32))
    occasion = Occasion(
        fields.id("change_id"),
        fields.number("generation", least=1),
        Point(present.number("epoch", least=1), digest),
    )
    by = check_node_id(fields.text("by"))
    return SealedBundle(occasion, by, fields.raw("message"), fields.raw("signature"))


def _told(
    installation_id: str, nodes: tuple[str, str], occasion: Occasion, message: bytes
) -> Statement:
    payload = said.of_key_bundle(*nodes, occasion.change_id, occasion.generation, message)
    return Statement(Purpose.KEY_BUNDLE, Origin(installation_id), payload)


def _info(installation_id: str, occasion: Occasion, public: NodePublic) -> bytes:
    return (
        labels.KEY_BUNDLE
        + id_bytes(installation_id)
        + id_bytes(occasion.change_id)
        + occasion.generation.to_bytes(8, "big")
        + occasion.present.number.to_bytes(8, "big")
        + occasion.present.digest
        + hashlib.sha256(public.signing + public.sealing).digest()
    )
