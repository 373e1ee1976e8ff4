"""The composition root: reads environment and data directory, picks providers, hands out services.

Everything is built at first use, and imported there: `tsm configuration get` must not pay for the repository.
"""

import grp
import os
import sys
import time
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from strongroom import durable, os_users
from strongroom.clock import Clock, SystemClock
from strongroom.errors import (
    NotFoundError,
    PermissionDeniedError,
    StateError,
)
from strongroom.topology.paths import DataPaths

if TYPE_CHECKING:
    from collections.abc import Callable

    from strongroom.bootstrap_roots import Roots
    from strongroom.consumers.base import Consumer
    from strongroom.coordination.local import LocalCoordinator
    from strongroom.crypto.age import Identity
    from strongroom.crypto.secret import SecretBytes
    from strongroom.eventlog.jsonl import JsonlEventLog
    from strongroom.eventlog.notes import LogSigner
    from strongroom.extracts.vault import ExtractVault
    from strongroom.filestore.local import LocalFileStore
    from strongroom.keystore.configuration_key import ConfigurationKeys
    from strongroom.keystore.replicas import KeystoreDirectory
    from strongroom.kms.accessor import KmsAccessor
    from strongroom.kms.cache import Limits
    from strongroom.repository.unit_of_work import Repository
    from strongroom.roots.base import RootProvider, WrapRecord
    from strongroom.services.assets import AssetService
    from strongroom.services.auth import AuthService
    from strongroom.services.configuration import ConfigurationService
    from strongroom.services.content import ContentService
    from strongroom.services.extract_item import Ports as JobPorts
    from strongroom.services.files import StandaloneFiles
    from strongroom.services.groups import GroupsService
    from strongroom.services.initialise import NewNodePorts
    from strongroom.services.jobs import JobsService
    from strongroom.services.kms import KmsService
    from strongroom.services.kms_keeper import KmsPorts, StoreKeeper, UseCount
    from strongroom.services.kms_roots import RootsService
    from strongroom.services.prepare import PreparePorts
    from strongroom.services.projects import ProjectsService
    from strongroom.services.publishing import PublishingService
    from strongroom.services.regenerate import RegenerateService
    from strongroom.services.secret_inventory import SecretInventory
    from strongroom.services.secret_rotation import SecretRotation
    from strongroom.services.settings import SettingsService
    from strongroom.services.sites import SitesService
    from strongroom.services.stored_files import StoredFiles
    from strongroom.services.tokens import TokensService
    from strongroom.services.topology import TopologyService
    from strongroom.services.uploads import UploadsService
    from strongroom.services.users import UsersService
    from strongroom.topology.prepared import PreparedNode

HOME_VARIABLE = "STRONGROOM_HOME"
_ROOT_HOME = Path("/var/opt/strongroom")
_GROUP = "strongroom"


def data_dir(option: str | None) -> Path:
    """The data directory: `--data-dir`, else `STRONGROOM_HOME`, else root's place or the user's own."""
    named = option or os.environ.get(HOME_VARIABLE)
    if named:
        return Path(named).absolute()
    if os.geteuid() == 0:
        return _ROOT_HOME
    shared = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(shared) / "strongroom"


def local_actor() -> str:
    """The operating-system user who runs this process, as the actor of events."""
    return f"os:{os_users.user_name(os.getuid())}"


def installation_access() -> durable.Access:
    """Modes and group of new folders and files (C-10): root shares with the group `strongroom`."""
    if os.geteuid() != 0:
        return durable.PRIVATE
    try:
        return durable.shared_with(grp.getgrnam(_GROUP).gr_gid)
    except KeyError:
        return durable.PRIVATE


def prepared_node(option: str | None) -> "PreparedNode | None":
    """What is known of a node that was prepared and has not joined its cluster; None if the directory has no such node."""
    from strongroom.topology import prepared

    return prepared.find(DataPaths(data_dir(option)))


def open_node(option: str | None) -> "Node":
    """The node whose data directory is named.

    Raises:
        NotFoundError: There is no node.
        PermissionDeniedError: The directory belongs to somebody else (local authority).
    """
    root = data_dir(option)
    paths = DataPaths(root)
    try:
        owner = paths.owner()
    except FileNotFoundError as error:
        waiting = prepared_node(option)
        if waiting is not None:
            raise StateError(f"the node in {root} is {waiting.describe()}") from error
        hint = (
            f"create one with 'strongroom init', or name another with --data-dir or {HOME_VARIABLE}"
        )
        raise NotFoundError(f"there is no node in {root}", hint=hint) from error
    except PermissionError as error:
        raise PermissionDeniedError(
            f"{root} may not be entered by {local_actor()}",
            hint="run this as the directory's owner",
        ) from error
    if os.geteuid() != owner:
        # root too: the files that it would leave there could not be used by the node's own processes
        raise PermissionDeniedError(
            f"{root} belongs to the user {os_users.user_name(owner)}, and this runs as {local_actor()}",
            hint=f"run this as the directory's owner: {os_users.as_user(owner)} ...",
        )
    return Node(paths, SystemClock())


def log_copy(path: Path) -> "JsonlEventLog":
    """A copy of some node's event log, to be verified."""
    from strongroom.eventlog.jsonl import JsonlEventLog

    return JsonlEventLog(path, "", SystemClock())


class Node:
    """One node's ports and services."""

    def __init__(self, paths: DataPaths, clock: Clock) -> None:
        self.paths = paths
        self.clock = clock
        #: Service whose log gets the sentences about the RMK (A-16); the backgrounder names itself.
        self.key_log = "vizqlserver"
        self._closing = ExitStack()

    @cached_property
    def repository(self) -> "Repository":
        """The repository: sites, users, content, jobs."""
        from strongroom.repository import engine
        from strongroom.repository.unit_of_work import Repository

        repository = Repository(engine.sqlite_url(self.paths.repository), self.access)
        self._closing.callback(repository.close)
        return repository

    @cached_property
    def access(self) -> durable.Access:
        """Modes and group of new folders and files (C-10)."""
        return installation_access()

    @cached_property
    def events(self) -> "JsonlEventLog":
        """The event log of this node."""
        from strongroom.eventlog.jsonl import JsonlEventLog

        find = self._find_log_signer
        return JsonlEventLog(self.paths.events, self.paths.node_id, self.clock, self.access, find)

    def _find_log_signer(self) -> "LogSigner | None":
        from strongroom.services import event_signing

        return event_signing.find_signer(self.configuration, self.paths.node_id)

    @cached_property
    def keystore(self) -> "KeystoreDirectory":
        """The keystore replicas of this node's services."""
        from strongroom.keystore.replicas import KeystoreDirectory
        from strongroom.topology.processes import SERVICES

        folders = [self.paths.keystores(service) for service in SERVICES]
        return KeystoreDirectory(folders, self.paths.keystore_password, self.access)

    @cached_property
    def coordinator(self) -> "LocalCoordinator":
        """The coordination service; `create_coordinator` made it."""
        from strongroom.coordination.local import LocalCoordinator

        coordinator = LocalCoordinator(
            self.paths.coordination,
            self.paths.locks,
            node_id=self.paths.node_id,
            holder=f"{local_actor()}, process {os.getpid()}",
        )
        self._closing.callback(coordinator.close)
        return coordinator

    def create_coordinator(self) -> None:
        """Make the empty coordination database; keeps one that is there."""
        from strongroom.coordination.local import LocalCoordinator

        durable.make_folder(self.paths.tabsvc, self.access)  # the first to make it: with its mode
        LocalCoordinator.create(self.paths.coordination, self.paths.locks)

    def open_configuration_keys(self, installation_id: str) -> "ConfigurationKeys":
        """The configuration keys, opened by the keystore as it is now."""
        from strongroom.keystore.configuration_key import ConfigurationKeys

        second = self.paths.recovery_records
        return ConfigurationKeys(self.keystore, self.keystore.load(), installation_id, second)

    def _present_keys(self) -> "ConfigurationKeys":
        return self.open_configuration_keys(self.configuration.document().installation_id)

    @cached_property
    def configuration(self) -> "ConfigurationService":
        """Configuration keys, pending changes, secrets."""
        from strongroom.services.configuration import ConfigurationService
        from strongroom.topology.processes import SERVICES

        return ConfigurationService(
            self.coordinator,
            self.open_configuration_keys,
            self.events,
            [self.paths.service_config(service) for service in SERVICES],
            self.access,
        )

    @cached_property
    def settings(self) -> "SettingsService":
        """Settings on their way out and in."""
        from strongroom.services.settings import SettingsService
        from strongroom.topology.processes import SERVICES

        return SettingsService(self.configuration, self.events, {self.paths.node_id: SERVICES})

    @cached_property
    def topology(self) -> "TopologyService":
        """The nodes of the installation."""
        from strongroom.services.topology import TopologyPorts, TopologyService

        node_id, keystore = self.paths.node_id, self.keystore
        ports = (self.configuration, keystore, self.coordinator, self.events, self.clock, node_id)
        return TopologyService(TopologyPorts(*ports))

    def prepared_node_ports(self) -> "PreparePorts":
        """What `services.prepare` works through."""
        from strongroom.eventlog.jsonl import JsonlEventLog
        from strongroom.services.prepare import PreparePorts

        log = JsonlEventLog(self.paths.events, self.paths.node_id, self.clock, self.access)
        return PreparePorts(self.keystore, log, self.paths, self.access)

    @cached_property
    def files(self) -> "LocalFileStore":
        """The file store of this node."""
        from strongroom.filestore.local import LocalFileStore

        return LocalFileStore(self.paths.extracts, self.access)

    @cached_property
    def vault(self) -> "ExtractVault":
        """Stored extracts."""
        from strongroom.extracts.vault import ExtractVault

        return ExtractVault(self.files, self.keys)

    @cached_property
    def standalone_files(self) -> "StandaloneFiles":
        """Encrypts and decrypts files that belong to no site."""
        from strongroom.services.files import StandaloneFiles

        return StandaloneFiles(self.keys, self.events)

    def _say(self, channel: str, sentence: str) -> None:
        """To the service log, where one was set up: a command has none, and does not pay for it."""
        logging = sys.modules.get("logging")
        if logging is not None:
            logging.getLogger(f"{self.key_log}.{channel}").info("%s", sentence)

    # ---- keys ------------------------------------------------------------------------------------

    def local_root(
        self, key_id: str, open_key: "Callable[[str], SecretBytes] | None" = None
    ) -> "RootProvider":
        """The local root that wraps by one configuration key."""
        from strongroom.roots.local import LocalRoot

        return LocalRoot(key_id, open_key or self.configuration.open_key, self.clock)

    def recipient_root(
        self, wrap: "WrapRecord", identities: "tuple[Identity, ...]"
    ) -> "RootProvider":
        """The recovery recipient of a wrap, with identities that may open it."""
        from strongroom.roots import recipient

        return recipient.RecipientRoot(recipient.of_wrap(wrap), self.clock, identities)

    @cached_property
    def _providers(self) -> "Roots":
        from strongroom.bootstrap_roots import Roots

        return Roots(self)

    @cached_property
    def keys(self) -> "KmsAccessor":
        """Data keys; the one holder of the RMK in this process."""
        from strongroom.kms.accessor import KmsAccessor
        from strongroom.services.kms_sealed import ConfiguredStore

        sealed = ConfiguredStore(self.configuration, self.coordinator)
        return KmsAccessor(
            sealed,
            self._providers.find,
            monotonic=time.monotonic,
            log=self._say,
            limits=self._key_limits,
        )

    def _key_limits(self) -> "Limits":
        from strongroom.kms.cache import Limits

        values = [
            float(self.configuration.effective(f"kms.rmk.{name}_seconds") or "0")
            for name in ("keep", "offline")
        ]
        return Limits(*values)

    @cached_property
    def _kms_ports(self) -> "KmsPorts":
        from strongroom.services.epochs import RepositoryMarks, RepositoryProof
        from strongroom.services.kms_keeper import KmsPorts

        marks, kept = RepositoryMarks(self.repository), RepositoryProof(self.repository)
        return KmsPorts(self.coordinator, self.events, marks, self.clock, kept, time.monotonic)

    @cached_property
    def keeper(self) -> "StoreKeeper":
        """The KMS store."""
        from strongroom.services.kms_keeper import StoreKeeper

        return StoreKeeper(self.configuration, self.keys, self._providers, self._kms_ports)

    @cached_property
    def kms(self) -> "KmsService":
        """Key management."""
        from strongroom.services.kms import KmsService

        return KmsService(self.keeper, self._count_use)

    @cached_property
    def roots(self) -> "RootsService":
        """KMS mode and recovery roots."""
        from strongroom.services.kms_roots import RootsService

        return RootsService(self.keeper, self._present_keys)

    def _count_use(self) -> "UseCount":
        from strongroom.services import extract_usage

        return extract_usage.scan(self.repository, self.files, self.vault)

    @cached_property
    def assets(self) -> "AssetService":
        """Credentials embedded in content."""
        from strongroom.services.assets import AssetService

        return AssetService(self.configuration, self.repository)

    @cached_property
    def regenerate(self) -> "RegenerateService":
        """`regenerate-internal-tokens`."""
        from strongroom.services.regenerate import KeyHolders, RegenerateService

        holders = KeyHolders(self.keystore, self._present_keys)
        return RegenerateService(holders, self.keeper, self.assets, self.rotation, self._kms_ports)

    @cached_property
    def rotation(self) -> "SecretRotation":
        """Rotation of secrets into the components that use them."""
        from strongroom import bootstrap_consumers
        from strongroom.services.secret_rotation import RotationPorts, SecretRotation

        def consumers() -> "tuple[Consumer, ...]":
            read = self.configuration.effective
            return bootstrap_consumers.configured(read, self.rotation.candidates)

        ports = RotationPorts(self.coordinator, self.events, self.clock)
        return SecretRotation(self.configuration, consumers, ports)

    @cached_property
    def secret_inventory(self) -> "SecretInventory":
        """Age of the secrets, and where forms of them lie."""
        from strongroom import bootstrap_consumers

        return bootstrap_consumers.secret_inventory(
            self.paths, self.configuration, self.rotation, self.events, self.clock
        )

    def new_node_ports(self) -> "NewNodePorts":
        """What `services.initialise` works through; the coordination database is made here."""
        from strongroom.services.initialise import NewNodePorts

        self.create_coordinator()
        paths = self.paths
        return NewNodePorts(
            directory=self.keystore,
            open_keys=self.open_configuration_keys,
            local_root=self.local_root,
            configuration=self.configuration,
            repository=self.repository,
            marks=self._kms_ports.marks,
            log=self.events,
            clock=self.clock,
            access=self.access,
            folders=(paths.extracts, paths.backups, paths.logs, paths.repository.parent),
            node_id=paths.node_id,
        )

    @cached_property
    def auth(self) -> "AuthService":
        """Sign-in, sessions."""
        from strongroom.services.auth import AuthService

        return AuthService(self.repository, self.events, self.clock)

    @cached_property
    def sites(self) -> "SitesService":
        """Sites and their encryption modes."""
        from strongroom.services.sites import SitesService

        return SitesService(self.repository, self.events, self.clock, self.jobs)

    @cached_property
    def users(self) -> "UsersService":
        """Users, passwords, roles."""
        from strongroom.services.users import UsersService

        return UsersService(self.repository, self.events, self.clock)

    @cached_property
    def groups(self) -> "GroupsService":
        """Groups of users."""
        from strongroom.services.groups import GroupsService

        return GroupsService(self.repository, self.clock)

    @cached_property
    def projects(self) -> "ProjectsService":
        """Projects."""
        from strongroom.services.projects import ProjectsService

        return ProjectsService(self.repository, self.events, self.clock)

    @cached_property
    def tokens(self) -> "TokensService":
        """Personal access tokens."""
        from strongroom.services.tokens import TokensService

        return TokensService(self.repository, self.events, self.clock)

    @cached_property
    def jobs(self) -> "JobsService":
        """Jobs on extracts."""
        from strongroom.services.jobs import JobsService

        return JobsService(self.repository, self.events, self.clock)

    @cached_property
    def job_ports(self) -> "JobPorts":
        """What the work of jobs goes through."""
        from strongroom.services.extract_item import Ports

        return Ports(self.repository, self.files, self.keys, self.events, self.clock)

    @cached_property
    def stored_files(self) -> "StoredFiles":
        """Files of content on their way in and out."""
        from strongroom.services.stored_files import StoredFiles

        return StoredFiles(self.repository, self.files, self.keys, self.clock)

    @cached_property
    def publishing(self) -> "PublishingService":
        """Publishing."""
        from strongroom.services.publishing import PublishingService

        return PublishingService(
            self.repository, self.stored_files, self.assets, self.events, self.clock
        )

    @cached_property
    def uploads(self) -> "UploadsService":
        """Chunked uploads."""
        from strongroom.services.uploads import UploadsService

        return UploadsService(self.repository, self.stored_files, self.publishing, self.clock)

    @cached_property
    def content(self) -> "ContentService":
        """Published content."""
        from strongroom.services.content import ContentService

        return ContentService(
            self.repository, self.stored_files, self.jobs, self.events, self.clock
        )

    def close(self) -> None:
        """Close what was opened."""
        self._closing.close()
