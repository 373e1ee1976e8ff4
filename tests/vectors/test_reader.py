"""Whoever holds the keys opens everything by docs/format alone: the independent reader on all vectors and golden nodes.

`reader.py` imports nothing of strongroom's own, so what it opens is what the pages say, and not what the code does.
"""

import ast
import base64
import hashlib
import json
import sqlite3
import tarfile
import zlib
from contextlib import closing
from importlib.metadata import files
from pathlib import Path
from shutil import copytree
from typing import Any

import pyrage
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from strongroom.config.rotation import RotationJournal
from strongroom.crypto.secret import SecretBytes
from strongroom.crypto.signing import SigningKey
from strongroom.eventlog.notes import LogSigner
from strongroom.eventlog.summary import SecretTimes, _serialized
from strongroom.secrets.committed import ValueKey
from tests.support.servers import TestNode, create_node
from tests.vectors import (
    reader,
    reader_backup,
    reader_bootstrap,
    reader_events,
    reader_format2,
    reader_node,
    reader_slip39,
)
from tests.vectors.reader import Means, Opened
from tests.vectors.reader_pkcs12 import RefusedError, open_keystore

HERE = Path(__file__).parent
READER = sorted(HERE.glob("reader*.py"))
NODES = sorted(path.name.removesuffix(".tar.xz") for path in (HERE / "nodes").glob("*.tar.xz"))
WEAK = ("RC2_40", "RC2_128", "RC4_128", "MD5AndDES", "NONE")


def vectors(name: str) -> Any:
    return json.loads((HERE / name).read_text())


ENVELOPES = [vectors(f"envelope/{name}.json") for name in ("envelope", "envelope_2")]
GOOD, BAD = (
    [
        pytest.param(one, id=f"format {number} {one['name']}")
        for number, made in enumerate(ENVELOPES, 1)
        for one in made[kind]
    ]
    for kind in ("good", "bad")
)
STORES = vectors("kms_store.json")
BOOTSTRAPS, KEYSTORES = vectors("bootstrap_file_4.json"), vectors("keystore.json")
EARLIER = ("bootstrap_file.json", "bootstrap_file_2.json", "bootstrap_file_3.json")
GOOD_FILES = [*BOOTSTRAPS["good"], *(one for name in EARLIER for one in vectors(name)["good"])]
FILES = [
    (one, any(value.endswith(WEAK) for value in one["properties"].values()))
    for one in KEYSTORES["files"]
]


@pytest.mark.parametrize("path", READER, ids=lambda path: path.stem)
def test_the_reader_imports_nothing_of_ours(path: Path) -> None:
    own = {f"tests.vectors.{one.stem}" for one in READER}
    imported = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module or "")
    strange = {name for name in imported if name.partition(".")[0] not in _allowed()} - own
    assert strange == set()


def _allowed() -> frozenset[str]:
    import sys

    return sys.stdlib_module_names | {"cryptography", "pyrage"}


# ---- published vectors -------------------------------------------------------------------------------


def _envelope(vector: dict[str, Any]) -> bytes:
    meks = {name: bytes.fromhex(key) for one in ENVELOPES for name, key in one["meks"].items()}
    data = zlib.decompress(base64.b64decode(vector["file"]))
    return reader.envelope(
        data,
        meks,
        site=vector["site_id"] or reader.NIL,
        extract=vector["extract_id"] or reader.NIL,
    )


@pytest.mark.parametrize("vector", GOOD)
def test_good_envelopes_open(vector: dict[str, Any]) -> None:
    assert hashlib.sha256(_envelope(vector)).hexdigest() == vector["plaintext_sha256"]


@pytest.mark.parametrize("vector", BAD)
def test_bad_envelopes_are_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(RefusedError):
        _envelope(vector)


STORE_KEYS = {STORES["configuration_key_id"]: bytes.fromhex(STORES["configuration_key"])}


def test_good_stores_open() -> None:
    for vector in STORES["good"]:
        found = reader.kms(vector["store"].encode(), Means(STORE_KEYS))
        assert found.rmk.hex() == vector["rmk"]
        assert {name: key.hex() for name, key in found.meks.items()} == vector["meks"]
        assert found.active == vector["active"]


@pytest.mark.parametrize("vector", STORES["bad"], ids=lambda vector: vector["why"])
def test_bad_stores_are_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(RefusedError):
        reader.kms(vector["store"].encode(), Means(STORE_KEYS))


def _bootstrap(text: str) -> Any:
    """The keystore of the vectors is none: the configuration key is given (§2.1)."""
    told = json.loads(text)
    key = bytes.fromhex(BOOTSTRAPS["configuration_key"])
    return reader_bootstrap.bootstrap(text.encode(), {told["configuration_key_id"]: key})


@pytest.mark.parametrize(
    "text", GOOD_FILES, ids=[f"{kind} {form}" for form in (4, 1, 2, 3) for kind in ("full", "bare")]
)
def test_good_bootstrap_files_open(text: str) -> None:
    assert _bootstrap(text)["mac"] == json.loads(text)["mac"]


def test_a_request_to_be_let_in_is_checked() -> None:
    file = json.loads(BOOTSTRAPS["good"][0])
    request = json.loads(BOOTSTRAPS["request"])
    public = base64.b64encode(bytes.fromhex(BOOTSTRAPS["credential_public"])).decode()
    issued = {"public": public, "identity": file["identity"]}
    reader_bootstrap.admission(request, issued)
    for name in ("node_id", "request_key", "signing_key", "signature", "proof"):
        other = {
            **request,
            name: "node3"
            if name == "node_id"
            else base64.b64encode(bytes(64 if name in {"signature", "proof"} else 32)).decode(),
        }
        with pytest.raises(RefusedError):
            reader_bootstrap.admission(other, issued)


@pytest.mark.parametrize(("vector", "is_weak"), FILES)
def test_keystores_of_all_jdks_open(vector: dict[str, Any], is_weak: bool) -> None:
    data, password = base64.b64decode(vector["file"]), KEYSTORES["password"].encode()
    if is_weak:
        with pytest.raises(RefusedError):
            open_keystore(data, password)
        return
    found = {alias: key.hex() for alias, key in open_keystore(data, password).items()}
    assert found == KEYSTORES["keys"]
    with pytest.raises(RefusedError):
        open_keystore(data, b"another password")


# ---- what a node has only for a moment, or when its log is long --------------------------------------


def test_a_rotation_under_way_opens() -> None:
    """rotation-journal.md 2"""
    key_id, key = next(iter(STORE_KEYS.items()))
    text = ValueKey(reader.NIL, key_id, SecretBytes(key)).seal("redis.password", b"the new one")
    journal = RotationJournal("redis/strongroom", reader.NIL, {"redis.password": text}, {})
    found = reader_format2.rotation(journal.serialize(), reader.NIL, STORE_KEYS)
    assert found == {"redis.password": b"the new one"}


def test_a_summary_of_a_log_verifies() -> None:
    """events.md 8"""
    seed, origin = bytes(range(32)), f"strongroom/{reader.NIL}/node1"
    signer = LogSigner(origin, SigningKey(SecretBytes(seed)))
    data = _serialized([], SecretTimes({"redis.password": "2026-01-02T03:04:05Z"}, {}), signer)
    assert reader_events.summary(data, seed, origin)["changed"].keys() == {"redis.password"}
    for changed in (data.replace(b"2026", b"2027"), data.replace(b"A", b"B", 1)):
        with pytest.raises(RefusedError):
            reader_events.summary(changed, seed, origin)


# ---- golden nodes ------------------------------------------------------------------------------------


class Golden:
    """An unpacked node of a revision that was released, and what is known of it."""

    def __init__(self, revision: str, folder: Path) -> None:
        self.folder, self.home = folder, folder / "node"
        with tarfile.open(HERE / f"nodes/{revision}.tar.xz") as archive:
            archive.extraction_filter = getattr(tarfile, "tar_filter", None)
            archive.extractall(folder)
        self.facts = vectors(f"nodes/{revision}.json")
        self.opened = reader.node(self.home, Means())


@pytest.fixture(scope="module", params=NODES)
def golden(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Golden:
    return Golden(request.param, tmp_path_factory.mktemp("golden"))


def rows(home: Path, table: str) -> list[dict[str, Any]]:
    """Rows of the repository's database, as any SQLite reads them."""
    connection = sqlite3.connect(
        f"file:{home / 'tabsvc/repository/repository.db'}?mode=ro", uri=True
    )
    connection.row_factory = sqlite3.Row
    try:
        return [dict(row) for row in connection.execute(f"SELECT * FROM {table}")]
    finally:
        connection.close()


@pytest.mark.slow
def test_its_secrets_and_meks_open(golden: Golden) -> None:
    for name, value in golden.facts["secrets"].items():
        assert golden.opened.secrets[name].decode() == value
    assert set(golden.opened.kms.meks) == {mek["id"] for mek in golden.facts["kms"]["meks"]}
    assert golden.opened.kms.store["mode"] == "local"


def content(home: Path, opened: Opened) -> dict[str, bytes]:
    """Everything that is published, by id (envelope.md §3.7; data-directory.md 2)."""
    found = {}
    for row in rows(home, "contents"):
        data = (home / "tabsvc/extracts" / row["storage_key"]).read_bytes()
        if row["file_id"]:
            assert data[16:32].hex() == row["file_id"]
            data = reader.envelope(data, opened.kms.meks, site=row["site_id"], extract=row["id"])
        found[row["id"]] = data
    return found


@pytest.mark.slow
def test_its_extracts_open(golden: Golden) -> None:
    found = content(golden.home, golden.opened)
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in found.items()}
    for item in golden.facts["items"]:
        if item["kind"] == "datasource":
            assert digests[item["id"]] == item["sha256"]
    loose = reader.envelope((golden.folder / "loose.sealed").read_bytes(), golden.opened.kms.meks)
    assert hashlib.sha256(loose).hexdigest() == golden.facts["loose_sha256"]


@pytest.mark.slow
def test_its_backup_opens_by_each_way(golden: Golden) -> None:
    [path] = (golden.home / "tabsvc/files/backups").iterdir()
    data, keys = path.read_bytes(), golden.opened.keys
    found = reader_backup.backup(data, Means(keys))
    assert (
        reader_backup.backup(data, Means(), passphrase=golden.facts["passphrase"]).kms == found.kms
    )
    for row in found.rows["contents"]:
        sealed = found.extracts[row["storage_key"]]
        if row["file_id"]:
            reader.envelope(sealed, found.kms.meks, site=row["site_id"], extract=row["id"])
    if found.settings:
        reader.settings(found.settings, passphrase=golden.facts["passphrase"])
    for row in found.rows["credentials"]:
        assert set(json.loads(reader.credential(row, found.assets))) == {"name", "password"}
    assert set(found.assets) == set(reader.asset_keys(golden.opened.secrets["asset.keys"]))


@pytest.mark.slow
def test_its_access_token_is_the_row(golden: Golden) -> None:
    """backup.md 3.6"""
    text = b"strongroom/v1/access-token\0" + golden.facts["token"].encode()
    [row] = rows(golden.home, "tokens")
    assert row["secret_hash"] == hashlib.sha256(text).hexdigest()


@pytest.mark.slow
def test_its_settings_and_bootstrap_file_open(golden: Golden) -> None:
    data = (golden.folder / "settings.json").read_bytes()
    told = reader.settings(data, passphrase=golden.facts["passphrase"])
    for name, value in golden.facts["secrets"].items():
        assert told[name] == value
    sealed = (golden.folder / "bootstrap.json").read_bytes()
    members = reader_bootstrap.bootstrap(
        reader.unaged(sealed, passphrase=golden.facts["passphrase"])
    )
    assert members["node_id"] == "node2"


@pytest.mark.slow
def test_its_pending_changes_open(golden: Golden) -> None:
    opened = golden.opened
    installation = opened.document["installation_id"]
    changes, base = reader.pending(opened.entries["pending"], installation, opened.keys)
    assert "backgrounder.log.level" in changes
    assert 0 < base <= opened.document["version"]
    with pytest.raises(RefusedError):
        reader.pending(opened.entries["pending"], reader.NIL, opened.keys)


@pytest.mark.slow
def test_its_event_logs_verify(golden: Golden) -> None:
    opened = golden.opened
    origin = f"strongroom/{opened.document['installation_id']}/node1"
    seed = opened.secrets["eventlog.signing_key"]
    logs = [
        path
        for path in (golden.home / "tabsvc/events").glob("node1.jsonl*")
        if "check" not in path.name
    ]
    assert len(logs) == 2
    for path in logs:
        log = path.read_bytes()
        beside = path.with_name(path.name.replace(".jsonl", "", 1) + ".checkpoint")
        if not beside.exists():
            beside = path.with_name(path.name + ".checkpoint")
        assert reader_events.checkpoint(log, beside.read_bytes(), seed, origin) == len(
            reader_events.events(log)
        )
        with pytest.raises(RefusedError):
            reader_events.checkpoint(
                log.replace(b"node1", b"node9", 1), beside.read_bytes(), seed, origin
            )


@pytest.mark.slow
def test_two_of_its_shares_open_it_without_its_keystore(golden: Golden) -> None:
    [path] = [one for one in files("shamir-mnemonic") or () if one.name == "wordlist.txt"]
    words = Path(str(path.locate())).read_text().split()
    kit = sorted((golden.folder / "kit").glob("*share*"))
    shares = [reader_slip39.read_share(one.read_text(), words) for one in kit]
    for chosen in (shares[:2], shares[1:], shares[::2], shares):
        identity = reader_slip39.combine(chosen)
        found = reader.node(golden.home, Means(identity=identity))
        assert (found.secrets, found.kms.rmk) == (golden.opened.secrets, golden.opened.kms.rmk)
    with pytest.raises(RefusedError):
        reader_slip39.combine(shares[:1])


# ---- a node of this revision -------------------------------------------------------------------------


class Fresh:
    """A node that was made just now, by commands, with something of each format."""

    def __init__(self, folder: Path) -> None:
        self.node = node = create_node(folder)
        self.identity = str(pyrage.x25519.Identity.generate())
        recipient = str(pyrage.x25519.Identity.from_str(self.identity).to_public())
        self.plain = bytes(range(256)) * 2000
        (folder / "plain").write_bytes(self.plain)
        (folder / "value").write_text("a secret of the test")
        node.run("tsm", "security", "kms", "roots", "add", "age", "--recipient", recipient)
        node.run("strongroom", "encrypt", "plain", "sealed")
        node.run("tsm", "security", "kms", "rotate")
        node.run("tsm", "security", "regenerate-internal-tokens")
        node.run("tsm", "configuration", "set", "-k", "redis.password", "--value-file", "value")
        node.run("tsm", "pending-changes", "apply", "--ignore-prompt")
        node.run("strongroom", "backup", "make", "-f", "b", "--recipient", recipient)
        node.run(
            "tsm",
            "topology",
            "nodes",
            "get-bootstrap-file",
            "-f",
            "node2.age",
            "--recipient",
            recipient,
        )
        node.run("tsm", "configuration", "set", "-k", "vizqlserver.log.level", "-v", "debug")
        self.opened = reader_node.node(node.home, Means())


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Fresh:
    return Fresh(tmp_path_factory.mktemp("fresh"))


@pytest.mark.slow
def test_a_node_of_this_revision_opens_by_the_pages(fresh: Fresh) -> None:
    folder, opened = fresh.node.folder, fresh.opened
    sealed = (folder / "sealed").read_bytes()
    assert reader.envelope(sealed, opened.kms.meks) == fresh.plain
    assert opened.secrets["redis.password"] == b"a secret of the test"
    changes, _ = reader_format2.pending(opened.entries["pending"], opened.document, opened.keys)
    assert changes == {"vizqlserver.log.level": "debug"}
    assert [root["kind"] for root in reader.root_settings(opened.secrets["kms.roots"])] == ["age"]
    by_identity = reader_node.node(fresh.node.home, Means(identity=fresh.identity))
    assert by_identity.kms == opened.kms
    assert by_identity.secrets == opened.secrets


@pytest.mark.slow
def test_what_a_node_of_this_revision_hands_out_opens_by_the_pages(fresh: Fresh) -> None:
    folder, opened = fresh.node.folder, fresh.opened
    data = (fresh.node.home / "tabsvc/files/backups/b.tsbak").read_bytes()
    for by in (Means(opened.keys), Means(identity=fresh.identity)):
        assert reader_backup.backup(data, by).kms.meks == opened.kms.meks
    found = reader_backup.backup(data, by)
    assert found.fingerprint == fresh.node.run("tsm", "status", "--json").json["fingerprint"]
    told = reader.loaded(reader.unaged(found.sealed, identity=fresh.identity), escaped=False)
    assert reader.unbase64(told["rmk"]) == opened.kms.rmk
    file = reader.unaged((folder / "node2.age").read_bytes(), identity=fresh.identity)
    members = reader_node.opened_bootstrap(file)
    assert members["installation_id"] == opened.document["installation_id"]
    records = reader.loaded(opened.entries["topology/credentials"], escaped=False)
    [issued] = [one for one in records["credentials"] if one["id"] == members["credential"]["id"]]
    seed = reader.unbase64(members["credential"]["seed"])
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    assert (reader.unbase64(issued["public"]), issued["identity"]) == (public, members["identity"])


@pytest.mark.slow
def test_the_log_of_a_node_of_this_revision_verifies_by_the_page(fresh: Fresh) -> None:
    top, opened = fresh.node.home / "tabsvc/events", fresh.opened
    origin = f"strongroom/{opened.document['installation_id']}/node1"
    seed = opened.secrets["eventlog.signing_key"]
    log, note = (top / "node1.jsonl").read_bytes(), (top / "node1.checkpoint").read_bytes()
    assert reader_events.checkpoint(log, note, seed, origin) == len(reader_events.events(log))
    for at in (0, len(log) // 2):
        changed = log[:at] + bytes([log[at] ^ 1]) + log[at + 1 :]
        with pytest.raises(RefusedError):
            reader_events.checkpoint(changed, note, seed, origin)
        with pytest.raises((RefusedError, KeyError)):
            reader_events.events(changed)


@pytest.mark.slow
def test_the_anchor_of_the_log_and_an_archived_one_open_by_the_page(
    fresh: Fresh, tmp_path: Path
) -> None:
    # a copy of its own: after the archive the log is so short that the other tests would find no line in its middle
    node, opened = TestNode(Path(copytree(fresh.node.folder, tmp_path / "own"))), fresh.opened
    top = node.home / "tabsvc"
    log = (top / "events/node1.jsonl").read_bytes()
    with closing(sqlite3.connect(next((top / "repository").glob("*.db")))) as database:
        [(text,)] = database.execute("SELECT value FROM marks WHERE name = 'anchor.logs'")
    row, installation = reader.unbase64(text), opened.document["installation_id"]
    told = reader_format2.log_anchor(row, installation, opened.keys)["node1"]
    root = reader_events.root_of([reader.unbase64(node) for node in told["nodes"]])
    reader_events.check_extends(log, told["size"], root)
    for at in (16, 60, len(row) - 1):
        changed = row[:at] + bytes([row[at] ^ 1]) + row[at + 1 :]
        with pytest.raises(RefusedError):
            reader_format2.log_anchor(changed, installation, opened.keys)
    node.run("strongroom", "events", "archive", "--reason", "long")
    [aside] = (top / "events").glob("node1.jsonl.*Z")
    after, archived = (top / "events/node1.jsonl").read_bytes(), aside.read_bytes()
    assert archived == log
    reader_events.check_follows(after, archived, aside.name)
    with pytest.raises(RefusedError):
        reader_events.check_follows(after, archived[: archived[:-1].rindex(b"\n")], aside.name)
