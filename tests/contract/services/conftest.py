"""An installation's platform: repository, event log and services, with a clock that tests move."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from strongroom.access.permissions import Subject
from strongroom.clock import FixedClock
from strongroom.crypto.secret import SecretBytes
from strongroom.eventlog.jsonl import JsonlEventLog
from strongroom.repository.rows import SiteRow, UserRow
from strongroom.repository.unit_of_work import Repository
from strongroom.services.directory import first_rows
from strongroom.services.directory.groups import GroupsService
from strongroom.services.directory.projects import ProjectsService
from strongroom.services.directory.sign_in import AuthService, Identity
from strongroom.services.directory.sites import SitesService
from strongroom.services.directory.tokens import TokensService
from strongroom.services.directory.users import UsersService
from strongroom.services.jobs.queue import JobsService

PASSWORD = SecretBytes(b"correct horse")
LOCAL = Subject.local("os:root")


@dataclass
class Platform:
    """Everything that services need, and the services."""

    repository: Repository
    events: JsonlEventLog
    clock: FixedClock
    site: SiteRow
    admin: UserRow

    def __post_init__(self) -> None:
        parts = self.repository, self.events, self.clock
        self.jobs = JobsService(*parts)
        self.auth = AuthService(*parts, monotonic=self._elapsed)
        self.sites = SitesService(*parts, self.jobs)
        self.users = UsersService(*parts)
        self.tokens = TokensService(*parts)
        self.groups = GroupsService(self.repository, self.clock)
        self.projects = ProjectsService(*parts)

    def _elapsed(self) -> float:
        return self.clock.moment.timestamp()

    def later(self, **span: float) -> None:
        """Move the clock."""
        self.clock.moment += timedelta(**span)

    def event_ids(self) -> list[str]:
        """The ids of all events so far."""
        return [str(record["id"]) for record in self.events.read()]

    def user(self, name: str, role: str = "Creator") -> UserRow:
        """A user of the default site who can sign in with PASSWORD."""
        user = self.users.create(LOCAL, name, password=PASSWORD)
        self.users.add_to_site(LOCAL, self.site.id, name, role)
        return user

    def subject(self, name: str, content_url: str = "") -> Subject:
        """Somebody signed in."""
        return self.sign_in(name, content_url)[1].subject

    def sign_in(self, name: str, content_url: str = "") -> tuple[str, Identity]:
        """Sign in with PASSWORD."""
        return self.auth.sign_in(name, PASSWORD, content_url)


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    """A fresh installation with the administrator `Admin`."""
    repository = Repository(f"sqlite:///{tmp_path}/repository.db")
    clock = FixedClock(datetime(2026, 11, 21, 12, tzinfo=UTC))
    events = JsonlEventLog(tmp_path / "events.jsonl", "node1", clock)
    made = first_rows.create_platform(
        repository, events, clock, "os:root", admin_name="Admin", admin_password=PASSWORD
    )
    yield Platform(repository, events, clock, made.site, made.administrator)
    repository.close()
