"""The KMS store: serialise, parse, authenticate (docs/format/kms-store.md); pure.

A parsed store is a claim until `open_ring` has checked its MAC; before that only its wraps may be
used (2.3).
"""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

from strongroom.clock import format_utc, parse_utc
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import FormatError, IntegrityError
from strongroom.ids import InstallationId, MekId, RmkId, is_id
from strongroom.kms.keyring import KeyRing
from strongroom.kms.keys import Mek, Rmk, unwrap_mek, wrap_mek
from strongroom.kms.states import MekState
from strongroom.roots.base import RECIPIENT_KINDS, WrapRecord

VERSION = 1
MAX_BYTES = 1 << 20
MAX_MEKS = 4096
MAX_WRAPS = 32
MAX_FORMER = 16
MODES = ("local", "aws", "azure", "openbao", "pkcs11", "gcp", "tpm")


class SealedStore(Protocol):
    """Where the store's bytes come from: `kms.persistent_store` with its ENC layer taken off."""

    def version(self) -> int:
        """A number that changes with every change of the bytes; cheap to ask."""
        ...

    def load(self) -> tuple[bytes, int]:
        """The bytes and their version."""
        ...


@dataclass(frozen=True)
class WrappedMek:
    """A MEK as the store holds it; times and state are claims until the MAC is checked."""

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
        """The RMK of this store with the material that a wrap gave."""
        return Rmk(self.rmk_id, self.installation_id, material)

    def open_ring(self, rmk: Rmk) -> KeyRing:
        """Check the MAC, then open every MEK (2.2, 2.3).

        Raises:
            IntegrityError: Wrong RMK, or the store was changed.
            FormatError: An authentic store that breaks a rule of 1.4.
        """
        expected = _mac(self, rmk)
        if not hmac.compare_digest(expected, self.mac):
            raise IntegrityError
        wrap_key = rmk.wrap_key()
        return KeyRing(tuple(_open_mek(item, rmk, wrap_key) for item in self.meks))

    @property
    def recipients(self) -> tuple[str, ...]:
        """The recovery recipients that the RMK is wrapped for (docs/format/recovery.md)."""
        kinds = RECIPIENT_KINDS
        return tuple(dict.fromkeys(w.root_key_id for w in self.wraps if w.kind in kinds))

    def former_mek_ids(self) -> tuple[str, ...]:
        """Ids in closed rings only, which show as unavailable; unauthenticated until adopted."""
        closed = dict.fromkeys(mek.id for raw in self.former for mek in parse(raw).meks)
        own = {mek.id for mek in self.meks}
        return tuple(mek_id for mek_id in closed if mek_id not in own)


def seal_ring(store: KmsStore, ring: KeyRing, rmk: Rmk) -> KmsStore:
    """The store with this ring wrapped under this RMK, authenticated."""
    wrap_key = rmk.wrap_key()
    meks = tuple(_wrap_mek(mek, rmk, wrap_key) for mek in ring)
    sealed = replace(store, meks=meks)
    return replace(sealed, mac=_mac(sealed, rmk))


def serialize(store: KmsStore) -> bytes:
    """The canonical bytes (1.1)."""
    return _canonical({**_fields(store), "mac": _b64(store.mac)})


def digest(raw: bytes) -> str:
    """SHA-256 of the bytes, hexadecimal (4.3)."""
    return hashlib.sha256(raw).hexdigest()


def parse(raw: bytes) -> KmsStore:
    """The store of its bytes; bounds and version come first (1.2, 1.5), states and times after (1.4).

    Raises:
        FormatError: Not a store, not a version known here, beyond a bound, or not canonical.
    """
    if len(raw) > MAX_BYTES:
        message = f"the KMS store has {len(raw)} bytes, more than {MAX_BYTES}"
        raise FormatError(message)
    try:
        document = json.loads(raw)
        store = _read(document)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        message = "the KMS store is damaged: it cannot be read"
        hint = "restore kms.persistent_store from a backup of the data directory"
        raise FormatError(message, hint=hint) from error
    # one form for each value: what is not canonical was not written by strongroom
    if serialize(store) != raw:
        message = "the KMS store is damaged: it is not in canonical form"
        raise FormatError(message)
    return store


def _read(document: Mapping[str, Any]) -> KmsStore:
    if document["v"] != VERSION:
        message = f"the KMS store has version {document['v']}, known here is {VERSION}"
        raise FormatError(message, hint="it was written by a newer strongroom")
    rmk = document["rmk"]
    _bound("MEKs", document["meks"], MAX_MEKS)
    _bound("wraps", rmk["wraps"], MAX_WRAPS)
    _bound("former stores", document["former"], MAX_FORMER)
    if document["mode"] not in MODES or not rmk["wraps"] or document["epoch"] < 1:
        raise ValueError(document["mode"])
    return KmsStore(
        epoch=document["epoch"],
        installation_id=InstallationId(_id(document["installation"])),
        mode=document["mode"],
        rmk_id=RmkId(_id(rmk["id"])),
        rmk_created_at=_time(rmk["created_at"]),
        wraps=tuple(_read_wrap(item) for item in rmk["wraps"]),
        meks=tuple(_read_mek(item) for item in document["meks"]),
        former=tuple(_bytes(item) for item in document["former"]),
        mac=_bytes(document["mac"]),
    )


def _read_wrap(item: Mapping[str, Any]) -> WrapRecord:
    return WrapRecord(
        id=_id(item["id"]),
        kind=item["kind"],
        form=item["form"],
        root_key_id=item["root_key_id"],
        region=item["region"],
        blob=_bytes(item["blob"]),
        inner=_bytes(item["inner"]),
        context=dict(item["context"]),
        added_at=_time(item["added_at"]),
        last_verified=_time(item["last_verified"]),
    )


def _read_mek(item: Mapping[str, Any]) -> WrappedMek:
    state = MekState(item["state"])
    if state is MekState.UNAVAILABLE:
        raise ValueError(state)
    return WrappedMek(
        id=MekId(_id(item["id"])),
        state=state,
        created_at=_time(item["created_at"]),
        encrypting_since=_optional_time(item["encrypting_since"]),
        decrypt_only_since=_optional_time(item["decrypt_only_since"]),
        wrapped=_bytes(item["wrapped"]),
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
            "wraps": [_wrap_fields(wrap) for wrap in store.wraps],
        },
        "meks": [_mek_fields(mek) for mek in store.meks],
        "former": [_b64(raw) for raw in store.former],
    }


def _wrap_fields(wrap: WrapRecord) -> dict[str, object]:
    return {
        "id": wrap.id,
        "kind": wrap.kind,
        "form": wrap.form,
        "root_key_id": wrap.root_key_id,
        "region": wrap.region,
        "blob": _b64(wrap.blob),
        "inner": _b64(wrap.inner),
        "context": dict(wrap.context),
        "added_at": wrap.added_at,
        "last_verified": wrap.last_verified,
    }


def _mek_fields(mek: WrappedMek) -> dict[str, object]:
    return {
        "id": mek.id,
        "state": mek.state.value,
        "created_at": mek.created_at,
        "encrypting_since": mek.encrypting_since,
        "decrypt_only_since": mek.decrypt_only_since,
        "wrapped": _b64(mek.wrapped),
    }


def _mac(store: KmsStore, rmk: Rmk) -> bytes:
    """Over all but itself (2.3)."""
    return hmac.digest(rmk.mac_key().reveal(), _canonical(_fields(store)), hashlib.sha256)


def _open_mek(item: WrappedMek, rmk: Rmk, wrap_key: SecretBytes) -> Mek:
    return Mek(
        id=item.id,
        state=item.state,
        created_at=parse_utc(item.created_at),
        encrypting_since=_moment(item.encrypting_since),
        decrypt_only_since=_moment(item.decrypt_only_since),
        material=unwrap_mek(item.id, item.wrapped, rmk, wrap_key),
    )


def _wrap_mek(mek: Mek, rmk: Rmk, wrap_key: SecretBytes) -> WrappedMek:
    return WrappedMek(
        id=mek.id,
        state=mek.state,
        created_at=format_utc(mek.created_at),
        encrypting_since=_text(mek.encrypting_since),
        decrypt_only_since=_text(mek.decrypt_only_since),
        wrapped=wrap_mek(mek, rmk, wrap_key),
    )


def _canonical(value: Mapping[str, object]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def _bound(what: str, items: list[object], limit: int) -> None:
    if len(items) > limit:
        message = f"the KMS store has {len(items)} {what}, more than {limit}"
        raise FormatError(message)


def _id(text: object) -> str:
    if not isinstance(text, str) or not is_id(text):
        raise ValueError(text)
    return text


def _time(text: str) -> str:
    parse_utc(text)
    return text


def _optional_time(text: str | None) -> str | None:
    return None if text is None else _time(text)


def _moment(text: str | None) -> datetime | None:
    return None if text is None else parse_utc(text)


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else format_utc(moment)


def _b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(text) from error
