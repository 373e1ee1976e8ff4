"""The KMS store as a value: serialising, parsing and authenticating it (docs/format/kms-store.md); pure.

The store holds the wraps of the RMK and the MEKs, which are wrapped by the RMK, and a MAC by the RMK over everything.
Whoever writes to the configuration could change a parsed store, so it is a claim until `open_ring` has verified the
MAC. Before that, only its wraps may be used, and only to get the RMK (2.3).
"""

import hashlib
import hmac
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from strongroom.canonical import ASCII, Fields, Kind, to_base64
from strongroom.clock import format_utc, parse_utc
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import IntegrityError
from strongroom.ids import InstallationId, MekId, RmkId
from strongroom.kms import wrap_records
from strongroom.kms.keyring import KeyRing
from strongroom.kms.keys import Mek, Rmk, unwrap_mek, wrap_mek
from strongroom.kms.states import MekState
from strongroom.roots.base import Context, WrapRecord
from strongroom.roots.registry import MODES, RECIPIENT_KINDS

VERSION = 1
MAX_BYTES = 1 << 20
MAX_MEKS = 4096
MAX_WRAPS = 32
MAX_FORMER = 16
KIND = Kind(
    "the KMS store",
    ASCII,
    MAX_BYTES,
    hint="restore kms.persistent_store from a backup of the data directory",
)
_MEMBERS = frozenset(["v", "epoch", "installation", "mode", "rmk", "meks", "former", "mac"])
_RMK_MEMBERS = frozenset(["id", "created_at", "wraps"])


class SealedStore(Protocol):
    """Loads the store's bytes: the value of `kms.persistent_store`, decrypted by the configuration key."""

    def version(self) -> int:
        """A number that changes with every change of the bytes; cheap, since every use of a key asks for it."""
        ...

    def load(self) -> tuple[bytes, int]:
        """The bytes and their version."""
        ...


@dataclass(frozen=True)
class WrappedMek:
    """A MEK as the store holds it; times and state are claims until the MAC is verified."""

    id: MekId
    state: MekState
    created_at: str
    encrypting_since: str | None
    decrypt_only_since: str | None
    wrapped: bytes


@dataclass(frozen=True)
class KmsStore:
    """The store as a value (1.2)."""

    epoch: int
    installation_id: InstallationId
    mode: str
    rmk_id: RmkId
    rmk_created_at: str
    wraps: tuple[WrapRecord, ...]
    meks: tuple[WrappedMek, ...]
    former: tuple[bytes, ...] = ()
    mac: bytes = b""

    def rmk(self, material: SecretBytes) -> Rmk:
        """The RMK of this store, made of the material that a root unwrapped."""
        return Rmk(self.rmk_id, self.installation_id, material)

    def open_ring(self, rmk: Rmk) -> KeyRing:
        """Verify the MAC, then open every MEK (2.2, 2.3).

        Raises:
            IntegrityError: The RMK is another one, or the store was changed.
            FormatError: The store is authentic and breaks a rule of 1.4.
        """
        expected = _mac(self, rmk)
        if not hmac.compare_digest(expected, self.mac):
            raise IntegrityError
        wrap_key = rmk.wrap_key()
        return KeyRing(tuple(_open_mek(item, rmk, wrap_key) for item in self.meks))

    @property
    def active_mek_id(self) -> MekId:
        """The id of the active MEK; a claim until the MAC is verified."""
        return next(mek.id for mek in self.meks if mek.state is MekState.ENCRYPT_OR_DECRYPT)

    @property
    def recipients(self) -> tuple[str, ...]:
        """The recovery recipients for which the RMK is wrapped (docs/format/recovery.md)."""
        kinds = RECIPIENT_KINDS
        return tuple(dict.fromkeys(w.root_key_id for w in self.wraps if w.kind in kinds))

    def former_mek_ids(self) -> tuple[str, ...]:
        """Ids of MEKs that only closed stores have, shown as unavailable; unauthenticated until they are adopted."""
        closed = dict.fromkeys(mek.id for raw in self.former for mek in parse(raw).meks)
        own = {mek.id for mek in self.meks}
        return tuple(mek_id for mek_id in closed if mek_id not in own)


def seal_ring(store: KmsStore, ring: KeyRing, rmk: Rmk) -> KmsStore:
    """The store with the MEKs of this ring, wrapped and authenticated by this RMK."""
    wrap_key = rmk.wrap_key()
    meks = tuple(_wrap_mek(mek, rmk, wrap_key) for mek in ring)
    sealed = replace(store, meks=meks)
    return replace(sealed, mac=_mac(sealed, rmk))


def serialize(store: KmsStore) -> bytes:
    """The canonical bytes (1.1)."""
    return KIND.dumps({**_fields(store), "mac": to_base64(store.mac)})


def digest(raw: bytes) -> str:
    """SHA-256 of the bytes, hexadecimal (4.3)."""
    return hashlib.sha256(raw).hexdigest()


def parse(raw: bytes) -> KmsStore:
    """Parse the bytes of a store: version and bounds first (1.2, 1.5), then states and times (1.4).

    Raises:
        FormatError: The bytes are no store, or of an unknown version, beyond a bound, or not canonical.
    """
    fields = KIND.loads(raw)
    fields.check_version("v", VERSION)
    fields.check_names(_MEMBERS)
    rmk = fields.inner("rmk")
    rmk.check_names(_RMK_MEMBERS)
    fields.check_count("meks", "MEKs", MAX_MEKS)
    rmk.check_count("wraps", "wraps", MAX_WRAPS)
    fields.check_count("former", "former stores", MAX_FORMER)
    if fields.value("mode") not in MODES:
        raise fields.refused("its mode is not known here")
    wraps = tuple(map(wrap_records.read, rmk.objects("wraps")))
    if not wraps:
        raise fields.refused("it has no wrap")
    installation, rmk_id = fields.id("installation"), rmk.id("id")
    if any(one.context != Context(installation, rmk_id, one.id).pairs() for one in wraps):
        raise fields.refused("a wrap in it belongs to another store")  # 1.3
    return KmsStore(
        epoch=fields.number("epoch", least=1),
        installation_id=InstallationId(installation),
        mode=fields.text("mode"),
        rmk_id=RmkId(rmk_id),
        rmk_created_at=rmk.time("created_at"),
        wraps=wraps,
        meks=tuple(map(_read_mek, fields.objects("meks"))),
        former=fields.raws("former"),
        mac=fields.raw("mac"),
    )


def _read_mek(item: Fields) -> WrappedMek:
    item.check_names(WrappedMek.__annotations__)
    state = item.one_of("state", MekState)
    if state is MekState.UNAVAILABLE:
        raise item.refused("a MEK in it is unavailable")
    return WrappedMek(
        id=MekId(item.id("id")),
        state=state,
        created_at=item.time("created_at"),
        encrypting_since=item.optional("encrypting_since", Fields.time),
        decrypt_only_since=item.optional("decrypt_only_since", Fields.time),
        wrapped=item.raw("wrapped"),
    )


def _fields(store: KmsStore) -> dict[str, object]:
    return {
        "v": VERSION,
        "epoch": store.epoch,
        "installation": store.installation_id,
        "mode": store.mode,
        "rmk": {
            "id": store.rmk_id,
            "created_at": store.rmk_created_at,
            "wraps": [wrap_records.fields(wrap) for wrap in store.wraps],
        },
        "meks": [_mek_fields(mek) for mek in store.meks],
        "former": [to_base64(raw) for raw in store.former],
    }


def _mek_fields(mek: WrappedMek) -> dict[str, object]:
    return {
        "id": mek.id,
        "state": mek.state.value,
        "created_at": mek.created_at,
        "encrypting_since": mek.encrypting_since,
        "decrypt_only_since": mek.decrypt_only_since,
        "wrapped": to_base64(mek.wrapped),
    }


def _mac(store: KmsStore, rmk: Rmk) -> bytes:
    """The MAC over all members of the store except the MAC itself (2.3)."""
    return hmac.digest(rmk.mac_key().reveal(), KIND.dumps(_fields(store)), hashlib.sha256)


def _open_mek(item: WrappedMek, rmk: Rmk, wrap_key: SecretBytes) -> Mek:
    return Mek(
        id=item.id,
        state=item.state,
        created_at=parse_utc(item.created_at),
        encrypting_since=moment(item.encrypting_since),
        decrypt_only_since=moment(item.decrypt_only_since),
        material=unwrap_mek(item.id, item.wrapped, rmk, wrap_key),
    )


def _wrap_mek(mek: Mek, rmk: Rmk, wrap_key: SecretBytes) -> WrappedMek:
    return WrappedMek(
        id=mek.id,
        state=mek.state,
        created_at=format_utc(mek.created_at),
        encrypting_since=moment_text(mek.encrypting_since),
        decrypt_only_since=moment_text(mek.decrypt_only_since),
        wrapped=wrap_mek(mek, rmk, wrap_key),
    )


def moment(text: str | None) -> datetime | None:
    """The moment of a text, if there is one."""
    return None if text is None else parse_utc(text)


def moment_text(when: datetime | None) -> str | None:
    """The text of a moment, if there is one."""
    return None if when is None else format_utc(when)
