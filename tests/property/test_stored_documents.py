"""Every stored document has one form: what a codec reads, it writes back byte for byte (issue 9 C).

The law holds for each byte string, so a changed document is either refused, or it is the canonical form of another value.
"""

import base64
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.backup import keys as backup_keys
from strongroom.backup import manifest
from strongroom.backup import nodes as backup_nodes
from strongroom.backup.manifest import Listed, Manifest, Seal
from strongroom.backup.nodes import NodeShare, NodesInBackup
from strongroom.canonical import dumps, to_base64
from strongroom.clock import format_utc
from strongroom.config.document import ConfigDocument
from strongroom.config.rotation import (
    RotationJournal,
    RotationRecord,
    parse_kept,
    parse_records,
    serialize_kept,
    serialize_records,
)
from strongroom.configuration_keys import generations, records
from strongroom.configuration_keys.generations import KeyRecords
from strongroom.configuration_keys.records import (
    ConfigurationKeyRecord,
    ConfigurationKeyState,
    KeyWrap,
    WrapKind,
)
from strongroom.coordination import anchor as anchors
from strongroom.coordination.anchor import Anchor, LogPoint, StorePoint
from strongroom.coordination.floors import Point
from strongroom.crypto import rng
from strongroom.crypto.installation_identity import IdentityKey
from strongroom.crypto.secret import SecretBytes
from strongroom.crypto.statements import Origin
from strongroom.errors import StrongroomError
from strongroom.eventlog import anchored
from strongroom.eventlog.anchored import Anchored
from strongroom.eventlog.merkle import EMPTY
from strongroom.ids import InstallationId, MekId, RmkId, new_id
from strongroom.joining import bootstrap_file, credentials, node_keys, registry
from strongroom.joining.bearings import Addresses, Authorities, Bearings
from strongroom.joining.bootstrap_file import BootstrapFile, Credential
from strongroom.joining.credentials import Generation, Issued, IssuedCredential
from strongroom.joining.node_keys import Former, FormerKind, LogKey, NodeKeys
from strongroom.joining.registry import NodeState, RegisteredNode, Report
from strongroom.kms import proofs, store_1
from strongroom.kms import store as kms_store
from strongroom.kms.proofs import Proof, RootProof
from strongroom.kms.states import MekState
from strongroom.kms.store_1 import KmsStore1, WrappedMek
from strongroom.roots import settings as root_settings
from strongroom.roots.base import Context, WrapRecord
from strongroom.roots.settings import RootSettings
from strongroom.secrets import asset_ring
from strongroom.secrets.asset_ring import AssetKey, AssetRing
from strongroom.secrets.committed import ValueKey
from tests.support import linked_stores, older_stores

NOW = datetime(2026, 11, 28, 9, 0, 0, tzinfo=UTC)
AT = format_utc(NOW)
A, B, C = "0d4c7ac5-29d5-4bd8-8d0a-6f0f3cfa6c11", new_id(), new_id()
KEY = rng.new_key()
DIGEST = "ab" * 32
WRAP = WrapRecord(
    A, "aws", "direct", "arn:k", "eu", b"blob", b"", Context(A, B, A).pairs(), AT, AT, 1
)
STORE = KmsStore1(
    7,
    InstallationId(A),
    "aws",
    RmkId(B),
    AT,
    (WRAP,),
    (WrappedMek(MekId(C), MekState.ENCRYPT_OR_DECRYPT, AT, AT, None, b"wrapped"),),
    (b"former",),
    b"mac",
)
MANIFEST = Manifest(
    A, AT, "für dich", "1", B, "0001", "aws", C, 3, (A,), ("x",), (Listed("n", 1, DIGEST),), ("l",)
)
RECORD = ConfigurationKeyRecord(
    A,
    NOW,
    ConfigurationKeyState.ACTIVE,
    (KeyWrap(B, WrapKind.MASTER_KEY, "master-key-1", b"x" * 60),),
)
PROOF = Proof(
    AT,
    3,
    DIGEST,
    ("no",),
    {"a": "b"},
    (
        RootProof(A, "aws", "arn", "mode", True, "", 1.5, AT),
        RootProof(B, "aws", "arn", "recovery", False, "no", None, "", notice="soon"),
    ),
)
SEALED = ValueKey(A, A, KEY).seal("redis.password", b"v")
JOURNAL = RotationJournal("redis", A, {"redis.password": SEALED}, {})
FILE = BootstrapFile(
    installation_id=A,
    node_id="node2",
    created_at=NOW,
    expires_at=NOW + timedelta(hours=2),
    server="https://node.example",
    master_key="master-key-1",
    configuration_key_id=B,
    keystore=b"a keystore",
    keystore_password=SecretBytes(b"pw"),
    configuration_keys=b"records",
    credential=Credential(C, SecretBytes(bytes(32))),
    bearings=Bearings(
        Authorities(nodes=(b"a", b"b"), zookeeper=(b"c",)),
        Addresses(postgres=("db.example:5432",)),
    ),
)
IDENTITY = IdentityKey(Origin(A), SecretBytes(bytes(32)))
ISSUED = IssuedCredential(
    A, "node2", bytes(32), NOW, Generation("master-key-1", B, bytes(32)), NOW, DIGEST, refusals=2
)

NODE_KEYS = NodeKeys((A, "node2"), *(SecretBytes(bytes([one]) * 32) for one in range(3)))
LOG_KEY = LogKey(KEY, Former(FormerKind.NODE, KEY))
KEY_RECORDS = KeyRecords(A, A, (RECORD,)).with_next(
    RECORD._replace(id=C, wraps=(KeyWrap(C, WrapKind.RECIPIENT, "age1x", b"x"),))
)
POINT = Point(3, bytes(range(32)))
ANCHOR = Anchor(
    number=4,
    at=AT,
    document=POINT,
    entries={"config": POINT},
    kms=StorePoint(3, bytes(32), bytes(32)),
    accepted=StorePoint(2, bytes(32), bytes(32)),
    logs={"node1": LogPoint(7, (bytes(32),) * 3)},
    records=POINT,
    registry=POINT,
    repository=3,
)


class Codec(NamedTuple):
    """A document's bytes, and what its codec makes of them."""

    data: bytes
    again: Callable[[bytes], bytes]


def _records_again(data: bytes) -> bytes:
    return records.serialize(A, records.parse(data, A))


def _key_records_again(data: bytes) -> bytes:
    found, mac = generations._parse(data, A)
    # the MAC is the key's business, not the form's
    return records.KIND.dumps({**generations._fields(found), "mac": to_base64(mac)})


def _proof_again(data: bytes) -> bytes:
    found = proofs.parse(data.decode("utf-8"))
    if found is None:
        raise StrongroomError("none")
    return proofs.serialize(found).encode()


def _file_again(data: bytes) -> bytes:
    unproved = bootstrap_file.parse(data)
    again = bootstrap_file.serialize(unproved.claimed, KEY, IDENTITY).reveal()
    # MAC, identity and signature are the keys' business, not the form's
    return json_with(
        again,
        mac=unproved.mac.hex(),
        identity=to_base64(unproved.claimed.identity),
        signature=to_base64(unproved.signature),
    )


def json_with(data: bytes, **members: object) -> bytes:
    text = json.dumps(json.loads(data) | members, sort_keys=True, separators=(",", ":"))
    return text.encode() + b"\n"


def _roots_of_backup_again(data: bytes) -> bytes:
    roots = [
        {
            "kind": one.settings.kind,
            "root_key_id": one.settings.root_key_id,
            "options": dict(one.settings.options),
            "secrets": list(one.secrets),
        }
        for one in backup_keys.parse_roots(data)
    ]
    return dumps({"v": 1, "roots": roots})


ROOTS = [RootSettings("aws", "arn:k", {"region": "eu"}, {"token": SecretBytes(b"t")})]
CODECS = {
    "KMS store of format 1": Codec(
        older_stores.serialize(STORE), lambda data: older_stores.serialize(store_1.parse(data))
    ),
    "manifest": Codec(MANIFEST.serialize(), lambda data: manifest.parse(data, 1 << 20).serialize()),
    "seal": Codec(
        Seal(DIGEST, A, "cd" * 32, b"s" * 64).serialize(),
        lambda data: manifest.parse_seal(data).serialize(),
    ),
    "nodes of a backup": Codec(
        NodesInBackup(
            "disks", (NodeShare("node1", "active", "k", ("events/node1/node1.jsonl",), 3, "why"),)
        ).serialize(),
        lambda data: backup_nodes.parse(data).serialize(),
    ),
    "roots of a backup": Codec(
        b'{"roots":[{"kind":"aws","options":{"a":"b"},"root_key_id":"k","secrets":["t"]}],"v":1}',
        _roots_of_backup_again,
    ),
    "KMS store": Codec(
        linked_stores.first(KEY, A).rotated().raw,
        lambda data: kms_store.serialize(kms_store.parse(data)),
    ),
    "configuration keys of format 2": Codec(
        records.KIND.dumps({**generations._fields(KEY_RECORDS), "mac": ""}), _key_records_again
    ),
    "anchor": Codec(ANCHOR.serialize(), lambda data: anchors.parse(data).serialize()),
    "anchor of the event logs": Codec(
        Anchored("2026-11-21T20:00:00Z", {"node1": EMPTY.grown(b"a").grown(b"b")}).serialize(),
        lambda data: anchored.parse(data).serialize(),
    ),
    "configuration keys": Codec(records.serialize(A, [RECORD]), _records_again),
    "asset ring": Codec(
        asset_ring.serialize(AssetRing(A, (AssetKey(A, AT, KEY), AssetKey(B, AT, KEY)))),
        lambda data: asset_ring.serialize(asset_ring.parse(data)),
    ),
    "bootstrap file": Codec(bootstrap_file.serialize(FILE, KEY, IDENTITY).reveal(), _file_again),
    "credentials": Codec(
        credentials.serialize(
            Issued((ISSUED, ISSUED._replace(used_at=None, request=None, refusals=0)), ("node3",))
        ),
        lambda data: credentials.serialize(credentials.parse(data)),
    ),
    "keys of a node of before": Codec(
        NODE_KEYS.serialize().reveal(), lambda data: node_keys.parse(data).serialize().reveal()
    ),
    "keys of a node": Codec(
        NODE_KEYS.with_log(LOG_KEY).serialize().reveal(),
        lambda data: node_keys.parse(data).serialize().reveal(),
    ),
    "node in the registry": Codec(
        RegisteredNode("node2", NODE_KEYS.public, NodeState.JOINING, AT)
        .reported(A, NODE_KEYS, Report(AT, "postgres, tls: ü"))
        .serialize(),
        lambda data: registry.parse(data, A).serialize(),
    ),
    "proof": Codec(proofs.serialize(PROOF).encode(), _proof_again),
    "configuration": Codec(
        ConfigDocument(
            A, B, {"gateway.timeout": "7200", "x": "ü"}, before=DIGEST, pending_floor=2
        ).serialize(),
        lambda data: ConfigDocument.parse(data).serialize(),
    ),
    "rotation": Codec(JOURNAL.serialize(), lambda data: RotationJournal.parse(data).serialize()),
    "rotation's records": Codec(
        serialize_records({"redis.password": RotationRecord(AT, A, "redis", 3)}),
        lambda data: serialize_records(parse_records(data)),
    ),
    "rotation's kept values": Codec(
        serialize_kept({"redis.password": [SEALED]}), lambda data: serialize_kept(parse_kept(data))
    ),
    "root settings": Codec(
        root_settings.serialize(ROOTS),
        lambda data: root_settings.serialize(root_settings.parse(data)),
    ),
}
CODEC = pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS.keys())
STRANGE: list[Any] = [
    *(None, True, False, 0, 1, -1, 1.0, 1.5, 10**30, "", "x", "ü", "\ud800", "é" * 2000),
    *([], {}, [[]], [None], [""], {"a": 1}, {"": ""}, A, A.upper(), AT, "YR==", "YQ==", SEALED),
    *(float("nan"), float("inf"), base64.b64encode(bytes(32)).decode()),
]


def _keeps_its_form(codec: Codec, data: bytes) -> None:
    try:
        again = codec.again(data)
    except (StrongroomError, UnicodeDecodeError):
        return
    assert again == data


@CODEC
def test_the_document_itself_is_read(codec: Codec) -> None:
    assert codec.again(codec.data) == codec.data


@CODEC
@given(draw=st.data())
def test_changed_bytes_are_refused_or_canonical(codec: Codec, draw: st.DataObject) -> None:
    start = draw.draw(st.integers(0, len(codec.data)))
    end = draw.draw(st.integers(start, min(len(codec.data), start + 8)))
    new = draw.draw(st.binary(max_size=8) | st.sampled_from([b'"', b",", b"[]", b"1e0", b"\\u00"]))
    _keeps_its_form(codec, codec.data[:start] + new + codec.data[end:])


def _places(value: object, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield way
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for name, inside in items:
        yield from _places(inside, (*way, name))


def _with(value: Any, way: tuple[Any, ...], change: Callable[[Any], Any]) -> Any:
    if not way:
        return change(value)
    copy = list(value) if isinstance(value, list) else dict(value)
    copy[way[0]] = _with(copy[way[0]], way[1:], change)
    return copy


def _take(new: Any, old: Any) -> Any:
    del old
    return new


def changed_documents(data: bytes) -> Iterator[bytes]:
    """The document with each place of it replaced by each strange value, taken away, doubled or added to."""
    value = json.loads(data)
    end = b"\n" if data.endswith(b"\n") else b""
    escaped = b"\xc3" not in data
    for way in _places(value):
        changes: list[Callable[[Any], Any]] = [partial(_take, new) for new in STRANGE]
        changes.append(lambda old: {**old, "more": 1} if isinstance(old, dict) else [old, old])
        changes.append(lambda old: dict(list(old.items())[1:]) if isinstance(old, dict) else old)
        for change in changes:
            for is_escaped in (escaped, not escaped):
                text = json.dumps(
                    _with(value, way, change),
                    sort_keys=True,
                    separators=(",", ":"),
                    ensure_ascii=is_escaped,
                )
                yield text.encode("utf-8", "surrogatepass") + end


@CODEC
def test_strange_values_are_refused_or_canonical(codec: Codec) -> None:
    """Each member of each document, replaced by what no writer would put there."""
    for data in changed_documents(codec.data):
        _keeps_its_form(codec, data)


@CODEC
def test_json_that_is_no_document_is_refused(codec: Codec) -> None:
    """By an error of ours: `RecursionError` was forgotten by two of ten codecs."""
    for data in (b"", b"[]", b"{}", b"null", b"1", b'"x"', b"[" * 100_000, b'{"a":' * 100_000):
        with pytest.raises(StrongroomError):
            codec.again(data)
