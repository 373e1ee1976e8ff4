"""Makes kms_store.json, the published vectors of docs/format/kms-store.md.

The wraps are made with fresh nonces, so a new run gives other bytes that mean the same; run it only
when the format gets a new version: `python -m tests.vectors.make_kms_store > tests/vectors/kms_store.json`.
"""

import json
import sys
from datetime import UTC, datetime, timedelta

from strongroom.clock import FixedClock
from strongroom.crypto.secret import SecretBytes
from strongroom.ids import InstallationId
from strongroom.kms import next_store
from strongroom.kms.next_store import RootSet
from strongroom.kms.opening import OpenStore
from strongroom.roots.local import LocalRoot

INSTALLATION = InstallationId("00000000-0000-4000-8000-000000000001")
KEY_ID = "00000000-0000-4000-8000-000000000002"
KEY = bytes(range(32))


def main() -> None:
    """Print the vectors."""
    clock = FixedClock(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    root = LocalRoot(KEY_ID, lambda _: SecretBytes(KEY), clock)
    first = next_store.initial(INSTALLATION, RootSet("local", root), clock.now())
    clock.moment += timedelta(days=30)
    opened = OpenStore(first.store, first.rmk, first.ring)
    second = next_store.rotated(opened, RootSet("local", root), clock.now())
    good = second.raw.decode()
    vectors = {
        "configuration_key": KEY.hex(),
        "configuration_key_id": KEY_ID,
        "good": [
            {
                "store": good,
                "rmk": second.rmk.material.reveal().hex(),
                "meks": {mek.id: mek.material.reveal().hex() for mek in second.ring},
                "active": second.ring.active.id,
            }
        ],
        "bad": [
            {"why": "version 2", "store": good.replace('"v":1', '"v":2'), "error": "format"},
            {"why": "white space", "store": good + " ", "error": "format"},
            {"why": "epoch changed", "store": good.replace('"epoch":2', '"epoch":3')},
            {"why": "another mode", "store": good.replace('"mode":"local"', '"mode":"aws"')},
            {"why": "state changed", "store": good.replace('"decrypt-only"', '"unavailable"')},
            {"why": "RMK time changed", "store": good.replace("2026-02-01", "2026-02-02")},
            {"why": "cut", "store": good[:-1], "error": "format"},
        ],
    }
    json.dump(vectors, sys.stdout, indent=1)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
