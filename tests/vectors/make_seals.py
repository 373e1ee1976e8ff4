"""Makes seals.json, the published vectors of docs/format/seals.md; salts are fixed, so each run gives the same bytes.

`python -m tests.vectors.make_seals > tests/vectors/seals.json`
"""

import hashlib
import json
import sys
from typing import Any

from strongroom.crypto import labels, places, seals
from strongroom.crypto.seals import Place
from strongroom.crypto.secret import SecretBytes
from strongroom.secrets.committed import ValueKey

IDS = [f"00000000-0000-4000-8000-{number:012d}" for number in range(1, 5)]
INSTALLATION, SECOND, THIRD, FOURTH = IDS
PLACES: dict[str, Place] = {
    "enc": places.of_value(INSTALLATION, SECOND, "redis.password"),
    "pending": places.of_pending(INSTALLATION, SECOND, 7, 12),
    "former": places.of_closed_store(INSTALLATION, SECOND, hashlib.sha256(b"store").digest()),
    "next-store": places.of_next_store(INSTALLATION, SECOND, THIRD),
    "configuration-key": places.of_configuration_key(INSTALLATION, SECOND, THIRD),
    "root-local": places.of_local_root(INSTALLATION, SECOND, THIRD),
    "root-indirect": places.of_indirect_root(INSTALLATION, SECOND, THIRD),
    "mek": places.of_mek(INSTALLATION, SECOND, THIRD),
    "asset": places.of_asset(INSTALLATION, SECOND, THIRD),
    "backup-assets": places.of_backup_assets(INSTALLATION, SECOND, THIRD),
    "backup-rmk": places.of_backup_rmk(INSTALLATION, SECOND, THIRD, FOURTH),
    "by-service-key": places.of_service_value(SECOND, 3, b"orders/17"),
    "by-derived-key": places.of_derived_value(SECOND, 3, b"tenant 5", b"orders/17"),
}
KEY = SecretBytes(bytes(range(32)))


def seal(name: str) -> dict[str, Any]:
    """The vector of one purpose."""
    place = PLACES[name]
    salt = hashlib.sha256(name.encode()).digest()
    plaintext = b"" if name == "pending" else f"the value of {name}".encode()
    return {
        "label": place.label.decode(),
        "fields": [field.hex() for field in place.fields],
        "plaintext": plaintext.hex(),
        "seal": seals.seal_with_salt(KEY, place, plaintext, salt=salt).hex(),
    }


def bad() -> list[dict[str, Any]]:
    """Changes of the first vector, each of which is refused."""
    first = seal("enc")
    sealed = bytearray.fromhex(first["seal"])
    changes: list[dict[str, Any]] = [
        {"why": "another label", **first, "label": labels.SEAL_FORMER.decode()},
        {"why": "another field", **first, "fields": [*first["fields"][:2], b"redis.host".hex()]},
        {"why": "two fields in one", **first, "fields": ["".join(first["fields"])]},
        {"why": "a field fewer", **first, "fields": first["fields"][:2]},
        {"why": "cut", **first, "seal": first["seal"][:-2]},
        {"why": "too short", **first, "seal": first["seal"][: 2 * 79]},
    ]
    for why, at in (("salt", 0), ("commitment", 32), ("ciphertext", 64), ("tag", -1)):
        changed = bytearray(sealed)
        changed[at] ^= 1
        changes.append({"why": f"another {why}", **first, "seal": changed.hex()})
    return changes


def main() -> None:
    """Print the vectors."""
    salt = hashlib.sha256(b"text").digest()
    key = ValueKey(INSTALLATION, SECOND, KEY)
    text = key.seal_with_salt("redis.password", b"value", salt=salt)
    vectors = {
        "key": KEY.reveal().hex(),
        "good": [seal(name) for name in PLACES],
        "bad": bad(),
        "enc": {
            "installation": INSTALLATION,
            "key_id": SECOND,
            "parameter": "redis.password",
            "text": text,
            "value": b"value".hex(),
        },
    }
    json.dump(vectors, sys.stdout, indent=1)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
