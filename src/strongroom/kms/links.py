"""Continuity of KMS stores: each store is signed by a key of the one before it (docs/format/kms-store.md 6); pure.

The key is derived from the RMK of the store before, so whoever holds the configuration key alone cannot make a successor.
A store keeps its last links, so that a process that has missed some stores can still follow from the one it knows.
"""

from enum import StrEnum
from itertools import pairwise
from typing import NamedTuple

from strongroom.canonical import Fields, to_base64
from strongroom.crypto import labels, signing
from strongroom.crypto.signing import SigningKey
from strongroom.errors import IntegrityError
from strongroom.ids import id_bytes
from strongroom.kms.keys import Rmk

MAX_LINKS = 64
_MAX_EPOCH = 2**63 - 1
_MEMBERS = ("body", "digest", "epoch", "key", "reason", "signature")


class Reason(StrEnum):
    """The reasons for which a store follows another one."""

    CHANGED = "changed"
    #: Nothing opened the store before, and it was left behind: nothing signs this one, and an administrator must accept it.
    ABANDONED = "abandoned"


class Link(NamedTuple):
    """The statement that a store follows another one.

    Attributes:
        epoch: The epoch of the store.
        digest: SHA-256 of the bytes of the store before, in hexadecimal digits.
        body: SHA-256 of the store without this digest, the signature and the MAC, in hexadecimal digits.
        key: The public half of the store's successor key, which signs the store after it.
        reason: The reason of the change.
        signature: The signature by the successor key of the store before; empty if its RMK was not there.
    """

    epoch: int
    digest: str
    body: str
    key: bytes
    reason: Reason
    signature: bytes = b""

    @property
    def is_break(self) -> bool:
        """Whether the store says itself that the one before could not sign it."""
        return self.reason is not Reason.CHANGED

    def message(self, installation_id: str) -> bytes:
        """The bytes that are signed (6.3)."""
        return (
            labels.KMS_SUCCEEDS
            + id_bytes(installation_id)
            + self.epoch.to_bytes(8, "big")
            + bytes.fromhex(self.digest)
            + bytes.fromhex(self.body)
            + self.key
        )

    def is_signed_by(self, public: bytes, installation_id: str) -> bool:
        """Whether the successor key of the store before has signed this link."""
        try:
            signing.verify(public, self.message(installation_id), self.signature)
        except IntegrityError:
            return False
        return True


class Known(NamedTuple):
    """A store that a process has proved once, or that the anchor names.

    Attributes:
        epoch: The epoch of that store.
        digest: SHA-256 of its bytes, in hexadecimal digits.
        key: The public half of its successor key.
    """

    epoch: int
    digest: str
    key: bytes


class Continuity(StrEnum):
    """The relation of a store to one that is known."""

    SAME = "same"
    FOLLOWS = "follows"
    #: The store itself says that it was made without the RMK before it.
    BROKEN = "broken"
    #: More stores came between than the store keeps links of, or it was made by a stranger.
    UNCONNECTED = "unconnected"
    FORGED = "forged"
    DIFFERENT = "different"
    BEHIND = "behind"

    @property
    def is_proved(self) -> bool:
        """Whether the store may be used; every other one is red until an administrator accepts it."""
        return self in {Continuity.SAME, Continuity.FOLLOWS}


def newest(known: Known, accepted: Known | None) -> Known:
    """The store from which a later one must follow: the known one, or one that an administrator accepted since (6.5)."""
    return accepted if accepted and accepted.epoch > known.epoch else known


def successor_key(rmk: Rmk) -> SigningKey:
    """The key of an RMK that signs the store after one of this RMK (6.2)."""
    return SigningKey(rmk.successor_seed())


def signed(link: Link, by: Rmk) -> Link:
    """A link signed by the RMK of the store before."""
    return link._replace(signature=successor_key(by).sign(link.message(by.installation_id)))


def check_links(links: tuple[Link, ...], epoch: int, refuse: Fields) -> None:
    """Refuse links that contradict each other or the store's epoch (6.1).

    Args:
        links: The links of a store.
        epoch: The epoch of that store.
        refuse: The members of that store, for the error.

    Raises:
        FormatError: The epochs do not grow up to the store's, the first store has links or another one has none, or a
            link has a signature where it says that it has none.
    """
    epochs = [link.epoch for link in links]
    grow = all(one < other for one, other in pairwise(epochs))
    if (epochs[-1:] or [1])[0] != epoch or not grow:
        raise refuse.refused("its links do not lead to its epoch")
    if any(link.is_break == bool(link.signature) for link in links):
        raise refuse.refused("a link in it is signed and says that it is not, or the reverse")


def continuity(
    known: Known, present: Known, links: tuple[Link, ...], installation_id: str
) -> Continuity:
    """Whether a store follows from a known one (6.4).

    Args:
        known: The known store.
        present: The store in question.
        links: The links of the store in question, the last of which has its body and its key.
        installation_id: The installation of both.
    """
    if present.epoch == known.epoch:
        return Continuity.SAME if present == known else Continuity.DIFFERENT
    if present.epoch < known.epoch:
        return Continuity.BEHIND
    since = [link for link in links if link.epoch > known.epoch]
    if since[0].digest != known.digest:
        return Continuity.UNCONNECTED
    key = known.key
    for link in since:
        if link.is_break:
            return Continuity.BROKEN
        if not link.is_signed_by(key, installation_id):
            return Continuity.FORGED
        key = link.key
    return Continuity.FOLLOWS


def fields(link: Link) -> dict[str, object]:
    """The members of a link."""
    return {
        "body": link.body,
        "digest": link.digest,
        "epoch": link.epoch,
        "key": to_base64(link.key),
        "reason": link.reason.value,
        "signature": to_base64(link.signature),
    }


def read(item: Fields) -> Link:
    """The link of these members.

    Raises:
        FormatError: A member is missing, unknown, or of another type or length.
    """
    item.check_names(_MEMBERS)
    link = Link(
        epoch=item.number("epoch", least=2),
        digest=item.hexadecimal("digest", 32),
        body=item.hexadecimal("body", 32),
        key=item.raw("key"),
        reason=item.one_of("reason", Reason),
        signature=item.raw("signature"),
    )
    if len(link.key) != signing.PUBLIC_BYTES or link.epoch > _MAX_EPOCH:
        raise item.refused("a link in it has a key or an epoch of another length")
    return link
