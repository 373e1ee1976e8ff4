"""An installation of format 2 over real stores, as the services will keep it: coordination service, repository, event log.

It has entries of their own for everything that docs/format/entries.md knows, more than a node has at one time: what it
shows is that the rules of docs/format/anchor.md notice what is put back, of every kind.
"""

import base64
import hashlib
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from strongroom.clock import FixedClock
from strongroom.configuration_keys import generations
from strongroom.configuration_keys.generations import KeyRecords
from strongroom.configuration_keys.records import ConfigurationKeyRecord, ConfigurationKeyState
from strongroom.coordination import anchor as anchors
from strongroom.coordination.anchor import Anchor, LogPoint, StorePoint
from strongroom.coordination.base import Versioned
from strongroom.coordination.comparison import (
    Finding,
    LogState,
    Observed,
    Witness,
    compare,
)
from strongroom.coordination.entries import (
    Author,
    EntryKey,
    EntryKeys,
    ProvedEntry,
    UnprovedEntry,
    check_one_key,
)
from strongroom.coordination.floors import Point
from strongroom.coordination.local import LocalCoordinator
from strongroom.crypto import rng
from strongroom.crypto.secret import SecretBytes
from strongroom.crypto.signing import SigningKey
from strongroom.eventlog import checkpoint_form
from strongroom.eventlog.base import Event
from strongroom.eventlog.jsonl import JsonlEventLog
from strongroom.eventlog.merkle import Frontier
from strongroom.eventlog.notes import LogSigner
from strongroom.ids import new_id
from strongroom.keystore.master_key import Keystore, new_master_key
from strongroom.kms import store as kms_store
from strongroom.repository.unit_of_work import Repository
from tests.support import linked_stores

NOW = datetime(2026, 11, 21, 20, 0, 0, tzinfo=UTC)
NODE = "node1"
#: Every kind of entry, with the name that it has here.
KINDS = {
    "configuration": "config",
    "the one before it": "config/previous",
    "pending changes": "pending",
    "restart": "restart",
    "a rotation under way": "journal/rotation/redis.password",
    "records of rotations": "rotation/records",
    "values from before": "rotation/previous",
    "credentials": "topology/credentials",
    "the place of extracts": "extracts/store",
    "the roles of nodes": "topology/roles",
    "certificates of a node": "topology/certificates/node2",
    "the processes of nodes": "topology/processes",
    "the software of a node": "topology/software/node2",
    "what all nodes know": "topology/formats",
    "the maintenance": "maintenance",
    "a node's word in it": "maintenance/node2",
    "the drain of a node": "draining/node2",
    "its word in that": "draining/node2/node2",
    "a regeneration under way": "journal/regenerate",
    "a recovery under way": "journal/recover",
    "KMS store": "kms/store",
    "KMS store before it": "kms/previous",
    "a staged KMS store": "kms/next",
    "keys given to a node": "keystore/bundles/node2",
    "a node's word on them": "keystore/acks/00000000-0000-4000-8000-000000000001/node2",
    "a node's word on it": "kms/acks/00000000-0000-4000-8000-000000000001/node2",
    "a closed KMS store": "kms/former/" + "0" * 64,
    "anchor": anchors.ENTRY,
}
PARTS = ("coordination", "anchor", "repository", "events", "checkpoint", "records")


class Loaded(NamedTuple):
    """What is there, proved."""

    entry: Anchor | None
    row: Anchor | None
    observed: Observed


class World:
    """The installation."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.installation = new_id()
        self.key = EntryKey(new_id(), rng.new_key())
        self.keystore = Keystore((new_master_key(NOW),))
        self.signer = LogSigner(
            f"strongroom/{self.installation}/{NODE}", SigningKey(SecretBytes(bytes(range(32))))
        )
        LocalCoordinator.create(folder / "coordination.db", folder / "locks")
        self.make_repository()
        self._write_records(self._first_records())
        self.store = linked_stores.first(self.key.key, self.installation)
        self.known = self.store.store.known(self.store.raw)
        self.document = 0
        self.events("NODE_INITIALISED")
        payloads = dict.fromkeys(set(KINDS.values()) - {anchors.ENTRY}, b"{}")
        self.put({**payloads, "kms/store": self.store.raw, "kms/previous": b"none"})
        # a second version of each entry, so that each has an older one
        self.put({**dict.fromkeys(payloads, b'{"second":1}'), "kms/store": self.store.raw})

    # ---- what the services will do -------------------------------------------------------------------

    @property
    def url(self) -> str:
        return f"sqlite:///{self.folder}/repository.db"

    @property
    def log(self) -> JsonlEventLog:
        path = self.folder / "events.jsonl"
        return JsonlEventLog(path, NODE, FixedClock(NOW), find_signer=lambda: self.signer)

    def make_repository(self) -> None:
        """An empty repository."""
        repository = Repository(self.url)
        repository.ensure_schema()
        repository.close()

    def events(self, *ids: str, **details: str | int) -> None:
        """Append events."""
        self.log.append([Event(one, "system", details) for one in ids])

    def change_setting(self) -> None:
        """A new version of the document."""
        self.put({}, event="CONFIGURATION_APPLIED")

    def rotate_kms(self) -> None:
        """A new KMS store: intent, put, event."""
        before, self.store = self.store, self.store.rotated()
        self.events("KMS_STORE_CHANGING", epoch=self.store.store.epoch)
        put = {"kms/store": self.store.raw, "kms/previous": before.raw}
        self.put(put, event="KMS_STORE_CHANGED")

    def decrypt(self) -> None:
        """An event without a put; the repository has a transaction for it."""
        self.events("FILE_DECRYPTED")
        self.write_row(self.loaded().entry)

    def put(self, payloads: Mapping[str, bytes], event: str = "CONFIGURATION_APPLIED") -> None:
        """One put with the anchor, then the event, then the row."""
        self.document += 1
        new = {**payloads, "config": b'{"version":%d}' % self.document}
        stored = self.stored()
        versions = {name: value.version for name, value in stored.items()}
        author = Author(self.installation, self.records().generation, self.key)
        change_id = new_id()
        changes = author.changes(new, versions, change_id)
        entries = {name: _point(value) for name, value in stored.items()}
        for name, change in changes.items():
            assert change.value is not None
            entries[name] = _point(Versioned(change.value, change.expected_version + 1))
        entries.pop(anchors.ENTRY, None)
        made = self._anchor(entries, new["config"])
        changes |= author.changes({anchors.ENTRY: made.serialize()}, versions, change_id)
        with self.coordinator() as coordinator:
            coordinator.put(changes)
        store = self.store
        self.events(
            event,
            epoch=store.store.epoch,
            sha256=kms_store.digest(store.raw),
            version=self.document,
        )
        self.write_row(made)

    def write_row(self, made: Anchor | None) -> None:
        """The anchor in the repository, with the present log."""
        assert made is not None
        row = made._replace(logs=self._logs()).row(self.installation, self.key)
        repository = Repository(self.url)
        with repository.transaction() as tx:
            tx.marks.set("anchor", base64.b64encode(row).decode())
        repository.close()

    def grow_records(self) -> None:
        """The next generation of the records."""
        self._write_records(self.records().with_floors(entries=2))

    # ---- what is there -------------------------------------------------------------------------------

    @contextmanager
    def coordinator(self) -> Iterator[LocalCoordinator]:
        """The coordination service, closed again: its files are exchanged in between."""
        opened = LocalCoordinator(self.folder / "coordination.db", self.folder / "locks")
        try:
            yield opened
        finally:
            opened.close()

    def stored(self) -> dict[str, Versioned]:
        """All entries, unproved."""
        with database(self.folder / "coordination.db") as connection:
            names = [row[0] for row in connection.execute("SELECT key FROM entries")]
        with self.coordinator() as coordinator:
            found = {name: coordinator.get(name) for name in names if "locks/" not in name}
        return {name: value for name, value in found.items() if value}

    def records(self) -> KeyRecords:
        return self._read_records().present

    def findings(self) -> tuple[Finding, ...]:
        """What does not fit, faults only.

        Raises:
            StrongroomError: Something is refused by its own MAC or format already.
        """
        return tuple(one for one in compare(*self.loaded()) if one.is_fault)

    def loaded(self) -> Loaded:
        """Everything, each proved by itself."""
        records = self._read_records()
        keys = EntryKeys(self.installation, records.present.generation, self.key)
        proved = {
            name: UnprovedEntry(name, value).prove(keys) for name, value in self.stored().items()
        }
        check_one_key(proved.values())
        entry = proved.pop(anchors.ENTRY, None)
        raw = proved["kms/store"].payload if "kms/store" in proved else b""
        store = kms_store.parse(raw or self.store.raw)
        config = proved.get("config")
        observed = Observed(
            document=_document(config),
            entries={name: Point(one.version, one.digest) for name, one in proved.items()},
            kms=StorePoint(store.epoch, hashlib.sha256(raw).digest(), store.successor),
            follows=store.continuity(self.known, raw).is_proved,
            logs=self._log_states(),
            records=Point(records.present.generation, records.digest),
            registry=None,
            witness=self._witness(),
        )
        parsed = None if entry is None else anchors.parse(entry.payload)
        return Loaded(parsed, self._row(), observed)

    def _row(self) -> Anchor | None:
        repository = Repository(self.url)
        with repository.reading() as tx:
            text = tx.marks.find("anchor")
        repository.close()
        if text is None:
            return None
        return anchors.open_row(base64.b64decode(text), self.installation, {self.key.id: self.key})

    def _anchor(self, entries: Mapping[str, Point], config: bytes) -> Anchor:
        before, row = None, None
        if anchors.ENTRY in self.stored():
            before, row, _ = self.loaded()
        records = self._read_records()
        digest = hashlib.sha256(self.store.raw).digest()
        store = self.store.store
        return Anchor(
            number=before.number + 1 if before else 1,
            at="2026-11-21T20:00:00Z",
            document=Point(self.document, hashlib.sha256(config).digest()),
            entries=entries,
            kms=StorePoint(store.epoch, digest, store.successor),
            logs=self._logs(),
            records=Point(records.present.generation, records.digest),
            repository=row.number if row else 0,
        )

    def _logs(self) -> dict[str, LogPoint]:
        return {NODE: _tree(self._lines())}

    def _lines(self) -> list[bytes]:
        path = self.folder / "events.jsonl"
        return path.read_bytes().splitlines() if path.exists() else []

    def _log_states(self) -> dict[str, LogState]:
        lines, beside = self._lines(), self.folder / "events.checkpoint"
        signed = (
            checkpoint_form.parse(beside.read_bytes()).frontier.size if beside.exists() else None
        )

        def goes_on(known: LogPoint) -> bool:
            is_signed = signed is not None and known.size <= signed <= len(lines)
            return is_signed and _tree(lines[: known.size]) == known

        return {NODE: LogState(len(lines), signed, goes_on)}

    def _witness(self) -> Witness:
        found = Witness()
        for record in self.log.read():
            details = record["details"]
            assert isinstance(details, dict)
            if record["id"] == "KMS_STORE_CHANGED":
                changed = Point(details["epoch"], bytes.fromhex(details["sha256"]))
                found = found._replace(changed=changed)
            if record["id"] == "KMS_STORE_CHANGING":
                found = found._replace(changing=details["epoch"])
            found = found._replace(
                document=max(found.document, details.get("version", 0)),
            )
        return found

    # ---- records -------------------------------------------------------------------------------------

    def _first_records(self) -> KeyRecords:
        entry = self.keystore.entries[0]
        wrap = generations.wrap_key(
            self.installation, self.key.id, self.key.key, entry.alias, entry.key
        )
        record = ConfigurationKeyRecord(self.key.id, NOW, ConfigurationKeyState.ACTIVE, (wrap,))
        return KeyRecords(self.installation, self.key.id, (record,))

    def _write_records(self, records: KeyRecords) -> None:
        raw = generations.serialize(records, self.keystore)
        (self.folder / "configuration_keys.json").write_bytes(raw)

    def _read_records(self) -> generations.ReadRecords:
        raw = (self.folder / "configuration_keys.json").read_bytes()
        return generations.read(raw, self.installation, self.keystore)

    # ---- what an attacker does -----------------------------------------------------------------------

    def snapshot(self, name: str) -> Path:
        """A copy of everything."""
        for stem in ("coordination", "repository"):
            with database(self.folder / f"{stem}.db") as connection:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        copy = self.folder.parent / name
        shutil.copytree(self.folder, copy, dirs_exist_ok=True)
        return copy

    def put_back(self, copy: Path, *parts: str) -> None:
        """Put parts back to what they were in a copy."""
        files = {
            "repository": ("repository.db",),
            "events": ("events.jsonl",),
            "checkpoint": ("events.checkpoint",),
            "records": ("configuration_keys.json",),
        }
        for part in parts:
            for name in files.get(part, ()):
                _replace_file(copy / name, self.folder / name)
        rows = raw_rows(copy)
        if "coordination" in parts:
            kept = raw_rows(self.folder).get(anchors.ENTRY)
            old = {name: row for name, row in rows.items() if name != anchors.ENTRY}
            set_rows(self.folder, {**old, **({anchors.ENTRY: kept} if kept else {})})
        if "anchor" in parts:
            set_rows(self.folder, {**raw_rows(self.folder), anchors.ENTRY: rows[anchors.ENTRY]})


Row = tuple[int, bytes]


@contextmanager
def database(path: Path) -> Iterator[sqlite3.Connection]:
    """A database, opened as anybody can."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        yield connection
    finally:
        connection.close()


def raw_rows(folder: Path) -> dict[str, Row]:
    """Versions and values as they lie in the database."""
    with database(folder / "coordination.db") as connection:
        rows = connection.execute("SELECT key, version, value FROM entries").fetchall()
    return {key: (version, value) for key, version, value in rows}


def set_rows(folder: Path, rows: Mapping[str, Row]) -> None:
    """Write the whole table, with digests that fit, which need no key."""
    with database(folder / "coordination.db") as connection:
        connection.execute("DELETE FROM entries")
        for key, (version, value) in rows.items():
            text = key.encode() + b"\0" + str(version).encode() + b"\0" + value
            connection.execute(
                "INSERT INTO entries VALUES (?, ?, ?, ?)",
                (key, version, value, hashlib.sha256(text).digest()),
            )


def _replace_file(source: Path, target: Path) -> None:
    for end in ("-wal", "-shm"):
        target.with_name(target.name + end).unlink(missing_ok=True)
    shutil.copyfile(source, target)


def _point(value: Versioned) -> Point:
    return Point(value.version, hashlib.sha256(value.value).digest())


def _document(config: ProvedEntry | None) -> Point | None:
    if config is None:
        return None
    version = int(config.payload.partition(b":")[2].rstrip(b"}"))
    return Point(version, hashlib.sha256(config.payload).digest())


def _tree(lines: list[bytes]) -> LogPoint:
    tree = Frontier()
    for line in lines:
        tree = tree.grown(line)
    return LogPoint(*tree)
