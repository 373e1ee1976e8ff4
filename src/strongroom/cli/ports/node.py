"""The services of a node that the commands about the node itself may use."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import Protocol

from strongroom.clock import Clock
from strongroom.eventlog.audit import Report
from strongroom.eventlog.base import EventLog, Query
from strongroom.eventlog.checkpoints import CheckpointFile, Newest
from strongroom.eventlog.logfile import Progress
from strongroom.eventlog.notes import Checkpoint
from strongroom.runtime.paths import DataPaths
from strongroom.services.nodes.admit import TopologyService
from strongroom.services.nodes.maintenance import MaintenanceService, OutOfService
from strongroom.system.durable import FileModes


class LogCommands(EventLog, Protocol):
    """An event log that people look into."""

    checkpoints: CheckpointFile

    def follow(self, query: Query, wait: Callable[[], object]) -> Iterator[Mapping[str, object]]:
        """The records that are asked for, and then each that comes; `wait` is called between two looks."""
        ...

    def verify(self, *kept: Checkpoint, progress: Progress | None = None) -> Report:
        """Compare every line with the chain, the signed checkpoint, and checkpoints that somebody kept."""
        ...

    def newest_checkpoint(self) -> Newest | None:
        """The newest signed checkpoint, and who signed it."""
        ...

    def acknowledge(self, actor: str, reason: str, *, progress: Progress | None = None) -> Report:
        """Say by an event why lines are right that were signed late; gives the report on which that rests."""
        ...

    def take_as_it_is(self) -> None:
        """Append from now on without comparing the log with what was known of it."""
        ...

    def archive(self, actor: str, reason: str, faults: Sequence[str] = ()) -> Path:
        """Begin a new log; gives where the present one was laid aside."""
        ...


class NodeCommands(Protocol):
    """The place of the node, its event log, and the other nodes of the installation."""

    paths: DataPaths
    clock: Clock

    def ensure_schema(self) -> None:
        """Bring the repository's tables to what this version writes."""
        ...

    @cached_property
    def file_modes(self) -> FileModes:
        """Modes and group of new files."""
        ...

    @cached_property
    def maintenance(self) -> MaintenanceService:
        """The maintenance of the installation."""
        ...

    @cached_property
    def out_of_service(self) -> OutOfService:
        """All that takes this node out of service."""
        ...

    def drain_of(self, node_id: str) -> MaintenanceService:
        """The maintenance of one node alone."""
        ...

    @cached_property
    def events(self) -> LogCommands:
        """The event log."""
        ...

    def event_log_faults(self) -> tuple[str, ...]:
        """Compare the event log with its anchor; says what does not fit."""
        ...

    def state_faults(self) -> tuple[str, ...]:
        """Compare the state with its anchors; says what does not fit."""
        ...

    def accept_state(self, actor: str, reason: str) -> tuple[str, ...]:
        """Take the state as it is, whatever its anchors say; returns what did not fit."""
        ...

    def anchor_event_log_anew(self) -> None:
        """Take the event log as it is, whatever its anchor says."""
        ...

    def present_controller(self) -> str:
        """The id of the node that is the controller now; empty if none is."""
        ...

    def announced(self) -> AbstractContextManager[None]:
        """Be seen by the other nodes of a cluster until the end of the block."""
        ...

    @cached_property
    def topology(self) -> TopologyService:
        """The nodes of the installation."""
        ...
