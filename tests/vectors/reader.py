"""Opens every stored format of strongroom, from docs/format alone.

Nothing of strongroom's own is imported: the standard library, `cryptography` and pyrage. Whoever holds the keys can thus
get at everything without the product, and a page from which this could not be written lacks something. Each function
names its page. It reads strictly where the page says MUST, and writes nothing.
"""

import base64
import hashlib
import hmac
import json
import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pyrage
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tests.vectors.reader_age import open_with_passphrase
from tests.vectors.reader_envelope_2 import is_format_2, opened_header
from tests.vectors.reader_pkcs12 import RefusedError, open_keystore

NIL = "00000000-0000-0000-0000-000000000000"
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
Keys = Mapping[str, bytes]
"""Keys by their ids."""


# ---- primitives.md -----------------------------------------------------------------------------------


def canonical(value: object, *, escaped: bool, end: bytes = b"") -> bytes:
    """The one spelling of a value (1)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=escaped)
    return text.encode() + end


def loaded(data: bytes, *, escaped: bool, end: bytes = b"") -> Any:
    """The value of canonical JSON; another spelling is refused (1.1)."""
    try:
        value = json.loads(data)
    except ValueError as error:
        raise RefusedError("no JSON") from error
    if not isinstance(value, dict) or canonical(value, escaped=escaped, end=end) != data:
        raise RefusedError("not canonical")
    return value


def check_members(found: Mapping[str, object], names: str) -> None:
    """Refuse members that are missing or not known."""
    if set(found) != set(names.split()):
        raise RefusedError(f"other members than {names}")


def raw(identifier: str) -> bytes:
    """The 16 bytes of an id (2)."""
    if not _ID.fullmatch(identifier):
        raise RefusedError("no id")
    return bytes.fromhex(identifier.replace("-", ""))


def id_of(data: bytes) -> str:
    """The id of 16 bytes (2)."""
    return "-".join((data[:4].hex(), data[4:6].hex(), data[6:8].hex(), data[8:10].hex(), data[10:].hex()))  # fmt: skip


def unbase64(text: str) -> bytes:
    """The bytes of a text (4.1)."""
    data = base64.b64decode(text, validate=True)
    if base64.b64encode(data).decode() != text:
        raise RefusedError("no canonical base64")
    return data


def subkey(key: bytes, label: str, *fields: bytes, salt: bytes | None = None) -> bytes:
    """The subkey of a label and its fields (5)."""
    info = label.encode() + b"".join(fields)
    return HKDF(hashes.SHA256(), 32, salt=salt, info=info).derive(key)


def unsealed(key: bytes, sealed: bytes, label: str, *fields: bytes) -> bytes:
    """What a seal holds: nonce, ciphertext, tag (6.1)."""
    try:
        return AESGCM(key).decrypt(sealed[:12], sealed[12:], label.encode() + b"".join(fields))
    except (InvalidTag, ValueError) as error:
        raise RefusedError("it does not open") from error


def pairs(context: Mapping[str, str]) -> bytes:
    """Pairs as bytes (6.3)."""
    texts = (text.encode() for pair in sorted(context.items()) for text in pair)
    return b"".join(len(text).to_bytes(4, "big") + text for text in texts)


def mac(key: bytes, data: bytes) -> bytes:
    """HMAC-SHA256 (6.6)."""
    return hmac.digest(key, data, hashlib.sha256)


def check_equal(one: bytes, other: bytes, what: str) -> None:
    """Refuse what a MAC or digest does not fit."""
    if not hmac.compare_digest(one, other):
        raise RefusedError(f"{what} does not fit")


def unaged(sealed: bytes, *, identity: str = "", passphrase: str = "") -> bytes:
    """What a binary age file holds (6.7)."""
    if passphrase:
        return open_with_passphrase(sealed, passphrase)
    try:
        return bytes(pyrage.decrypt(sealed, [pyrage.x25519.Identity.from_str(identity)]))
    except pyrage.DecryptError as error:
        raise RefusedError("it does not open") from error


# ---- coordination.md, configuration.md, enc.md -------------------------------------------------------


def entries(database: Path) -> dict[str, bytes]:
    """The values of a coordination database by key (coordination.md 1)."""
    return {key: value for key, (_, value) in stored_entries(database).items()}


def stored_entries(database: Path) -> dict[str, tuple[int, bytes]]:
    """The versions and values of a coordination database by key (coordination.md 1)."""
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    try:
        rows = connection.execute("SELECT key, version, value, digest FROM entries").fetchall()
    finally:
        connection.close()
    for key, version, value, digest in rows:
        over = key.encode() + b"\0" + str(version).encode() + b"\0" + value
        check_equal(hashlib.sha256(over).digest(), digest, f"the digest of {key}")
    return {key: (version, value) for key, version, value, _ in rows}


def configuration(data: bytes) -> Any:
    """The configuration document (configuration.md 1)."""
    document = loaded(data, escaped=False)
    if document["format"] != "strongroom-configuration-1":
        raise RefusedError("another format")
    check_members(document, "format version installation_id configuration_key_id values")
    return document


def secret(text: str, parameter: str, keys: Keys) -> bytes:
    """The value of an `ENC(…)` text (enc.md)."""
    if not (text.startswith("ENC(") and text.endswith(")")):
        raise RefusedError("no ENC text")
    payload = unbase64(text[4:-1])
    if payload[0] != 1 or len(payload) < 45:
        raise RefusedError("another version")
    key = subkey(keys[id_of(payload[1:17])], "strongroom/v1/enc")
    bound = (payload[:1], payload[1:17], parameter.encode())
    return unsealed(key, payload[17:], "strongroom/v1/enc", *bound)


def pending(data: bytes, installation: str, keys: Keys) -> Any:
    """The pending changes, and the version that they began at (pending-changes.md 2, 3)."""
    if data[:4] != b"SRPC" or data[4] != 1:
        raise RefusedError("another magic or format")
    key = subkey(keys[id_of(data[5:21])], "strongroom/v1/pending")
    bound = (data[4:5], raw(installation), data[5:21], data[21:29])
    opened = loaded(unsealed(key, data[29:], "strongroom/v1/pending", *bound), escaped=False)
    check_members(opened, "changes")
    return opened["changes"], int.from_bytes(data[21:29], "big")


# ---- configuration-keys.md, recovery.md --------------------------------------------------------------


def configuration_keys(
    data: bytes, *, masters: Keys | None = None, identity: str = ""
) -> dict[str, bytes]:
    """The configuration keys, by master keys of a keystore or by the identity of a recipient."""
    document = loaded(data, escaped=True, end=b"\n")
    if document["format"] != 1:
        raise RefusedError("another format")
    check_members(document, "checksum format installation_id keys")
    checked = canonical({k: v for k, v in document.items() if k != "checksum"}, escaped=True)
    digest = hashlib.sha256(checked).hexdigest()
    check_equal(digest.encode(), document["checksum"].encode(), "the checksum")
    installation, found = raw(document["installation_id"]), {}
    for record in document["keys"]:
        check_members(record, "id created_at state wraps")
        for wrap in record["wraps"]:
            check_members(wrap, "id kind name wrapped")
            bound = (installation, raw(record["id"]), raw(wrap["id"]))
            if key := _configuration_key(wrap, bound, masters or {}, identity):
                found[record["id"]] = key
    return found


def _configuration_key(
    wrap: Mapping[str, str], bound: tuple[bytes, ...], masters: Keys, identity: str
) -> bytes:
    if wrap["kind"] == "master-key" and wrap["name"] in masters:
        key = subkey(masters[wrap["name"]], "strongroom/v1/configuration-key-wrap")
        return unsealed(key, unbase64(wrap["wrapped"]), "strongroom/v1/configuration-key", *bound)
    return recipient_key(wrap, bound, identity)


def recipient_key(wrap: Mapping[str, str], bound: tuple[bytes, ...], identity: str) -> bytes:
    """The configuration key of a wrap for a recovery recipient; empty if it is none of this identity."""
    if wrap["kind"] != "recipient" or not identity or not _is_for(wrap["name"], identity):
        return b""
    label = "strongroom/v1/recovery/configuration-key"
    return recovered(unbase64(wrap["wrapped"]), identity, label, *bound)


def recovered(sealed: bytes, identity: str, label: str, *bound: bytes) -> bytes:
    """A key that is wrapped for a recovery recipient (recovery.md 1)."""
    opened = unaged(sealed, identity=identity)
    check_equal(opened[:-32], label.encode() + b"".join(bound), "the context")
    return opened[-32:]


def _is_for(recipient: str, identity: str) -> bool:
    return str(pyrage.x25519.Identity.from_str(identity).to_public()) == recipient


# ---- kms-store.md ------------------------------------------------------------------------------------


class Kms(NamedTuple):
    """An opened KMS store."""

    installation: str
    rmk_id: str
    rmk: bytes
    meks: dict[str, bytes]
    active: str
    store: Any


Open = Callable[[Any, bytes], bytes]
"""Gives what a root outside has of a wrap record, and the pairs: the RMK, or the data key of an indirect record."""


class Means(NamedTuple):
    """What the RMK of a KMS store may be opened with."""

    keys: Keys = MappingProxyType({})
    identity: str = ""
    outside: Open | None = None
    rmk: bytes = b""


def kms(data: bytes, by: Means) -> Kms:
    """The KMS store, opened by whatever is at hand, with its MAC checked."""
    store = loaded(data, escaped=True)
    if store["v"] != 1:
        raise RefusedError("another version")
    check_members(store, "v epoch installation mode rmk meks former mac")
    check_members(store["rmk"], "id created_at wraps")
    installation, rmk_id = store["installation"], store["rmk"]["id"]
    for wrap in store["rmk"]["wraps"]:
        if wrap["context"] != {"installation": installation, "rmk": rmk_id, "wrap": wrap["id"]}:
            raise RefusedError("a wrap of another store")
    found = (rmk_of(wrap, by) for wrap in store["rmk"]["wraps"])
    rmk = by.rmk or next(filter(None, found), b"")
    if not rmk:
        raise RefusedError("nothing opens the RMK")
    place = (raw(installation), raw(rmk_id))
    told = canonical({key: one for key, one in store.items() if key != "mac"}, escaped=True)
    mac_key = subkey(rmk, "strongroom/v1/kms/mac", *place)
    check_equal(mac(mac_key, told), unbase64(store["mac"]), "the MAC")
    kek = subkey(rmk, "strongroom/v1/kms/mek-wrap", *place)
    meks = {
        mek["id"]: unsealed(
            kek, unbase64(mek["wrapped"]), "strongroom/v1/kms/mek", *place, raw(mek["id"])
        )
        for mek in store["meks"]
    }
    states = [mek["id"] for mek in store["meks"] if mek["state"] == "encrypt or decrypt"]
    if len(states) != 1 or {mek["state"] for mek in store["meks"]} - {
        "encrypt or decrypt",
        "decrypt-only",
    }:
        raise RefusedError("states that cannot be")
    return Kms(installation, rmk_id, rmk, meks, states[0], store)


def rmk_of(wrap: Any, by: Means) -> bytes:
    """The RMK of one wrap record (3); empty if nothing at hand opens it."""
    blob = unbase64(wrap["blob"])
    bound = tuple(raw(wrap["context"][name]) for name in ("installation", "rmk", "wrap"))
    if wrap["kind"] == "local":
        if wrap["root_key_id"] not in by.keys:
            return b""
        key = subkey(by.keys[wrap["root_key_id"]], "strongroom/v1/root/local")
        return unsealed(key, blob, "strongroom/v1/root/local", *bound)
    if wrap["kind"] in {"age", "shares"}:
        if not by.identity or not _is_for(wrap["root_key_id"], by.identity):
            return b""
        return recovered(blob, by.identity, "strongroom/v1/recovery/rmk", *bound)
    given = by.outside(wrap, pairs(wrap["context"])) if by.outside else b""
    if not given or wrap["form"] == "direct":
        return given
    key = subkey(given, "strongroom/v1/root/indirect")
    inner = unbase64(wrap["inner"])
    return unsealed(key, inner, "strongroom/v1/root/indirect", pairs(wrap["context"]))


# ---- envelope.md, envelope-2.md -------------------------------------------------------------------------------------


def envelope(
    data: bytes, meks: Keys, *, site: str = NIL, extract: str = NIL, dek: bytes = b""
) -> bytes:
    """The plaintext of an encrypted file that belongs to this extract; of none, if none is named."""
    place = raw(site) + raw(extract)
    if is_format_2(data):
        by_bytes = {raw(mek_id): mek for mek_id, mek in meks.items()}
        found = opened_header(data, by_bytes, place, dek)
        return b"".join(_segments(found.context, found.segment, found.body, found.dek))
    page, body = data[:4096], data[4096:]
    prelude, sectors = page[:64], (page[512:1024], page[1024:1536])
    if len(page) < 4096 or prelude[:8] != b"\x89STRONG\n" or prelude[8:12] != b"\0\1\0\1":
        raise RefusedError("no envelope of format 1 and suite 1")
    segment = int.from_bytes(prelude[12:16], "big")
    if not 4096 <= segment <= 4194304 or segment & (segment - 1):
        raise RefusedError("a segment size that is not allowed")
    if any(page[64:512]) or any(page[1536:]):
        raise RefusedError("bytes where zeros must be")
    slots = [sector for sector in sectors if _is_intact(sector)]
    if not slots:
        raise RefusedError("no intact slot")
    slots.sort(key=lambda slot: -int.from_bytes(slot[:8], "big"))
    dek = dek or next(filter(None, (_dek(slot, prelude, place, meks) for slot in slots)), b"")
    if not dek:
        raise RefusedError("no slot opens")
    context = hashlib.sha256(b"strongroom/v1/body" + prelude[8:]).digest()
    return b"".join(_segments(context, segment, body, dek))


def _is_intact(sector: bytes) -> bool:
    """Whether a slot is there and whole (3.4, 3.5)."""
    if not any(sector) or any(sector[10:16]) or any(sector[160:]):
        return False
    if int.from_bytes(sector[156:160], "big") != _crc32c(sector[:156]):
        return False
    if sector[8:10] != b"\0\1" or not any(sector[:8]):
        raise RefusedError("a slot of another algorithm, or of sequence 0")
    return True


def _crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def _dek(slot: bytes, prelude: bytes, place: bytes, meks: Keys) -> bytes:
    """The data key of a slot; empty if it does not open (3.1, 3.2, 2.5)."""
    mek = meks.get(id_of(slot[16:32]))
    if mek is None or slot[32:64] != place:
        return b""
    key = subkey(mek, "strongroom/v1/slot", salt=slot[64:96])
    bound = (prelude, slot[:8], slot[8:10], slot[16:32], slot[32:64])
    try:
        dek = unsealed(key, slot[96:156], "strongroom/v1/slot", *bound)
    except RefusedError:
        return b""
    commitment = subkey(dek, "strongroom/v1/commit", prelude[16:32])
    return dek if hmac.compare_digest(commitment, prelude[32:]) else b""


def _segments(context: bytes, segment: int, body: bytes, dek: bytes) -> Iterator[bytes]:
    """The plaintext of each segment (4; envelope-2.md 4)."""
    if len(body) < 56 or body[0] != 40:
        raise RefusedError("no stream header, or nothing behind it")
    cipher = AESGCM(HKDF(hashes.SHA256(), 32, salt=body[1:33], info=context).derive(dek))
    count = -(-len(body) // segment)
    for index in range(count):
        piece = body[max(index * segment, 40) : (index + 1) * segment]
        last = index == count - 1
        if len(piece) < (17 if index else 16):
            raise RefusedError("a length that no plaintext gives")
        nonce = body[33:40] + index.to_bytes(4, "big") + bytes([last])
        try:
            yield cipher.decrypt(nonce, piece, b"")
        except InvalidTag as error:
            raise RefusedError("a segment does not open") from error


# ---- asset-keys.md, root-settings.md, settings.md ----------------------------------------------------


def asset_keys(data: bytes) -> dict[str, bytes]:
    """The asset keys of a ring (asset-keys.md 1)."""
    ring = loaded(data, escaped=True)
    if ring["v"] != 1:
        raise RefusedError("another version")
    check_members(ring, "active keys v")
    return {one["id"]: unbase64(one["key"]) for one in ring["keys"]}


def credential(row: Mapping[str, str], assets: Keys) -> bytes:
    """A credential of the table `credentials` (asset-keys.md 2)."""
    key_id = row["asset_key_id"]
    key = subkey(assets[key_id], "strongroom/v1/asset")
    bound = (raw(key_id), raw(row["content_id"]))
    return unsealed(key, unbase64(row["sealed"]), "strongroom/v1/asset", *bound)


def root_settings(data: bytes) -> Any:
    """How to reach the roots (root-settings.md 1)."""
    found = loaded(data, escaped=True)
    if found["v"] != 1:
        raise RefusedError("another version")
    return found["roots"]


def settings(data: bytes, *, passphrase: str = "", identity: str = "") -> dict[str, str]:
    """The values of exported settings, sealed or not (settings.md 1, 3)."""
    sealed = data.startswith(b"age-encryption.org/v1\n")
    text = unaged(data, passphrase=passphrase, identity=identity) if sealed else data
    members: dict[str, dict[str, str]] = json.loads(text)
    if set(members) - {"configEntities", "configKeys", "topologyVersion"}:
        raise RefusedError("another member")
    return members["configKeys"]


# ---- a whole node ------------------------------------------------------------------------------------


class Opened(NamedTuple):
    """Everything of a data directory that its keys open."""

    keys: dict[str, bytes]
    document: Any
    secrets: dict[str, bytes]
    kms: Kms
    entries: dict[str, bytes]


def node(home: Path, by: Means) -> Opened:
    """A node by its keystore, or by a recovery identity from the second copy of the records."""
    top = home / "tabsvc"
    if by.identity:
        records = (top / "recovery/configuration_keys.json").read_bytes()
        keys = configuration_keys(records, identity=by.identity)
    else:
        [place] = top.glob("config/tabadmincontroller_*/tabsvc/keystores")
        password = (top / "keystore/password").read_bytes().strip()
        masters = open_keystore((place / "tableauserver.jks").read_bytes(), password)
        records = (place / "configuration_keys.json").read_bytes()
        keys = configuration_keys(records, masters=masters)
    found = entries(top / "coordination/coordination.db")
    document = configuration(found["config"])
    secrets = {
        name: secret(text, name, keys)
        for name, text in document["values"].items()
        if text.startswith("ENC(")
    }
    store = secrets["kms.persistent_store"]
    opened = kms(store, by if by.identity else by._replace(keys=keys))
    return Opened(keys, document, secrets, opened, found)
