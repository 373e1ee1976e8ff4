"""The part of a node for users and groups, sites and projects, and jobs."""

from functools import cached_property
from typing import TYPE_CHECKING

from strongroom.node.parts.configuration import ConfigurationPart

if TYPE_CHECKING:
    from strongroom.services.directory.groups import GroupsService
    from strongroom.services.directory.projects import ProjectsService
    from strongroom.services.directory.sign_in import AuthService
    from strongroom.services.directory.sites import SitesService
    from strongroom.services.directory.tokens import TokensService
    from strongroom.services.directory.users import UsersService
    from strongroom.services.jobs.desk import JobDesk
    from strongroom.services.jobs.queue import JobsService
    from strongroom.services.jobs.sole_worker import SoleWorker


class DirectoryPart(ConfigurationPart):
    """Sign-in, sites, users, groups, projects, tokens, jobs."""

    @cached_property
    def auth(self) -> "AuthService":
        """Sign-in, sessions."""
        from strongroom.services.directory.sign_in import AuthService

        return AuthService(self.repository, self.events, self.clock)

    @cached_property
    def sites(self) -> "SitesService":
        """Sites and their encryption modes."""
        from strongroom.services.directory.sites import SitesService

        return SitesService(self.repository, self.events, self.clock, self.jobs)

    @cached_property
    def users(self) -> "UsersService":
        """Users, passwords, roles."""
        from strongroom.services.directory.users import UsersService

        return UsersService(self.repository, self.events, self.clock)

    @cached_property
    def groups(self) -> "GroupsService":
        """Groups of users."""
        from strongroom.services.directory.groups import GroupsService

        return GroupsService(self.repository, self.clock)

    @cached_property
    def projects(self) -> "ProjectsService":
        """Projects."""
        from strongroom.services.directory.projects import ProjectsService

        return ProjectsService(self.repository, self.events, self.clock)

    @cached_property
    def tokens(self) -> "TokensService":
        """Personal access tokens."""
        from strongroom.services.directory.tokens import TokensService

        return TokensService(self.repository, self.events, self.clock)

    @cached_property
    def jobs(self) -> "JobsService":
        """Jobs on extracts, for the node itself, without a check of permissions."""
        from strongroom.services.jobs.queue import JobsService

        return JobsService(self.repository, self.events, self.clock)

    @cached_property
    def sole_worker(self) -> "SoleWorker":
        """The lock of whoever works on this node's jobs."""
        from strongroom.services.jobs.processes import MOST, Process
        from strongroom.services.jobs.sole_worker import SoleWorker

        return SoleWorker(self.coordinator, self.paths.node_id, MOST[Process.BACKGROUNDER])

    @cached_property
    def job_desk(self) -> "JobDesk":
        """Jobs on extracts, for a signed-in user, with a check of the user's permissions."""
        from strongroom.services.jobs.desk import JobDesk

        return JobDesk(self.repository, self.jobs)
