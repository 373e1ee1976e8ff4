"""Two nodes of one installation, as two processes see them: one database and file store, and services of each."""

from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import delete

from strongroom.clock import SystemClock
from strongroom.extracts.model import ContentKind, FileType
from strongroom.repository.rows import ContentRow, Owner, UploadRow
from strongroom.repository.tables import metadata, schema_version
from strongroom.services.content.publish import Publication, PublishingService, PublishRequest
from strongroom.services.content.stored_files import StoredFiles
from strongroom.services.content.uploads import PartUpload, UploadsService
from strongroom.services.directory.sign_in import AuthService, Identity
from tests.support.jobs_lab import SITE, Lab

HEAD = b"Hyper\x08\x00\x00\x01\x00\x02\x00"


class Unsealed:
    """Embedded credentials are not what these tests are about."""

    def seal(self, plaintext: bytes, *, content_id: str) -> tuple[str, str]:
        raise AssertionError((plaintext, content_id))


@dataclass
class Machine(Lab):
    """A node: its own process, on what it shares with the other one."""

    stored: StoredFiles = field(init=False)
    publishing: PublishingService = field(init=False)
    uploads: UploadsService = field(init=False)
    auth: AuthService = field(init=False)

    def begin_anew(self) -> None:
        """As a process that has just started."""
        self.plain.clear()
        self.stored = StoredFiles(self.repository, self.files, self.ring, SystemClock())
        self.publishing = PublishingService(
            self.repository, self.stored, Unsealed(), self.events, SystemClock()
        )
        self.uploads = UploadsService(self.repository, self.stored, self.publishing, SystemClock())
        self.auth = AuthService(self.repository, self.events, SystemClock())

    def identity(self) -> Identity:
        with self.repository.reading() as tx:
            return Identity(tx.users.get("user"), tx.sites.get(SITE), "ServerAdministrator")

    def begun(self, name: str, data: bytes = b"", *, replaces: bool = False) -> Publication:
        """A publication whose bytes have come; only its end is missing."""
        request = PublishRequest(
            ContentKind.DATASOURCE, FileType.HYPER, name, encrypt=True, replaces=replaces
        )
        publication = self.publishing.begin(self.identity(), request)
        publication.write(HEAD + data + b"." * 32)
        return publication

    def part(self, upload: UploadRow) -> PartUpload:
        part = self.uploads.begin_part(self.identity(), upload.id)
        part.write(b"a part")
        return part

    def rows(self) -> list[ContentRow]:
        with self.repository.reading() as tx:
            return tx.contents.list_for_site(SITE)


@dataclass
class Nodes:
    """Two of them."""

    one: Machine
    two: Machine
    before: frozenset[str] = frozenset()

    def reset(self) -> None:
        """Begin anew, with the rows of a lab."""
        with self.one.repository._begin(read_only=False, marked=False) as connection:
            for table in reversed(metadata.sorted_tables):
                if table is not schema_version:
                    connection.execute(delete(table))
        self.one.set_up()
        self.one.begin_anew()
        self.two.begin_anew()

    def remember_files(self) -> None:
        """The files of earlier runs, which a new beginning has left behind."""
        self.before = frozenset(self.one.files.list())

    def check_files(self) -> None:
        """Every file that a row names is there, and every other one is announced, so that a start removes it."""
        with self.one.repository.reading() as tx:
            named = tx.contents.storage_keys() | tx.uploads.storage_keys()
            announced = tx.intents.storage_keys()
        there = set(self.one.files.list())
        assert named <= there
        assert there - self.before - named <= announced

    def close(self) -> None:
        self.one.repository.close()
        self.two.repository.close()


def open_nodes(folder: Path, url: str) -> Nodes:
    """Two nodes on one database and one folder of files."""
    one, two = (Machine(folder, url=url, owner=Owner(f"node{n}", f"boot{n}")) for n in (1, 2))
    nodes = Nodes(one, two)
    nodes.one.repository.ensure_schema()
    return nodes
