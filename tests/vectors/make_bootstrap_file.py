"""Makes bootstrap_file_4.json, the published vectors of docs/format/bootstrap-file.md; the same bytes at every run.

`python -m tests.vectors.make_bootstrap_file > tests/vectors/bootstrap_file_4.json`
"""

import hashlib
import json
import sys
from dataclasses import replace
from datetime import UTC, datetime

from strongroom.canonical import to_base64
from strongroom.crypto.installation_identity import IdentityKey
from strongroom.crypto.secret import SecretBytes
from strongroom.crypto.statements import Origin
from strongroom.joining import admission_request, bootstrap_file, credentials
from strongroom.joining.bearings import NOTHING, Addresses, Authorities, Bearings
from strongroom.joining.bootstrap_file import BootstrapFile, Credential
from strongroom.joining.certificate_request import CertificateRequest
from strongroom.joining.node_keys import NodeKeys

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
    bearings=Bearings(
        Authorities(
            nodes=(b"the bytes of the internal authority", b"those of the one before"),
            postgres=(b"the bytes of the authority of PostgreSQL",),
            web=(b"the bytes of the web service's certificate",),
            zookeeper=(b"the bytes of the authority of ZooKeeper",),
        ),
        Addresses(
            nodes=("first.example:8850",),
            postgres=("db.example:5432",),
            zookeeper=("zk1.example:2281", "zk2.example:2281"),
        ),
    ),
)
SEED = SecretBytes(bytes(range(32, 64)))
IDENTITY = IdentityKey(Origin(FILE.installation_id), SEED)

NODE_KEYS = NodeKeys(
    (FILE.installation_id, FILE.node_id),
    SecretBytes(bytes(range(128, 160))),
    SecretBytes(bytes(range(160, 192))),
    SecretBytes(bytes(range(96, 128))),
    asked=CertificateRequest(SecretBytes(b"a key"), b"the bytes of a request for a certificate"),
)
REQUEST = admission_request.make(NODE_KEYS, CREDENTIAL, IDENTITY.identity.public)


def _text(file: BootstrapFile) -> str:
    return bootstrap_file.serialize(file, KEY, IDENTITY).reveal().decode()


def _with(text: str, **members: str | None) -> str:
    """A file with other members, in its canonical form; None takes a member away."""
    changed = {**json.loads(text), **members}
    kept = {
        name: value for name, value in changed.items() if value is not None or name == "credential"
    }
    return json.dumps(kept, sort_keys=True, separators=(",", ":")) + "\n"


def _base64(text: str) -> str:
    return to_base64(text.encode())


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def main() -> None:
    """Print the vectors."""
    full = _text(FILE)
    bare = replace(FILE, credential=None, server="", bearings=NOTHING)
    other = "the bytes of another authority"
    moved = full.replace(to_base64(b"the bytes of the authority of ZooKeeper"), _base64(other))
    vectors = {
        "configuration_key": KEY.reveal().hex(),
        "credential_public": CREDENTIAL.key.public.hex(),
        "node_keys": NODE_KEYS.serialize().reveal().decode(),
        "node_fingerprint": NODE_KEYS.public.fingerprint,
        "request": admission_request.serialize(REQUEST).decode(),
        "request_digest": credentials.request_digest(REQUEST),
        "identity_seed": SEED.reveal().hex(),
        "fingerprint": IDENTITY.fingerprint,
        "good": [full, _text(bare)],
        "bad": [
            {"why": "another node", "file": full.replace("node2", "node3")},
            {"why": "a later end", "file": full.replace("05:04:05", "06:04:05")},
            {"why": "another address", "file": full.replace("first.", "other.")},
            {"why": "version 5", "file": full.replace("bootstrap-4", "bootstrap-5")},
            {"why": "version 3", "file": full.replace("bootstrap-4", "bootstrap-3")},
            {"why": "version 2", "file": full.replace("bootstrap-4", "bootstrap-2")},
            {"why": "version 1", "file": full.replace("bootstrap-4", "bootstrap-1")},
            {"why": "another authority", "file": moved},
            {
                "why": "another authority with its pin",
                "file": moved.replace(
                    _sha256("the bytes of the authority of ZooKeeper"), _sha256(other)
                ),
            },
            {"why": "another server of ZooKeeper", "file": full.replace("zk1.", "zk3.")},
            {"why": "no addresses", "file": _with(full, addresses=None)},
            {"why": "another identity", "file": _with(full, identity=to_base64(bytes(32)))},
            {"why": "no identity", "file": _with(full, identity="")},
            {"why": "a signature of zeros", "file": _with(full, signature=to_base64(bytes(64)))},
            {"why": "no signature", "file": _with(full, signature=None)},
            {"why": "white space", "file": full.replace('","', '", "', 1)},
            {"why": "cut", "file": full[:-3]},
            {"why": "a member twice", "file": full.replace('"format"', '"format":"x","format"')},
        ],
    }
    json.dump(vectors, sys.stdout, indent=1)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
