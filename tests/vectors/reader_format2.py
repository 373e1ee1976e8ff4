"""Opens the formats of version 2 from docs/format alone, as `reader` opens those of version 1: nothing of ours is imported."""

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tests.vectors.reader import (
    Keys,
    Kms,
    Means,
    canonical,
    check_equal,
    check_members,
    id_of,
    loaded,
    mac,
    pairs,
    raw,
    recipient_key,
    rmk_of,
    subkey,
    unbase64,
)
from tests.vectors.reader import kms as kms_1
from tests.vectors.reader_pkcs12 import RefusedError

# ---- seals.md ----------------------------------------------------------------------------------------


def unsealed(key: bytes, sealed: bytes, label: str, fields: Sequence[bytes]) -> bytes:
    """What a seal of format 2 holds (1)."""
    if len(sealed) < 80:
        raise RefusedError("too short for a seal")
    salt, commitment, ciphertext = sealed[:32], sealed[32:64], sealed[64:]
    info = label.encode() + b"\0" + bytes([len(fields)])
    for field in fields:
        info += len(field).to_bytes(4, "big") + field
    okm = HKDF(hashes.SHA256(), 76, salt=salt, info=info).derive(key)
    if not hmac.compare_digest(okm[44:], commitment):
        raise RefusedError("the commitment does not fit")
    try:
        return AESGCM(okm[:32]).decrypt(okm[32:44], ciphertext, None)
    except InvalidTag as error:
        raise RefusedError("the tag does not fit") from error


def secret(text: str, parameter: str, installation: str, keys: Keys) -> bytes:
    """The value of an `ENC(…)` text of version 2 (2)."""
    if not (text.startswith("ENC(") and text.endswith(")")):
        raise RefusedError("no ENC text")
    payload = unbase64(text[4:-1])
    if payload[0] != 2:
        raise RefusedError("another version")
    fields = (raw(installation), payload[1:17], parameter.encode())
    return unsealed(keys[id_of(payload[1:17])], payload[17:], "strongroom/v2/seal/enc", fields)


# ---- entries.md --------------------------------------------------------------------------------------


class Proving(NamedTuple):
    """What the configuration-key records say: installation, generation, the active key, and the next one."""

    installation: str
    generation: int
    active: str
    keys: Mapping[str, bytes]
    next: str = ""


def entry(value: bytes, name: str, version: int, by: Proving) -> bytes:
    """The payload of an entry (1, 2)."""
    if value[:4] != b"SRE2" or len(value) < 100:
        raise RefusedError("no entry of format 2")
    installation, key_id = value[4:20], value[20:36]
    generation, base = (int.from_bytes(value[at : at + 8], "big") for at in (36, 44))
    if installation != raw(by.installation) or base + 1 != version:
        raise RefusedError("of another installation or version")
    named = id_of(key_id)
    active = named == by.active and generation <= by.generation
    coming = named == by.next and generation == by.generation
    if not (active or coming):
        raise RefusedError("of another key or generation")
    own = subkey(by.keys[named], "strongroom/v2/entry-mac", installation, key_id)
    told = len(name.encode()).to_bytes(4, "big") + name.encode() + value[4:68] + value[100:]
    check_equal(mac(own, told), value[68:100], "the MAC")
    return value[100:]


# ---- configuration.md, pending-changes.md ------------------------------------------------------------


def configuration(data: bytes, previous: bytes | None) -> Any:
    """The configuration document, compared with its predecessor if that is kept (configuration.md 1, entries.md 3.1)."""
    document = loaded(data, escaped=False)
    if document["format"] != "strongroom-configuration-2":
        raise RefusedError("another format")
    check_members(
        document,
        "format version installation_id configuration_key_id values before pending_floor",
    )
    if previous is not None:
        digest = hashlib.sha256(previous).hexdigest()
        check_equal(digest.encode(), str(document["before"]).encode(), "the predecessor")
    return document


def pending(data: bytes, document: Any, keys: Keys) -> Any:
    """The pending changes, and the version that they began at (pending-changes.md 2 to 4)."""
    if data[:4] != b"SRPC" or data[4] != 2:
        raise RefusedError("another magic or format")
    base, number = (int.from_bytes(data[at : at + 8], "big") for at in (21, 29))
    if number <= document["pending_floor"] or base > document["version"]:
        raise RefusedError("of another time")
    fields = (raw(document["installation_id"]), data[5:21], data[21:29], data[29:37])
    key, label = keys[id_of(data[5:21])], "strongroom/v2/seal/pending"
    opened = loaded(unsealed(key, data[37:], label, fields), escaped=False)
    check_members(opened, "changes")
    return opened["changes"], base


def rotation(data: bytes, installation: str, keys: Keys) -> dict[str, bytes]:
    """The new values of a rotation under way (rotation-journal.md 2)."""
    journal = loaded(data, escaped=False)
    if journal["format"] != "strongroom-rotation-2":
        raise RefusedError("another format")
    check_members(
        journal,
        "format consumer run step new old new_logins old_logins attempts not_before problem document",
    )
    return {name: secret(text, name, installation, keys) for name, text in journal["new"].items()}


# ---- configuration-keys.md 1 to 4 --------------------------------------------------------------------


def key_records(data: bytes, masters: Mapping[str, bytes], newest: str) -> tuple[Any, Keys]:
    """The records of format 2, and the configuration keys that the master keys open."""
    document = _records(data)
    installation = raw(document["installation_id"])
    told = canonical({name: one for name, one in document.items() if name != "mac"}, escaped=True)
    own = subkey(masters[newest], "strongroom/v2/records-mac", installation)
    check_equal(mac(own, told), unbase64(document["mac"]), "the MAC")
    found = {}
    for record in document["keys"]:
        check_members(record, "id created_at wraps")
        for wrap in record["wraps"]:
            check_members(wrap, "id kind name wrapped")
            if wrap["kind"] == "master-key" and wrap["name"] in masters:
                place = (installation, raw(record["id"]), raw(wrap["id"]))
                found[record["id"]] = unsealed(
                    masters[wrap["name"]],
                    unbase64(wrap["wrapped"]),
                    "strongroom/v2/seal/configuration-key",
                    place,
                )
    if document["active"] not in found or document["next"] == document["active"]:
        raise RefusedError("the active key has no record, or is the next one")
    return document, found


def key_records_for(data: bytes, identity: str) -> tuple[Any, Keys]:
    """The same of the second copy, by a recovery identity; nothing here proves where the copy is from (recovery.md 4)."""
    document, found = _records(data), {}
    installation = raw(document["installation_id"])
    for record in document["keys"]:
        for wrap in record["wraps"]:
            key = recipient_key(wrap, (installation, raw(record["id"]), raw(wrap["id"])), identity)
            if key:
                found[record["id"]] = key
    return document, found


def _records(data: bytes) -> Any:
    document = loaded(data, escaped=True, end=b"\n")
    if document["format"] != 2:
        raise RefusedError("another format")
    check_members(document, "active floors format generation installation_id keys mac next")
    check_members(document["floors"], "entries kms recipients records")
    return document


# ---- kms-store.md 5 to 7 -----------------------------------------------------------------------------


def kms(data: bytes, by: Means) -> Kms:
    """A KMS store of either format, opened by whatever is at hand, with its MAC checked (5)."""
    store = loaded(data, escaped=True)
    if store["v"] == 1:
        return kms_1(data, by)
    if store["v"] != 2:
        raise RefusedError("another version")
    check_members(store, "epoch former installation links mac meks mode rmk sequence v")
    check_members(store["rmk"], "created_at id successor wraps")
    installation, rmk_id = store["installation"], store["rmk"]["id"]
    for wrap in store["rmk"]["wraps"]:
        if wrap["context"] != {"installation": installation, "rmk": rmk_id, "wrap": wrap["id"]}:
            raise RefusedError("a wrap of another store")
    found = (rmk_of_wrap(wrap, by) for wrap in store["rmk"]["wraps"])
    rmk = by.rmk or next(filter(None, found), b"")
    if not rmk:
        raise RefusedError("nothing opens the RMK")
    place = (raw(installation), raw(rmk_id))
    told = canonical({name: one for name, one in store.items() if name != "mac"}, escaped=True)
    own = subkey(rmk, "strongroom/v2/kms/mac", *place)
    check_equal(mac(own, told), unbase64(store["mac"]), "the MAC")
    numbers = [0, *(mek["sequence"] for mek in store["meks"]), store["sequence"] + 1]
    if numbers != sorted(set(numbers)):
        raise RefusedError("the numbers do not grow")
    meks = {
        mek["id"]: unsealed(
            rmk, unbase64(mek["wrapped"]), "strongroom/v2/seal/mek", (*place, raw(mek["id"]))
        )
        for mek in store["meks"]
    }
    active = [mek["id"] for mek in store["meks"] if mek["state"] == "encrypt or decrypt"]
    if len(active) != 1:
        raise RefusedError("not one MEK encrypts")
    return Kms(installation, rmk_id, rmk, meks, active[0], store)


def rmk_of_wrap(wrap: Any, by: Means) -> bytes:
    """The RMK of one wrap record, with its version (5.4); empty if nothing at hand opens it."""
    if wrap["v"] not in {1, 2}:
        raise RefusedError("another version of a wrap")
    bound = tuple(raw(wrap["context"][name]) for name in ("installation", "rmk", "wrap"))
    if wrap["v"] == 1 or wrap["kind"] in {"age", "shares"}:
        return rmk_of(wrap, by)
    if wrap["kind"] == "local":
        key, blob = by.keys.get(wrap["root_key_id"]), unbase64(wrap["blob"])
        return unsealed(key, blob, "strongroom/v2/seal/root-local", bound) if key else b""
    given = by.outside(wrap, pairs(wrap["context"])) if by.outside else b""
    if not given or wrap["form"] == "direct":
        return given
    return unsealed(given, unbase64(wrap["inner"]), "strongroom/v2/seal/root-indirect", bound)


def follows(data: bytes, before: bytes, before_key: bytes) -> None:
    """Refuse a store that does not follow from one before, whose successor key is given (6)."""
    store = loaded(data, escaped=True)
    links = store["links"]
    *others, last = links
    bare = [*others, {**last, "body": "", "signature": ""}]
    told = {name: one for name, one in store.items() if name != "mac"}
    body = hashlib.sha256(canonical({**told, "links": bare}, escaped=True)).hexdigest()
    successor = store["rmk"]["successor"]
    if (last["body"], last["key"], last["epoch"]) != (body, successor, store["epoch"]):
        raise RefusedError("the last link is of another store")
    epoch = loaded(before, escaped=True)["epoch"]
    since = [link for link in links if link["epoch"] > epoch]
    if not since or since[0]["digest"] != hashlib.sha256(before).hexdigest():
        raise RefusedError("no link leads back")
    key = before_key
    for link in since:
        message = b"strongroom/v2/kms/succeeds" + raw(store["installation"])
        message += link["epoch"].to_bytes(8, "big") + bytes.fromhex(link["digest"])
        message += bytes.fromhex(link["body"]) + unbase64(link["key"])
        check_signed(key, message, unbase64(link["signature"]))
        key = unbase64(link["key"])


def check_signed(public: bytes, message: bytes, signature: bytes) -> None:
    """Refuse what an Ed25519 key has not signed."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except InvalidSignature as error:
        raise RefusedError("the signature does not fit") from error


def successor_key(opened: Kms) -> bytes:
    """The public half of the successor key of an RMK (6.2)."""
    place = (raw(opened.installation), raw(opened.rmk_id))
    seed = subkey(opened.rmk, "strongroom/v2/kms/successor", *place)
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def closed(payload: bytes, reference: Any, installation: str, keys: Keys) -> bytes:
    """A closed store of a reference (7.1)."""
    digest, key_id = bytes.fromhex(reference["digest"]), id_of(payload[:16])
    if key_id not in keys:
        raise RefusedError("of another key")
    bound = (raw(installation), payload[:16], digest)
    store = unsealed(keys[key_id], payload[16:], "strongroom/v2/seal/former", bound)
    check_equal(hashlib.sha256(store).digest(), digest, "the digest")
    if len(store) != reference["length"]:
        raise RefusedError("another length")
    return store


# ---- anchor.md ---------------------------------------------------------------------------------------


def anchor(data: bytes) -> Any:
    """The document (1)."""
    found = loaded(data, escaped=True)
    if found["v"] != 2:
        raise RefusedError("another version")
    check_members(found, "at document entries kms logs n records registry repository v")
    if found["kms"] is not None:
        check_members(found["kms"], "accepted digest epoch successor")
        if found["kms"]["accepted"] is not None:
            check_members(found["kms"]["accepted"], "digest epoch successor")
    for log in found["logs"].values():
        check_members(log, "nodes size")
        if len(log["nodes"]) != log["size"].bit_count():
            raise RefusedError("a tree has another size")
    return found


def anchor_row(row: bytes, installation: str, keys: Keys) -> Any:
    """The document of a row of the repository (2.2)."""
    key_id = id_of(row[:16])
    if key_id not in keys:
        raise RefusedError("of another key")
    own = subkey(keys[key_id], "strongroom/v2/anchor", raw(installation), row[:16])
    check_equal(mac(own, row[48:]), row[16:48], "the MAC")
    return anchor(row[48:])


def log_anchor(row: bytes, installation: str, keys: Keys) -> Any:
    """The trees over the lines of event logs, by a row of the repository (5)."""
    key_id = id_of(row[:16])
    if key_id not in keys:
        raise RefusedError("of another key")
    own = subkey(keys[key_id], "strongroom/v2/log-anchor", raw(installation), row[:16])
    check_equal(mac(own, row[48:]), row[16:48], "the MAC")
    found = loaded(row[48:], escaped=True)
    check_members(found, "at logs v")
    if found["v"] != 1:
        raise RefusedError("another version")
    for log in found["logs"].values():
        check_members(log, "nodes size")
    return found["logs"]


# ---- statements.md -----------------------------------------------------------------------------------


def statement(data: bytes, public: bytes, installation: str, purpose: str) -> bytes:
    """The payload of a signed statement (1)."""
    head = purpose.encode() + b"\0" + raw(installation) + bytes(16)
    if not data.startswith(head):
        raise RefusedError("of another purpose, installation or incarnation")
    told, signature = data[:-64], data[-64:]
    payload = told[len(head) + 4 :]
    if told[len(head) :][:4] != len(payload).to_bytes(4, "big"):
        raise RefusedError("another length")
    check_signed(public, b"strongroom/v2/signed/" + told, signature)
    return payload


def fingerprint(public: bytes) -> str:
    """The fingerprint of an identity (2)."""
    digest = hashlib.sha256(b"strongroom/v2/identity" + public).digest()
    letters = base64.b32encode(digest).decode()[:20].lower()
    return "-".join(letters[at : at + 4] for at in range(0, 20, 4))
