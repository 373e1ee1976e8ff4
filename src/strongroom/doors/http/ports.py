"""The services of a node that the web service may use beside those of the REST API: listener, probes, admission, upkeep."""

from functools import cached_property
from typing import Protocol

from strongroom.doors.tableau.ports import TableauServices
from strongroom.services.configuration.present import PresentConfiguration
from strongroom.services.content.stored_files import StoredFiles
from strongroom.services.directory.sign_in import AuthService
from strongroom.services.keys.keeper import StoreKeeper
from strongroom.services.nodes.admit import TopologyService
from strongroom.services.nodes.readiness import Readiness


class AdmissionServices(Protocol):
    """The services behind `/tsm/nodes`."""

    @cached_property
    def topology(self) -> TopologyService:
        """The nodes of the installation."""
        ...


class ProbeServices(Protocol):
    """The services behind `/readyz`."""

    @cached_property
    def readiness(self) -> Readiness:
        """Whether the node is able to do its work now."""
        ...


class ListenerServices(Protocol):
    """The services that tell the HTTPS listener of a new certificate."""

    @cached_property
    def configuration(self) -> PresentConfiguration:
        """The address and the certificate of the listener, and notices of their changes."""
        ...


class KeptLog(Protocol):
    """The upkeep of an event log."""

    def sign(self) -> tuple[str, ...]:
        """Sign what is unsigned; says what does not fit its checkpoint."""
        ...

    def problems(self) -> tuple[str, ...]:
        """Compare every signed line with the checkpoint; says what does not fit."""
        ...

    def remove_leftovers(self) -> bool:
        """Remove what a killed writer left; says whether there was any."""
        ...


class UpkeepServices(Protocol):
    """The services behind the upkeep of a serving node."""

    def remove_unfinished(self) -> int:
        """Remove the stored files that dead processes had not made visible; returns how many went."""
        ...

    @cached_property
    def events(self) -> KeptLog:
        """The event log."""
        ...

    def event_log_faults(self) -> tuple[str, ...]:
        """Compare the event log with its anchor; says what does not fit."""
        ...

    @cached_property
    def stored_files(self) -> StoredFiles:
        """Files of content: what was in doubt is settled."""
        ...

    @cached_property
    def auth(self) -> AuthService:
        """Sessions that nobody uses, failures that were only counted."""
        ...

    @cached_property
    def topology(self) -> TopologyService:
        """Failures that were only counted."""
        ...

    @cached_property
    def kms_store(self) -> StoreKeeper:
        """The proof of the keys."""
        ...


class AppServices(TableauServices, AdmissionServices, ProbeServices, Protocol):
    """The services that the web application calls."""


class ServedNode(AppServices, ListenerServices, UpkeepServices, Protocol):
    """A node as the web service sees it."""
