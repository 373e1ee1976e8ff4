"""The KMS store as a value: serialising, parsing and authenticating it (docs/format/kms-store.md 5); pure.

The store holds the wraps of the RMK and the MEKs, which are sealed under the RMK, and a MAC by the RMK over everything. It
follows from the store before it (`links`), its MEKs are ordered by numbers, and closed stores are references. Whoever
writes to the configuration could change a parsed store, so it is a claim until `open_ring` has verified the MAC. Before
that, only its wraps may be used, and only to get the RMK.
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple, Protocol

from strongroom.canonical import ASCII, Fields, Kind, to_base64
from strongroom.crypto import signing
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import IntegrityError, StateError
from strongroom.ids import InstallationId, MekId, RmkId
from strongroom.kms import closed_stores, links, numbered_meks, wrap_records
from strongroom.kms.closed_stores import MAX_CLOSED, ClosedStore
from strongroom.kms.keyring import KeyRing
from strongroom.kms.keys import Rmk
from strongroom.kms.links import MAX_LINKS, Continuity, Known, Link, Reason
from strongroom.kms.numbered_meks import NumberedMek
from strongroom.kms.states import MekState
from strongroom.roots.base import Context, WrapRecord
from strongroom.roots.registry import MODES, RECIPIENT_KINDS

VERSION = 2
MAX_BYTES = 3 << 20
MAX_MEKS = 4096
MAX_WRAPS = 32
MAX_WRAP_BYTES = 8 << 10
KIND = Kind(
    "the KMS store",
    ASCII,
    MAX_BYTES,
    hint="restore the KMS store from a backup of the data directory",
)
_MEMBERS = (
    "epoch",
    "former",
    "installation",
    "links",
    "mac",
    "meks",
    "mode",
    "rmk",
    "sequence",
    "v",
)


class SealedStore(Protocol):
    """Loads the store's bytes: the value of `kms.persistent_store`, decrypted by the configuration key."""

    def version(self) -> int:
        """A number that changes with every change of the bytes."""
        ...

    def recent_version(self) -> int:
        """The number of `version` as it was some seconds ago at most; cheap, since every use of a key asks for it.

        Raises:
            CoordinationError: The coordination service has not answered for longer than that.
        """
        ...

    def load(self) -> tuple[bytes, int]:
        """The bytes and their version."""
        ...


@dataclass(frozen=True)
class KmsStore:
    """The store as a value (5.2).

    Attributes:
        epoch: The number of this state of the store, from 1.
        installation_id: The installation.
        mode: The KMS mode.
        rmk_id: The id of the RMK.
        rmk_created_at: When the RMK was made.
        successor: The public half of the key that signs the next store.
        wraps: The wraps of the RMK; the first is that of the mode's root.
        meks: The MEKs, by their numbers.
        sequence: The highest number that a MEK ever had here.
        former: References to closed stores.
        links: The last links, the newest last.
        mac: The MAC under the RMK.
    """

    epoch: int
    installation_id: InstallationId
    mode: str
    rmk_id: RmkId
    rmk_created_at: str
    wraps: tuple[WrapRecord, ...]
    successor: bytes = b""
    meks: tuple[NumberedMek, ...] = ()
    sequence: int = 0
    former: tuple[ClosedStore, ...] = ()
    links: tuple[Link, ...] = ()
    mac: bytes = b""

    def rmk(self, material: SecretBytes) -> Rmk:
        """The RMK of this store, made of the material that a root unwrapped."""
        return Rmk(self.rmk_id, self.installation_id, material)

    def open_ring(self, rmk: Rmk) -> KeyRing:
        """Verify the MAC, then open every MEK (5.7).

        Raises:
            IntegrityError: The RMK is another one, or the store was changed.
            FormatError: The store is authentic and breaks a rule of its MEKs.
        """
        if not hmac.compare_digest(_mac(self, rmk), self.mac):
            raise IntegrityError("the MAC of the KMS store does not fit")
        return KeyRing(tuple(numbered_meks.unwrapped(item, rmk) for item in self.meks))

    def known(self, raw: bytes) -> Known:
        """The facts by which a later store is compared with this one, whose bytes these are."""
        return Known(self.epoch, digest(raw), self.successor)

    def continuity(self, known: Known, raw: bytes) -> Continuity:
        """Whether this store, whose bytes these are, follows from a known one (6.4)."""
        return links.continuity(known, self.known(raw), self.links, self.installation_id)

    @property
    def active_mek_id(self) -> MekId:
        """The id of the active MEK; a claim until the MAC is verified."""
        return next(mek.id for mek in self.meks if mek.state is MekState.ENCRYPT_OR_DECRYPT)

    @property
    def recipients(self) -> tuple[str, ...]:
        """The recovery recipients for which the RMK is wrapped (docs/format/recovery.md)."""
        kinds = RECIPIENT_KINDS
        return tuple(dict.fromkeys(w.root_key_id for w in self.wraps if w.kind in kinds))

    @property
    def numbers(self) -> Mapping[str, int]:
        """The numbers of the MEKs by their ids."""
        return {mek.id: mek.sequence for mek in self.meks}


class Predecessor(NamedTuple):
    """The store before a new one.

    Attributes:
        epoch: The epoch of that store.
        raw: The bytes of that store, of either format.
        rmk: The RMK of that store; None if nothing opens it.
        links: The links of that store; empty for a store of format 1.
    """

    epoch: int
    raw: bytes
    rmk: Rmk | None
    links: tuple[Link, ...] = ()


def first(draft: KmsStore, ring: KeyRing, rmk: Rmk) -> KmsStore:
    """The first store of an installation, with these MEKs and without a link."""
    return _authenticated(replace(_with_ring(draft, ring, rmk), epoch=1, links=()), rmk)


def succeeding(
    draft: KmsStore,
    ring: KeyRing,
    rmk: Rmk,
    before: Predecessor,
    reason: Reason = Reason.CHANGED,
) -> KmsStore:
    """The store after another one, with these MEKs, linked to it (6).

    Args:
        draft: The new store as far as it is decided: mode, wraps, closed stores, and the numbers of known MEKs.
        ring: The MEKs.
        rmk: The RMK of the new store.
        before: The store before.
        reason: The reason; only `CHANGED` is signed.

    Raises:
        StateError: The store before is to sign and its RMK is not there, or it is not to sign and is.
    """
    signs = reason is Reason.CHANGED
    if signs != (before.rmk is not None):
        raise StateError(f"a KMS store that is {reason} cannot be linked to the one before it so")
    made = replace(_with_ring(draft, ring, rmk), epoch=before.epoch + 1)
    link = Link(made.epoch, digest(before.raw), "", made.successor, reason)
    kept = before.links[-(MAX_LINKS - 1) :]
    made = replace(made, links=(*kept, link))
    link = link._replace(body=_body(made))
    if before.rmk is not None:
        link = links.signed(link, before.rmk)
    return _authenticated(replace(made, links=(*kept, link)), rmk)


def check_room(store: KmsStore, *, meks: int = 0, wraps: int = 0) -> None:
    """Refuse a change that would pass a bound; asked before any root is (5.6; findings B2).

    Args:
        store: The present store.
        meks: How many MEKs the change adds.
        wraps: How many wraps the change adds.

    Raises:
        StateError: The store would have more than it may.
    """
    if len(store.meks) + meks > MAX_MEKS:
        raise StateError(
            f"the KMS store has {len(store.meks)} MEKs, and no more than {MAX_MEKS} have room",
            hint="retire MEKs that nothing needs: 'tsm security kms usage', 'tsm security kms retire'",
        )
    if len(store.wraps) + wraps > MAX_WRAPS:
        raise StateError(
            f"the RMK has {len(store.wraps)} wraps, and no more than {MAX_WRAPS} have room",
            hint="see 'tsm security kms roots list'",
        )


def digest(raw: bytes) -> str:
    """SHA-256 of the bytes of a store, in hexadecimal digits."""
    return hashlib.sha256(raw).hexdigest()


def serialize(store: KmsStore) -> bytes:
    """The canonical bytes."""
    return KIND.dumps({**_fields(store), "mac": to_base64(store.mac)})


def parse(raw: bytes) -> KmsStore:
    """Parse the bytes of a store: version and bounds first, then what binds its parts to it (5.3 to 5.6, 6.1).

    Raises:
        FormatError: The bytes are no store, or of another version, beyond a bound, or contradict themselves.
    """
    fields = KIND.loads(raw)
    fields.check_version("v", VERSION)
    fields.check_names(_MEMBERS)
    rmk = fields.inner("rmk")
    rmk.check_names(("id", "created_at", "successor", "wraps"))
    for inside, name, words, most in (
        (fields, "meks", "MEKs", MAX_MEKS),
        (rmk, "wraps", "wraps", MAX_WRAPS),
        (fields, "former", "former stores", MAX_CLOSED),
        (fields, "links", "links", MAX_LINKS),
    ):
        inside.check_count(name, words, most)
    if fields.value("mode") not in MODES:
        raise fields.refused("its mode is not known here")
    store = KmsStore(
        epoch=fields.number("epoch", least=1),
        installation_id=InstallationId(fields.id("installation")),
        mode=fields.text("mode"),
        rmk_id=RmkId(rmk.id("id")),
        rmk_created_at=rmk.time("created_at"),
        successor=rmk.raw("successor"),
        wraps=tuple(map(_read_wrap, rmk.objects("wraps"))),
        meks=tuple(map(numbered_meks.read, fields.objects("meks"))),
        sequence=fields.number("sequence"),
        former=tuple(map(closed_stores.read, fields.objects("former"))),
        links=tuple(map(links.read, fields.objects("links"))),
        mac=fields.raw("mac"),
    )
    _check(store, fields)
    return store


def _check(store: KmsStore, fields: Fields) -> None:
    if not store.wraps:
        raise fields.refused("it has no wrap")
    for wrap in store.wraps:
        context = Context(store.installation_id, store.rmk_id, wrap.id)
        if wrap.context != context.pairs():
            raise fields.refused("a wrap in it belongs to another store")  # 5.4
    if len(store.successor) != signing.PUBLIC_BYTES:
        raise fields.refused("its successor key has another length")
    numbers = [0, *(mek.sequence for mek in store.meks), store.sequence + 1]
    if any(one >= other for one, other in pairwise(numbers)):
        raise fields.refused("the numbers of its MEKs do not grow")
    links.check_links(store.links, store.epoch, fields)
    if store.links and (
        store.links[-1].body != _body(store) or store.links[-1].key != store.successor
    ):
        raise fields.refused("its last link is one of another store")


def _with_ring(draft: KmsStore, ring: KeyRing, rmk: Rmk) -> KmsStore:
    """The draft with the MEKs of a ring; those without a number get the next ones, in the order of the ring (5.5)."""
    numbers = dict(draft.numbers)
    sequence = draft.sequence
    for mek in ring:
        if mek.id not in numbers:
            sequence += 1
            numbers[mek.id] = sequence
    made = (numbered_meks.wrapped(mek, numbers[mek.id], rmk) for mek in ring)
    return replace(
        draft,
        successor=links.successor_key(rmk).public,
        meks=tuple(sorted(made, key=lambda mek: mek.sequence)),
        sequence=sequence,
    )


def _authenticated(store: KmsStore, rmk: Rmk) -> KmsStore:
    return replace(store, mac=_mac(store, rmk))


def _mac(store: KmsStore, rmk: Rmk) -> bytes:
    """The MAC over all members of the store except the MAC itself (5.7)."""
    key = rmk.linked_mac_key().reveal()
    return hmac.digest(key, KIND.dumps(_fields(store)), hashlib.sha256)


def _body(store: KmsStore) -> str:
    """SHA-256 of the store without its MAC and without body and signature of its last link (6.1)."""
    *others, last = store.links
    bare = replace(store, links=(*others, last._replace(body="", signature=b"")))
    return digest(KIND.dumps(_fields(bare)))


def _read_wrap(item: Fields) -> WrapRecord:
    wrap = wrap_records.read(item)
    if len(KIND.dumps(wrap_records.fields(wrap))) > MAX_WRAP_BYTES:
        raise item.refused(f"a wrap in it has more than {MAX_WRAP_BYTES} bytes")
    return wrap


def _fields(store: KmsStore) -> dict[str, object]:
    return {
        "epoch": store.epoch,
        "former": [closed_stores.fields(one) for one in store.former],
        "installation": store.installation_id,
        "links": [links.fields(link) for link in store.links],
        "meks": [numbered_meks.fields(mek) for mek in store.meks],
        "mode": store.mode,
        "rmk": {
            "created_at": store.rmk_created_at,
            "id": store.rmk_id,
            "successor": to_base64(store.successor),
            "wraps": [wrap_records.fields(wrap) for wrap in store.wraps],
        },
        "sequence": store.sequence,
        "v": VERSION,
    }
