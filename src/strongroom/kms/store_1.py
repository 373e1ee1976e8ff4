"""The KMS store of format 1 as a value, for reading (docs/format/kms-store.md 1 and 2); pure.

Such a store lies in a node before `strongroom upgrade`, in backups of earlier releases, and among closed stores. Nothing
writes one. It is a claim until `open_ring` has verified the MAC.
"""

import hashlib
import hmac
from dataclasses import dataclass

from strongroom.canonical import ASCII, Fields, Kind, to_base64
from strongroom.clock import parse_utc
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import IntegrityError
from strongroom.ids import InstallationId, MekId, RmkId
from strongroom.kms import wrap_records
from strongroom.kms.keyring import KeyRing
from strongroom.kms.keys import Mek, Rmk, unwrap_mek
from strongroom.kms.numbered_meks import moment
from strongroom.kms.states import MekState
from strongroom.roots.base import Context, WrapRecord
from strongroom.roots.registry import MODES

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
class KmsStore1:
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

    @property
    def active_mek_id(self) -> MekId:
        """The id of the active MEK; a claim until the MAC is verified."""
        return next(mek.id for mek in self.meks if mek.state is MekState.ENCRYPT_OR_DECRYPT)

    def rmk(self, material: SecretBytes) -> Rmk:
        """The RMK of this store, made of the material that a root unwrapped."""
        return Rmk(self.rmk_id, self.installation_id, material)

    def open_ring(self, rmk: Rmk) -> KeyRing:
        """Verify the MAC, then open every MEK (2.2, 2.3).

        Raises:
            IntegrityError: The RMK is another one, or the store was changed.
            FormatError: The store is authentic and breaks a rule of 1.4.
        """
        expected = hmac.digest(rmk.mac_key().reveal(), KIND.dumps(fields(self)), hashlib.sha256)
        if not hmac.compare_digest(expected, self.mac):
            raise IntegrityError("the MAC of the KMS store does not fit")
        wrap_key = rmk.wrap_key()
        return KeyRing(tuple(_open_mek(item, rmk, wrap_key) for item in self.meks))


def parse(raw: bytes) -> KmsStore1:
    """Parse the bytes of a store: version and bounds first (1.2, 1.5), then states and times (1.4).

    Raises:
        FormatError: The bytes are no store, or of an unknown version, beyond a bound, or not canonical.
    """
    found = KIND.loads(raw)
    found.check_version("v", VERSION)
    found.check_names(_MEMBERS)
    rmk = found.inner("rmk")
    rmk.check_names(_RMK_MEMBERS)
    found.check_count("meks", "MEKs", MAX_MEKS)
    rmk.check_count("wraps", "wraps", MAX_WRAPS)
    found.check_count("former", "former stores", MAX_FORMER)
    if found.value("mode") not in MODES:
        raise found.refused("its mode is not known here")
    wraps = tuple(map(wrap_records.read_1, rmk.objects("wraps")))
    if not wraps:
        raise found.refused("it has no wrap")
    installation, rmk_id = found.id("installation"), rmk.id("id")
    if any(one.context != Context(installation, rmk_id, one.id).pairs() for one in wraps):
        raise found.refused("a wrap in it belongs to another store")  # 1.3
    return KmsStore1(
        epoch=found.number("epoch", least=1),
        installation_id=InstallationId(installation),
        mode=found.text("mode"),
        rmk_id=RmkId(rmk_id),
        rmk_created_at=rmk.time("created_at"),
        wraps=wraps,
        meks=tuple(map(_read_mek, found.objects("meks"))),
        former=found.raws("former"),
        mac=found.raw("mac"),
    )


def fields(store: KmsStore1) -> dict[str, object]:
    """The members of a store without its MAC, which is over them (2.3)."""
    return {
        "v": VERSION,
        "epoch": store.epoch,
        "installation": store.installation_id,
        "mode": store.mode,
        "rmk": {
            "id": store.rmk_id,
            "created_at": store.rmk_created_at,
            "wraps": [wrap_records.fields_1(wrap) for wrap in store.wraps],
        },
        "meks": [_mek_fields(mek) for mek in store.meks],
        "former": [to_base64(raw) for raw in store.former],
    }


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


def _mek_fields(mek: WrappedMek) -> dict[str, object]:
    return {
        "id": mek.id,
        "state": mek.state.value,
        "created_at": mek.created_at,
        "encrypting_since": mek.encrypting_since,
        "decrypt_only_since": mek.decrypt_only_since,
        "wrapped": to_base64(mek.wrapped),
    }


def _open_mek(item: WrappedMek, rmk: Rmk, wrap_key: SecretBytes) -> Mek:
    return Mek(
        id=item.id,
        state=item.state,
        created_at=parse_utc(item.created_at),
        encrypting_since=moment(item.encrypting_since),
        decrypt_only_since=moment(item.decrypt_only_since),
        material=unwrap_mek(item.id, item.wrapped, rmk, wrap_key),
    )
