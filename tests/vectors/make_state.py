"""Makes the vectors of entries, configuration-key records, KMS stores, anchors and statements of format 2.

Salts and keys are fresh, so a new run gives other bytes that mean the same; run it only when a format changes:
`python -m tests.vectors.make_state` writes entries.json, key_records.json, linked_store.json, anchor.json, statements.json.
"""

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from strongroom.configuration_keys import generations
from strongroom.configuration_keys.generations import KeyRecords
from strongroom.configuration_keys.records import ConfigurationKeyRecord, ConfigurationKeyState
from strongroom.coordination.anchor import Anchor, LogPoint, StorePoint
from strongroom.coordination.entries import Author, EntryKey
from strongroom.coordination.floors import Point
from strongroom.crypto import fingerprint, said
from strongroom.crypto.secret import SecretBytes
from strongroom.crypto.signing import SigningKey
from strongroom.crypto.statements import Origin, Purpose, Statement
from strongroom.keystore.master_key import Keystore
from strongroom.keystore.pkcs12 import SecretKeyEntry
from strongroom.kms import closed_stores
from strongroom.kms import store as kms_store
from tests.support import linked_stores

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
IDS = [f"00000000-0000-4000-8000-{number:012d}" for number in range(1, 6)]
INSTALLATION, KEY_ID, NEXT_ID, CHANGE_ID, OTHER_ID = IDS
KEY, NEXT = (SecretBytes(bytes(range(at, at + 32))) for at in (0, 1))
MASTER = SecretKeyEntry("master-key-1", SecretBytes(bytes(range(2, 34))), NOW)


def _flipped(data: bytes, at: int) -> bytes:
    at %= len(data)
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def entries() -> dict[str, Any]:
    """Entries under the active and the next key, and changes of one of them."""
    active = Author(INSTALLATION, 5, EntryKey(KEY_ID, KEY))
    coming = Author(INSTALLATION, 6, EntryKey(NEXT_ID, NEXT))
    good = [
        {
            "name": name,
            "version": base + 1,
            "payload": payload.hex(),
            "value": author.make(name, payload, base_version=base, change_id=CHANGE_ID).hex(),
        }
        for author, name, base, payload in (
            (active, "config", 6, b'{"version":7}'),
            (active, "journal/rotation/redis.password", 0, b""),
            (coming, "config", 7, b'{"version":8}'),
        )
    ]
    first = good[0]
    value = bytes.fromhex(str(first["value"]))
    stranger = Author(OTHER_ID, 5, EntryKey(KEY_ID, KEY))
    beyond = Author(INSTALLATION, 7, EntryKey(KEY_ID, KEY))
    unknown = Author(INSTALLATION, 5, EntryKey(OTHER_ID, KEY))
    early = Author(INSTALLATION, 5, EntryKey(NEXT_ID, NEXT))
    bad: list[dict[str, Any]] = [
        {"why": "another name", **first, "name": "pending"},
        {"why": "another version", **first, "version": 8},
        {"why": "without the MAC", **first, "value": first["payload"]},
        {"why": "cut", **first, "value": value[:99].hex()},
    ]
    bad += [
        {"why": f"changed {why}", **first, "value": _flipped(value, at).hex()}
        for why, at in (("generation", 43), ("change id", 52), ("MAC", 68), ("payload", -1))
    ]
    bad += [
        {
            "why": why,
            **first,
            "value": author.make("config", b"{}", base_version=6, change_id=CHANGE_ID).hex(),
        }
        for why, author in (
            ("another installation", stranger),
            ("a generation to come", beyond),
            ("another key", unknown),
            ("the next key too early", early),
        )
    ]
    return {
        "installation": INSTALLATION,
        "generation": 6,
        "active": KEY_ID,
        "next": NEXT_ID,
        "keys": {KEY_ID: KEY.reveal().hex(), NEXT_ID: NEXT.reveal().hex()},
        "good": good,
        "bad": bad,
    }


def key_records() -> dict[str, Any]:
    """Records with an active and a next key."""
    made = [
        ConfigurationKeyRecord(
            key_id,
            NOW,
            ConfigurationKeyState.DECRYPT_ONLY,
            (generations.wrap_key(INSTALLATION, key_id, key, MASTER.alias, MASTER.key),),
        )
        for key_id, key in ((KEY_ID, KEY), (NEXT_ID, NEXT))
    ]
    active = made[0]._replace(state=ConfigurationKeyState.ACTIVE)
    records = KeyRecords(INSTALLATION, KEY_ID, (active,)).with_floors(entries=2).with_next(made[1])
    text = generations.serialize(records, Keystore((MASTER,))).decode()
    changes = (
        ("the other key active", f'"active":"{KEY_ID}"', f'"active":"{NEXT_ID}"'),
        ("another generation", '"generation":3', '"generation":4'),
        ("a floor that sank", '"entries":2', '"entries":1'),
        ("no next key", f'"next":"{NEXT_ID}"', '"next":null'),
        ("format 1", '"format":2', '"format":1'),
    )
    return {
        "installation": INSTALLATION,
        "masters": {MASTER.alias: MASTER.key.reveal().hex()},
        "good": [
            {
                "records": text,
                "generation": 3,
                "keys": {KEY_ID: KEY.reveal().hex(), NEXT_ID: NEXT.reveal().hex()},
            }
        ],
        "bad": [{"why": why, "records": text.replace(old, new)} for why, old, new in changes],
    }


def stores() -> dict[str, Any]:
    """Three stores, each after the one before, and a closed store."""
    chain = [linked_stores.first(KEY, INSTALLATION, KEY_ID)]
    chain += [chain[0].rotated()]
    chain += [chain[1].without(chain[1].store.meks[0].id)]
    forger = linked_stores.first(KEY, INSTALLATION, KEY_ID)
    forged = kms_store.succeeding(
        forger.store, forger.ring, forger.rmk, chain[0].before._replace(rmk=forger.rmk)
    )
    reference = closed_stores.closed(chain[0].raw, 1)
    last = chain[2].raw.decode()
    moved = replace(chain[2].store, links=chain[1].store.links)
    return {
        "configuration_key": KEY.reveal().hex(),
        "configuration_key_id": KEY_ID,
        "chain": [
            {
                "store": one.raw.decode(),
                "rmk": one.rmk.material.reveal().hex(),
                "meks": {mek.id: mek.material.reveal().hex() for mek in one.ring},
                "active": one.ring.active.id,
                "successor": one.store.successor.hex(),
            }
            for one in chain
        ],
        "bad": [
            {"why": "epoch changed", "store": last.replace('"epoch":3', '"epoch":4')},
            {"why": "version 1", "store": last.replace('"v":2}', '"v":1}')},
            {"why": "state changed", "store": last.replace("encrypt or decrypt", "decrypt-only")},
            {"why": "number changed", "store": last.replace('"sequence":2', '"sequence":9')},
            {"why": "links of another store", "store": kms_store.serialize(moved).decode()},
            {"why": "white space", "store": last + " "},
        ],
        "forged": kms_store.serialize(forged).decode(),
        "closed": {
            "reference": closed_stores.fields(reference),
            "payload": reference.seal(chain[0].raw, INSTALLATION, KEY_ID, KEY).hex(),
        },
    }


def anchor() -> dict[str, Any]:
    """An anchor in both places."""
    digest = [hashlib.sha256(bytes([number])).digest() for number in range(6)]
    made = Anchor(
        number=9,
        at="2026-01-02T03:04:05Z",
        document=Point(7, digest[0]),
        entries={"config": Point(9, digest[1]), "kms/store": Point(3, digest[2])},
        kms=StorePoint(3, digest[3], bytes(range(32))),
        logs={"node1": LogPoint(41, (digest[4], digest[5], digest[0]))},
        records=Point(5, digest[5]),
        repository=8,
        accepted=StorePoint(2, digest[0], bytes(32)),
    )
    row = made.row(INSTALLATION, EntryKey(KEY_ID, KEY))
    other = made.row(OTHER_ID, EntryKey(KEY_ID, KEY))
    return {
        "installation": INSTALLATION,
        "keys": {KEY_ID: KEY.reveal().hex()},
        "document": made.serialize().decode(),
        "row": row.hex(),
        "bad": [
            {"why": "another installation", "row": other.hex()},
            {"why": "another key", "row": _flipped(row, 0).hex()},
            {"why": "changed MAC", "row": _flipped(row, 16).hex()},
            {"why": "changed document", "row": row.replace(b'"n":9', b'"n":8').hex()},
            {"why": "cut", "row": row[:40].hex()},
        ],
    }


def statements() -> dict[str, Any]:
    """A statement of each purpose by one key."""
    key = SigningKey(SecretBytes(bytes(range(32))))
    origin = Origin(INSTALLATION)
    node_keys = (b"\1" * 32, b"\2" * 32)
    asked = said.of_admission("node2", KEY_ID, key.public, node_keys, b"\3" * 32)
    payloads = {
        Purpose.WRAP_RMK: said.of_wrap(KEY_ID, NEXT_ID, b"wrap"),
        Purpose.WRAP_CONFIGURATION_KEY: said.of_wrap(KEY_ID, NEXT_ID, b"wrap"),
        Purpose.BOOTSTRAP: b'{"format":"strongroom-bootstrap-3"}\n',
        Purpose.MANIFEST: said.of_manifest(b"manifest"),
        Purpose.LOG_KEY: said.of_log_key("node1", key.public, 41),
        Purpose.IDENTITY: said.of_identity(key.public, bytes(32)),
        Purpose.ADMISSION: asked,
        Purpose.NODE_KEYS: asked,
        Purpose.WELCOME: said.of_welcome("node2", b"\4" * 32, b"sealed answer"),
        Purpose.REPORT: said.of_report("node2", b'{"at":"2026-11-30T06:00:00Z"}'),
        Purpose.ACKNOWLEDGEMENT: said.of_acknowledgement("node2", b'{"cause":""}'),
        Purpose.LOG_HEADS: said.of_log_heads("node2", b'{"lines":7}'),
        Purpose.KEY_BUNDLE: said.of_key_bundle("node1", "node2", KEY_ID, 7, b"sealed keys"),
        Purpose.CERTIFICATES: said.of_certificates("node2", b'{"certificates":[]}'),
        Purpose.SOFTWARE: said.of_software("node2", b'{"version":"0.2.0"}'),
        Purpose.DRAINED: said.of_drained("node2", b'{"epoch":7}'),
        Purpose.PREFLIGHT: said.of_preflight("node2", b'{"at":"2026-11-30T06:00:00Z","cause":""}'),
        Purpose.STAGE_DONE: said.of_stage_done("node2", KEY_ID, "in force"),
    }
    made = [Statement(purpose, origin, payload) for purpose, payload in payloads.items()]
    raw = made[0].signed(key)
    elsewhere = made[0]._replace(origin=Origin(OTHER_ID)).signed(key)
    copied = made[0]._replace(origin=Origin(INSTALLATION, OTHER_ID)).signed(key)
    other_purpose = b"manifest" + raw.removeprefix(b"wrap-rmk")
    return {
        "installation": INSTALLATION,
        "public": key.public.hex(),
        "fingerprint": fingerprint.of_identity(key.public),
        "good": [
            {
                "purpose": one.purpose.value,
                "payload": one.payload.hex(),
                "statement": one.signed(key).hex(),
            }
            for one in made
        ],
        "bad": [
            {"why": "another purpose", "purpose": "manifest", "statement": other_purpose.hex()},
            {"why": "not the purpose", "purpose": "manifest", "statement": raw.hex()},
            {"why": "another installation", "purpose": "wrap-rmk", "statement": elsewhere.hex()},
            {"why": "another incarnation", "purpose": "wrap-rmk", "statement": copied.hex()},
            {"why": "changed", "purpose": "wrap-rmk", "statement": _flipped(raw, 60).hex()},
            {"why": "signature", "purpose": "wrap-rmk", "statement": _flipped(raw, -1).hex()},
            {"why": "cut", "purpose": "wrap-rmk", "statement": raw[:-1].hex()},
        ],
    }


def main() -> None:
    """Write the vectors beside this module."""
    made = {
        "entries": entries(),
        "key_records": key_records(),
        "linked_store": stores(),
        "anchor": anchor(),
        "statements": statements(),
    }
    for name, vectors in made.items():
        path = Path(__file__).with_name(f"{name}.json")
        path.write_text(json.dumps(vectors, indent=1) + "\n")


if __name__ == "__main__":
    main()
