"""The part of a node for published content and its encrypted files."""

from functools import cached_property
from typing import TYPE_CHECKING

from strongroom.node.parts.directory import DirectoryPart
from strongroom.node.parts.keys import KeysPart
from strongroom.node.parts.secrets import SecretsPart

if TYPE_CHECKING:
    from strongroom.extracts.vault import ExtractVault
    from strongroom.services.content.connections import ConnectionsService
    from strongroom.services.content.extract_list import ExtractList
    from strongroom.services.content.items import ContentService
    from strongroom.services.content.known_ids import KnownIds
    from strongroom.services.content.publish import PublishingService
    from strongroom.services.content.standings import StandingsService
    from strongroom.services.content.stored_files import StoredFiles
    from strongroom.services.content.uploads import UploadsService
    from strongroom.services.jobs.one import Ports as JobPorts
    from strongroom.services.jobs.others import Others
    from strongroom.services.jobs.per_node import NodeView
    from strongroom.services.jobs.processes import NodeProcesses
    from strongroom.services.jobs.roles import JobRoles
    from strongroom.services.jobs.waiting import JobWaits


class ContentPart(KeysPart, SecretsPart, DirectoryPart):
    """Publishing, reading, and the work of jobs on extracts."""

    @cached_property
    def vault(self) -> "ExtractVault":
        """Stored extracts."""
        from strongroom.extracts.vault import ExtractVault

        return ExtractVault(self.files, self.envelope_keys)

    @cached_property
    def stored_files(self) -> "StoredFiles":
        """Stores and reads the files of content."""
        from strongroom.services.content.stored_files import StoredFiles

        def others() -> tuple[str, ...]:
            if self.shares_files:
                return ()
            return tuple(name for name in self.peers.all() if name != self.paths.node_id)

        return StoredFiles(self.repository, self.files, self.envelope_keys, self.clock, others)

    @cached_property
    def publishing(self) -> "PublishingService":
        """Publishing."""
        from strongroom.services.content.publish import PublishingService

        return PublishingService(
            self.repository, self.stored_files, self.assets, self.events, self.clock
        )

    @cached_property
    def uploads(self) -> "UploadsService":
        """Chunked uploads."""
        from strongroom.services.content.uploads import UploadsService

        return UploadsService(self.repository, self.stored_files, self.publishing, self.clock)

    @cached_property
    def content(self) -> "ContentService":
        """Published content."""
        from strongroom.services.content.items import ContentService

        return ContentService(
            self.repository, self.stored_files, self.jobs, self.events, self.clock
        )

    @cached_property
    def connections(self) -> "ConnectionsService":
        """The connections of published content."""
        from strongroom.services.content.connections import ConnectionsService

        return ConnectionsService(self.repository, self.stored_files, self.assets)

    @cached_property
    def standings(self) -> "StandingsService":
        """The permissions of users on content and projects."""
        from strongroom.services.content.standings import StandingsService

        return StandingsService(self.repository)

    @cached_property
    def extract_list(self) -> "ExtractList":
        """The extracts of a site, for the command line."""
        from strongroom.services.content.extract_list import ExtractList

        return ExtractList(self.repository, self.files)

    @cached_property
    def known_ids(self) -> "KnownIds":
        """Ids by their first digits, for the command line."""
        from strongroom.services.content.known_ids import KnownIds

        return KnownIds(self.repository)

    @cached_property
    def job_roles(self) -> "JobRoles":
        """The nodes that work on jobs."""
        from strongroom.services.jobs.roles import JobRoles

        return JobRoles(self._view_of_nodes)

    @cached_property
    def node_processes(self) -> "NodeProcesses":
        """The processes that each node runs."""
        from strongroom.services.jobs.processes import SEVERAL, NodeProcesses

        def check_several() -> None:
            if self.outside is not None:
                self.software.check_in_force(SEVERAL, "more than one backgrounder on a node")

        return NodeProcesses(self._view_of_nodes, check_several)

    @cached_property
    def _view_of_nodes(self) -> "NodeView":
        from strongroom.services.jobs.per_node import NodeView

        def nodes() -> tuple[str, ...]:
            known = self.peers.all().values()
            return tuple(one.node_id for one in known if not one.state.is_gone) or (
                self.paths.node_id,
            )

        return NodeView(self.coordinator, self.events, self.paths.node_id, nodes)

    @cached_property
    def job_waits(self) -> "JobWaits":
        """Says of jobs that nobody works on why."""
        from strongroom.services.jobs.waiting import JobWaits

        return JobWaits(
            self.coordinator,
            self.job_roles,
            lambda: self.shares_files,
            lambda: self.maintenance.present() is not None,
        )

    @cached_property
    def other_workers(self) -> "Others | None":
        """The other nodes, for the process that works on this one's jobs; None for a single node."""
        if self.outside is None:
            return None
        from strongroom.coordination.base import Group
        from strongroom.services.jobs.others import Others

        return Others(
            self.paths.node_id,
            self.coordinator.members,
            lambda: self.coordinator.alive(Group.WORKERS),
            lambda: self.shares_files,
            self.outside.zookeeper_settings().limits.session_s,
        )

    @cached_property
    def job_ports(self) -> "JobPorts":
        """The parts of the node that jobs work on."""
        from strongroom.services.jobs.one import Ports

        return Ports(self.repository, self.files, self.envelope_keys, self.events, self.clock)
