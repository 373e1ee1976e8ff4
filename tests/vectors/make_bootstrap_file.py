"""Makes bootstrap_file.json, the published vectors of docs/format/bootstrap-file.md; the same bytes at every run.

`python -m tests.vectors.make_bootstrap_file > tests/vectors/bootstrap_file.json`
"""

import json
import sys
from dataclasses import replace
from datetime import UTC, datetime

from strongroom.crypto.secret import SecretBytes
from strongroom.joining import bootstrap_file, credentials
from strongroom.joining.admission_request import AdmissionRequest
from strongroom.joining.bootstrap_file import BootstrapFile, Credential

KEY = SecretBytes(bytes(range(32)))
CREDENTIAL = Credential("00000000-0000-4000-8000-000000000003", SecretBytes(bytes(range(64, 96))))
FILE = BootstrapFile(
    installation_id="00000000-0000-4000-8000-000000000001",
    node_id="node2",
    created_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    expires_at=datetime(2026, 1, 2, 5, 4, 5, tzinfo=UTC),
    server="https://first.example:8850",
    master_key="master-key-1",
    configuration_key_id="00000000-0000-4000-8000-000000000002",
    keystore=b"the bytes of a keystore",
    keystore_password=SecretBytes(b"its password"),
    configuration_keys=b"the bytes of the records",
    credential=CREDENTIAL,
)

REQUEST = AdmissionRequest(
    FILE.installation_id, FILE.node_id, CREDENTIAL, SecretBytes(bytes(range(96, 128)))
)


def main() -> None:
    """Print the vectors."""
    full = bootstrap_file.serialize(FILE, KEY).reveal().decode()
    bare = replace(FILE, credential=None, server="")
    vectors = {
        "configuration_key": KEY.reveal().hex(),
        "credential_digest": credentials.digest(CREDENTIAL),
        "request_key": REQUEST.request_key.reveal().hex(),
        "request_digest": credentials.request_digest(REQUEST),
        "good": [full, bootstrap_file.serialize(bare, KEY).reveal().decode()],
        "bad": [
            {"why": "another node", "file": full.replace("node2", "node3")},
            {"why": "a later end", "file": full.replace("05:04:05", "06:04:05")},
            {"why": "another address", "file": full.replace("first.", "other.")},
            {"why": "version 2", "file": full.replace("bootstrap-1", "bootstrap-2")},
            {"why": "white space", "file": full.replace('","', '", "', 1)},
            {"why": "cut", "file": full[:-3]},
            {"why": "a member twice", "file": full.replace('"format"', '"format":"x","format"')},
        ],
    }
    json.dump(vectors, sys.stdout, indent=1)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
