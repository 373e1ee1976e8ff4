"""A site with extracts in a folder: real repository, file store, vault and event log, and a key ring in a file.

The ring is a file so that worker processes that tests start and kill see the same keys.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from strongroom.clock import SystemClock, parse_utc
from strongroom.crypto import rng
from strongroom.crypto.secret import SecretBytes
from strongroom.envelope.header import Placement
from strongroom.envelope.keys import EnvelopeKeys
from strongroom.eventlog.jsonl import JsonlEventLog
from strongroom.extracts.vault import ExtractVault, StoredFile
from strongroom.filestore.local import LocalFileStore
from strongroom.ids import MekId, new_id
from strongroom.jobs.model import JobKind, Receipt
from strongroom.kms.keyring import KeyRing
from strongroom.kms.keys import Mek
from strongroom.kms.ring_keys import RingKeys
from strongroom.kms.states import MekState
from strongroom.repository.rows import (
    NOBODY,
    ContentRow,
    JobRow,
    Owner,
    ProjectRow,
    SiteRow,
    UserRow,
)
from strongroom.repository.unit_of_work import Repository
from strongroom.services.jobs.one import Ports
from strongroom.services.jobs.queue import JobsService

T = TypeVar("T")
NOW = "2026-11-21T12:00:00Z"
MADE = parse_utc(NOW)
SITE, OTHER = new_id(), new_id()


class FileRing(EnvelopeKeys):
    """Envelope keys whose MEKs stand in a file; the last one encrypts."""

    def __init__(self, path: Path) -> None:
        super().__init__(RingKeys(self._ring))
        self._path = path
        if not path.exists():
            self._write({new_id(): rng.new_key().reveal().hex()})

    def rotate(self) -> str:
        self._write({**self._read(), new_id(): rng.new_key().reveal().hex()})
        return self.active_mek_id

    def retire(self, mek_id: str) -> None:
        ring = self._read()
        del ring[mek_id]
        self._write(ring)

    def _ring(self) -> KeyRing:
        *old, active = self._read().items()
        return KeyRing(
            (
                *(_mek(*one, MekState.DECRYPT_ONLY) for one in old),
                _mek(*active, MekState.ENCRYPT_OR_DECRYPT),
            )
        )

    def _read(self) -> dict[str, str]:
        ring: dict[str, str] = json.loads(self._path.read_text())
        return ring

    def _write(self, ring: dict[str, str]) -> None:
        new = self._path.with_suffix(".new")
        new.write_text(json.dumps(ring))
        new.replace(self._path)


def _mek(mek_id: str, material: str, state: MekState) -> Mek:
    return Mek(MekId(mek_id), state, MADE, None, None, SecretBytes(bytes.fromhex(material)))


@dataclass
class Lab:
    """Everything of one test's installation.

    Attributes:
        folder: Its files.
        plain: What was published, by content.
        url: The repository's database; a file in the folder unless named.
        owner: The process that this lab stands for; two labs may be two nodes of one installation.
    """

    folder: Path
    plain: dict[str, bytes] = field(default_factory=dict)
    url: str = ""
    owner: Owner = NOBODY

    @cached_property
    def repository(self) -> Repository:
        url = self.url or f"sqlite:///{self.folder}/repository.db"
        repository = Repository(url, owner=self.owner)
        repository.ensure_schema()
        return repository

    @cached_property
    def files(self) -> LocalFileStore:
        return LocalFileStore(self.folder / "extracts")

    @cached_property
    def ring(self) -> FileRing:
        return FileRing(self.folder / "ring.json")

    @cached_property
    def vault(self) -> ExtractVault:
        return ExtractVault(self.files, self.ring, threads=1)

    @cached_property
    def events(self) -> JsonlEventLog:
        return JsonlEventLog(self.folder / "events.jsonl", "node1", SystemClock())

    @cached_property
    def ports(self) -> Ports:
        return Ports(self.repository, self.files, self.ring, self.events, SystemClock())

    @cached_property
    def jobs(self) -> JobsService:
        return JobsService(self.repository, self.events, SystemClock())

    def set_up(self) -> "Lab":
        """Two sites, a user and a project on each."""
        with self.repository.transaction() as tx:
            tx.users.insert(UserRow("user", "Admin", "Admin", None, True, NOW))
            for site_id, name in ((SITE, "Default"), (OTHER, "Other")):
                tx.sites.insert(SiteRow(site_id, name, name.lower(), 1, NOW))
                tx.projects.insert(
                    ProjectRow(
                        f"p-{site_id}", site_id, "Default", None, "", "user", "Managed", NOW, NOW
                    )
                )
        return self

    def publish(
        self, data: bytes, *, encrypted: bool, site_id: str = SITE, has_extract: bool = True
    ) -> str:
        """A data source; returns its id."""
        content_id = new_id()
        stored = self.store(content_id, data, encrypted=encrypted, site_id=site_id)
        with self.repository.transaction() as tx:
            tx.contents.insert(
                ContentRow(
                    id=content_id,
                    site_id=site_id,
                    project_id=f"p-{site_id}",
                    owner_id="user",
                    kind="datasource",
                    name=f"ds-{content_id[:8]}",
                    content_url=content_id,
                    file_name="x.hyper",
                    file_type="hyper",
                    state=int(encrypted),
                    has_extract=has_extract,
                    created_at=NOW,
                    updated_at=NOW,
                    storage_key=stored.storage_key,
                    file_id=stored.file_id,
                    mek_id=stored.mek_id,
                    plaintext_bytes=stored.plaintext_bytes,
                    stored_bytes=stored.stored_bytes,
                )
            )
        self.plain[content_id] = data
        return content_id

    def store(
        self, content_id: str, data: bytes, *, encrypted: bool, site_id: str = SITE
    ) -> StoredFile:
        writer = self.vault.create(Placement(site_id, content_id), encrypted=encrypted)
        writer.write(data)
        return writer.commit()

    def row(self, content_id: str) -> ContentRow:
        with self.repository.reading() as tx:
            return tx.contents.get(content_id)

    def read(self, content_id: str) -> bytes:
        """An extract's plaintext, all of it authenticated."""
        row = self.row(content_id)
        stored = StoredFile(
            row.storage_key, row.file_id, row.mek_id, row.plaintext_bytes, row.stored_bytes
        )
        with self.vault.open(stored, Placement(row.site_id, row.id)) as reader:
            return b"".join(reader.iterate(0, reader.size))

    def path(self, content_id: str) -> Path:
        return Path(self.files.place_of(self.row(content_id).storage_key))

    def start(self, kind: JobKind, *ids: str, site_id: str = SITE, **options: object) -> JobRow:
        """A job as a worker has claimed it."""
        job = self.jobs.enqueue(kind, site_id, "os:test", content_ids=ids or None, options=options)
        with self.repository.transaction() as tx:
            assert tx.jobs.claim(job.id, NOW)
        return job

    def check_whole(self) -> None:
        """Every extract reads back, under its placement, and nothing lies about: R3's invariant."""
        for content_id, data in self.plain.items():
            assert self.read(content_id) == data
        with self.repository.reading() as tx:
            named = tx.contents.storage_keys()
            assert tx.intents.list() == []
        assert self.vault.leftovers(named) == []

    def seen(self, event_id: str) -> list[dict[str, object]]:
        """The details of all events of one kind."""
        return [dict(one["details"]) for one in self.events.read() if one["id"] == event_id]  # type: ignore[call-overload]

    def receipt(self, job_id: str) -> Receipt:
        receipt = self.jobs.show(job_id).receipt
        assert receipt is not None
        return Receipt.from_dict(receipt)


class Memory:
    """Steps kept in memory, as the engine keeps them in its database; a run may be cut before any of them ends."""

    def __init__(self) -> None:
        self.results: list[str] = []
        self.position = 0

    def begin(self) -> "Memory":
        self.position = 0
        return self

    def __call__(self, name: str, work: Callable[[], T]) -> T:
        del name
        if self.position == len(self.results):
            self.results.append(json.dumps(work()))
        self.position += 1
        result: T = json.loads(self.results[self.position - 1])
        return result


def open_lab(folder: Path) -> Iterator[Lab]:
    """A lab that is set up, and closed at the end."""
    lab = Lab(folder).set_up()
    yield lab
    lab.repository.close()
