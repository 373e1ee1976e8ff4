"""The services of a node that the commands of sites, users, tokens, extracts and jobs may use."""

from functools import cached_property
from typing import Protocol

from strongroom.services.content.extract_list import ExtractList
from strongroom.services.content.items import ContentService
from strongroom.services.content.known_ids import KnownIds
from strongroom.services.directory.sites import SitesService
from strongroom.services.directory.tokens import TokensService
from strongroom.services.directory.users import UsersService
from strongroom.services.jobs.processes import NodeProcesses
from strongroom.services.jobs.queue import JobsService
from strongroom.services.jobs.roles import JobRoles
from strongroom.services.jobs.sole_worker import SoleWorker
from strongroom.services.jobs.waiting import JobWaits


class ContentCommands(Protocol):
    """The services behind the commands of content and directory."""

    @cached_property
    def sites(self) -> SitesService:
        """Sites and their encryption modes."""
        ...

    @cached_property
    def users(self) -> UsersService:
        """Users, passwords, roles."""
        ...

    @cached_property
    def tokens(self) -> TokensService:
        """Personal access tokens."""
        ...

    @cached_property
    def jobs(self) -> JobsService:
        """Jobs on extracts, of everybody."""
        ...

    @cached_property
    def job_roles(self) -> JobRoles:
        """The nodes that work on jobs."""
        ...

    @cached_property
    def node_processes(self) -> NodeProcesses:
        """The processes that each node runs."""
        ...

    @cached_property
    def job_waits(self) -> JobWaits:
        """Says of jobs that nobody works on why."""
        ...

    @cached_property
    def sole_worker(self) -> SoleWorker:
        """The lock of the process that works on jobs."""
        ...

    @cached_property
    def content(self) -> ContentService:
        """Published content."""
        ...

    @cached_property
    def known_ids(self) -> KnownIds:
        """Ids by their first digits."""
        ...

    @cached_property
    def extract_list(self) -> ExtractList:
        """The extracts of a site."""
        ...
