"""The services of a node that the handlers of the REST API may use; each service checks the user's permissions.

Each member is a cached property, as in a node, and so is made at its first use.
"""

from functools import cached_property
from typing import Protocol

from strongroom.services.content.connections import ConnectionsService
from strongroom.services.content.items import ContentService
from strongroom.services.content.publish import PublishingService
from strongroom.services.content.standings import StandingsService
from strongroom.services.content.uploads import UploadsService
from strongroom.services.directory.groups import GroupsService
from strongroom.services.directory.projects import ProjectsService
from strongroom.services.directory.sign_in import AuthService
from strongroom.services.directory.sites import SitesService
from strongroom.services.directory.users import UsersService
from strongroom.services.files.data_key_desk import DataKeyDesk
from strongroom.services.jobs.desk import JobDesk


class TableauServices(Protocol):
    """The services behind `/api`."""

    @cached_property
    def auth(self) -> AuthService:
        """Sign-in, sessions."""
        ...

    @cached_property
    def sites(self) -> SitesService:
        """Sites and their encryption modes."""
        ...

    @cached_property
    def users(self) -> UsersService:
        """Users of sites, their roles and passwords."""
        ...

    @cached_property
    def groups(self) -> GroupsService:
        """Groups of users."""
        ...

    @cached_property
    def projects(self) -> ProjectsService:
        """Projects."""
        ...

    @cached_property
    def job_desk(self) -> JobDesk:
        """Jobs for whoever signed in."""
        ...

    @cached_property
    def content(self) -> ContentService:
        """Published content."""
        ...

    @cached_property
    def connections(self) -> ConnectionsService:
        """The connections of published content."""
        ...

    @cached_property
    def standings(self) -> StandingsService:
        """The permissions of users on content and projects."""
        ...

    @cached_property
    def publishing(self) -> PublishingService:
        """Publishing."""
        ...

    @cached_property
    def data_key_desk(self) -> DataKeyDesk:
        """Data keys of standalone files, for programs that encrypt and decrypt by themselves."""
        ...

    @cached_property
    def uploads(self) -> UploadsService:
        """Chunked uploads."""
        ...
