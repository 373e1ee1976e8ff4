"""Admitting new nodes: makes the bootstrap file that gives a node the configuration keys, and admits the node (C-21, C-22).

The bootstrap file holds keystore, configuration keys and a one-time credential; RMK, MEKs and values of the
configuration are not in it. It is made under the lock of the key management, or its keystore and its records could come
from before and after a change. The installation stores only the public key of the credential. Admission requests come
from strangers (S16).
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from strongroom.clock import Clock, format_utc
from strongroom.configuration_keys import generations, record_files
from strongroom.configuration_keys import records as key_records
from strongroom.coordination.base import Change, Coordinator
from strongroom.crypto import rng
from strongroom.crypto.installation_identity import InstallationIdentity
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import (
    AuthenticationError,
    FormatError,
    KeystoreError,
    UsageError,
)
from strongroom.eventlog.base import EventLog
from strongroom.eventlog.events import key_events, node_events
from strongroom.eventlog.throttled import Throttle
from strongroom.ids import new_id
from strongroom.joining import bootstrap_file, credentials, registry, welcome
from strongroom.joining.admission_request import AdmissionRequest
from strongroom.joining.bearings import NOTHING, Bearings
from strongroom.joining.bootstrap_file import BootstrapFile, Credential
from strongroom.joining.credentials import Generation, Issued, IssuedCredential
from strongroom.joining.registry import NodeState, RegisteredNode
from strongroom.joining.welcome import Asked, Sealed, Welcome
from strongroom.keystore import pkcs12
from strongroom.keystore.master_key import Keystore
from strongroom.services.keys.keeper import LOCK, LOCK_WAIT_S
from strongroom.services.keys.peers import Peers
from strongroom.system import guarded_files

if TYPE_CHECKING:
    from strongroom.config.document import ConfigDocument
    from strongroom.keystore.replicas import KeystoreDirectory
    from strongroom.services.configuration.present import PresentConfiguration
    from strongroom.services.keys.identity import IdentityService
    from strongroom.services.nodes.certificates import Certified

# the entry's name since 0.1.0, where this package was called topology
CREDENTIALS = "topology/credentials"
_LIST_LOCK = "topology"
_LIFE = "tabadmincontroller.auth.expiration.minutes"
_EMBEDS = "features.PasswordlessBootstrapInit"
_MOST_MINUTES = credentials.LONGEST_LIFE // timedelta(minutes=1)
_PASSWORD_BYTES = 1024
_REPEATS_TOLD = 10
"""Events of repeated requests in a minute: a node whose connection broke repeats its request, which changes nothing."""
_HINT = "make a new one with 'tsm topology nodes get-bootstrap-file'"


Certify = Callable[[str, bytes], "Certified | None"]
"""Makes a certificate, given a node's id and its request."""


@dataclass(frozen=True)
class TopologyPorts:
    """The ports of this service.

    Attributes:
        configuration: Settings and keys of the configuration.
        directory: The keystore of this node.
        coordinator: Holds the list of issued credentials.
        event_log: The log to which admissions and refusals are appended.
        clock: Gives the present.
        node_id: Id of this node.
        identity: The identity of the installation, which signs the file.
        peers: The registry of the nodes.
        services: Returns what a new node needs to reach the services of the cluster; None if they are embedded here.
        certify: Makes the certificate for a node's request; None if the node has to make its first one itself.
        bearings: Collects what a new node is to believe and to reach, given where it will ask to be admitted.
    """

    configuration: "PresentConfiguration"
    directory: "KeystoreDirectory"
    coordinator: Coordinator
    event_log: EventLog
    clock: Clock
    node_id: str
    identity: "IdentityService"
    peers: Peers
    services: Callable[[], Welcome | None] = lambda: None
    certify: "Certify" = lambda *_: None
    bearings: Callable[[str], Bearings] = lambda _: NOTHING


class BootstrapRequest(NamedTuple):
    """A request for a bootstrap file.

    Attributes:
        target: The path of the file, for the event.
        server: Address of this node, written into the file; may be empty.
        credential: Whether the file holds a credential.
        sealed: Whether the caller will seal the file, for the event.
    """

    target: str
    server: str = ""
    credential: bool = True
    sealed: bool = False


class Made(NamedTuple):
    """A bootstrap file and its bytes."""

    file: BootstrapFile
    text: SecretBytes


class TopologyService:
    """The nodes of one installation."""

    def __init__(self, ports: TopologyPorts) -> None:
        self._ports = ports
        self._strangers = Throttle(ports.clock)
        self._repeated = Throttle(ports.clock, at_once=_REPEATS_TOLD)
        self._certificates = dict[bytes, "Certified"]()

    @property
    def embeds_credentials(self) -> bool:
        """Whether bootstrap files may hold a credential."""
        return self._ports.configuration.effective(_EMBEDS) == "true"

    def make_bootstrap_file(self, actor: str, wanted: BootstrapRequest) -> Made:
        """Make the bootstrap file of one new node; its credential is stored and its event written before this returns.

        Args:
            actor: The person or process that asks, for the event.
            wanted: The request for the file.

        Raises:
            ConflictError: Another command is changing the keys now.
            UsageError: The configured life of credentials is not allowed.
        """
        ports = self._ports
        # the first lock keeps keystore and records from changing, the second the list of credentials
        with (
            ports.coordinator.lock(LOCK, wait_s=LOCK_WAIT_S),
            ports.coordinator.lock(_LIST_LOCK, wait_s=LOCK_WAIT_S),
        ):
            issued, version = self._issued()
            identity = ports.identity.key()
            file = self._new_file(wanted, issued, identity.identity)
            key = ports.configuration.open_key(file.configuration_key_id)
            if file.credential is not None:
                entry = _remembered(file, file.credential)
                self._put(credentials.with_new(issued, entry, file.created_at), version)
            text = bootstrap_file.serialize(file, key, identity)
            ports.event_log.append(
                [
                    key_events.key_moved(actor, "master", file.master_key, place=file.node_id),
                    node_events.bootstrap_file_made(
                        actor,
                        node_id=file.node_id,
                        target=wanted.target,
                        credential_id=file.credential.id if file.credential else "",
                        expires_at=format_utc(file.expires_at),
                        sealed=wanted.sealed,
                    ),
                ]
            )
            return Made(file, text)

    def withdraw(self, actor: str, file: BootstrapFile) -> None:
        """Withdraw the credential of a file that could not be handed over, so that nobody is admitted by it."""
        ports = self._ports
        if file.credential is None:
            return
        with ports.coordinator.lock(_LIST_LOCK, wait_s=LOCK_WAIT_S):
            issued, version = self._issued()
            self._put(credentials.without(issued, file.credential.id), version)
            event = node_events.node_credential_withdrawn(actor, file.node_id, file.credential.id)
            ports.event_log.append([event])

    def admit(self, request: AdmissionRequest) -> Sealed | None:
        """Admit a prepared node by its one-time credential; a repetition of the same request is admitted again (§3.5).

        In a cluster the node is registered by the same put, and told what it needs to join; else None is returned.

        A stranger's request must cost little and delay nobody: an unknown or exhausted credential is refused before any
        lock is taken, and a wrong signature before the keystore is opened (format/bootstrap-file.md §3.6).

        Raises:
            AuthenticationError: The request is refused; an event gives the reason.
        """
        ports = self._ports
        self._welcome(self._issued()[0], request)
        with ports.coordinator.lock(_LIST_LOCK, wait_s=LOCK_WAIT_S):
            issued, version = self._issued()
            # while we waited for the lock, other requests may have exhausted the credential
            found = self._welcome(issued, request)
            try:
                credentials.check_signatures(found, request)
                _check_asked(request)
                document, now = ports.configuration.document(), ports.clock.now()
                _check_installation(request.installation_id, document)
                present = self._generation(document, ports.identity.key().identity)
                admitted = credentials.admit(issued, request, present, now)
                self._check_registered(request)
            except AuthenticationError as error:
                self._put(credentials.with_refusal(issued, request), version)
                self._log_refusal(request, error)
                raise
            joins = ports.services()
            changes = {} if joins is None else self._registered(request)
            if admitted is not None:
                changes[CREDENTIALS] = Change(credentials.serialize(admitted), version)
            ports.coordinator.put(changes)
            again = admitted is None
            held_back = self._repeated.turn() if again else 0
            if held_back is not None:
                event = node_events.node_admitted(
                    request.node_id,
                    request.credential_id,
                    fingerprint=request.keys.fingerprint,
                    again=again,
                    held_back=held_back,
                )
                ports.event_log.append([event])
            return None if joins is None else self._answer(request, joins)

    def tell_held_back(self, *, last: bool = False) -> None:
        """Log how many refusals were only counted, since no further refusal may come whose event would say so."""
        if held_back := self._strangers.rest(last=last):
            refused = node_events.node_refused("", "", reason="only counted", held_back=held_back)
            self._ports.event_log.append([refused])

    # ---- inside ----------------------------------------------------------------------------------

    def _welcome(self, issued: Issued, request: AdmissionRequest) -> IssuedCredential:
        """The issued credential that a request names; raises if it is unknown, of an earlier version, or exhausted."""
        found = credentials.find(issued, request.credential_id)
        if found is None or found.is_earlier or found.is_exhausted:
            refusal = credentials.unwelcome(found, request)
            held_back = self._strangers.turn()
            if held_back is not None:
                self._log_refusal(request, refusal, held_back)
            raise refusal
        return found

    def _log_refusal(
        self, request: AdmissionRequest, error: AuthenticationError, held_back: int = 0
    ) -> None:
        node_id, credential_id = request.node_id, request.credential_id
        refused = node_events.node_refused(
            node_id, credential_id, reason=error.message, held_back=held_back
        )
        self._ports.event_log.append([refused])

    def _check_registered(self, request: AdmissionRequest) -> None:
        """Refuse a node that was left out since, or that is registered with other keys."""
        known = self._ports.peers.all().get(request.node_id)
        if known is None:
            return
        if known.keys != request.keys or known.state.is_gone:
            why = known.state.value if known.keys == request.keys else "registered with other keys"
            raise AuthenticationError(f"{request.node_id} is {why}", hint=_HINT)

    def _registered(self, request: AdmissionRequest) -> dict[str, Change]:
        """The change that registers a node; none if it is registered."""
        name = registry.PREFIX + request.node_id
        if request.node_id in self._ports.peers.all():
            return {}
        now = format_utc(self._ports.clock.now())
        node = RegisteredNode(request.node_id, request.keys, NodeState.JOINING, now)
        return {name: Change(node.serialize(), 0)}

    def _answer(self, request: AdmissionRequest, joins: Welcome) -> Sealed:
        digest = bytes.fromhex(credentials.request_digest(request))
        asked = Asked(request.node_id, digest)
        if (certified := self._certified(request, digest)) is not None:
            joins = joins._replace(
                certificate=certified.certificate, authorities=certified.authorities
            )
        return welcome.seal(joins, asked, request.keys.sealing, self._ports.identity.key())

    def _certified(self, request: AdmissionRequest, digest: bytes) -> "Certified | None":
        """The certificate for a request; this process answers a repetition with the same one, without signature and event.

        Another process, of this node after a restart or of another node, makes another one for the same key: each is
        good, and the node keeps the one that came last.
        """
        if not request.asked:
            return None
        if digest not in self._certificates:
            made = self._ports.certify(request.node_id, request.asked)
            if made is None:
                return None
            if len(self._certificates) >= credentials.MOST:
                self._certificates.clear()
            self._certificates[digest] = made
        return self._certificates[digest]

    def _put(self, issued: Issued, version: int) -> None:
        change = Change(credentials.serialize(issued), version)
        self._ports.coordinator.put({CREDENTIALS: change})

    def _issued(self) -> tuple[Issued, int]:
        entry = self._ports.coordinator.get(CREDENTIALS)
        return (credentials.parse(entry.value), entry.version) if entry else (Issued(), 0)

    def _generation(self, document: "ConfigDocument", identity: InstallationIdentity) -> Generation:
        newest = self._ports.directory.load().newest
        return Generation(newest, document.configuration_key_id, identity.public)

    def _new_file(
        self, wanted: BootstrapRequest, issued: Issued, identity: InstallationIdentity
    ) -> BootstrapFile:
        ports, directory = self._ports, self._ports.directory
        document = ports.configuration.document()
        generation, now = self._generation(document, identity), ports.clock.now()
        is_embedded = wanted.credential and self.embeds_credentials
        records = directory.primary.with_name(record_files.FILE_NAME)
        password = guarded_files.read(directory.password_file, _PASSWORD_BYTES).removesuffix(b"\n")
        return BootstrapFile(
            installation_id=document.installation_id,
            node_id=credentials.next_node_id(issued, {ports.node_id, *ports.peers.all()}, now),
            created_at=now,
            expires_at=now + self._life(),
            server=bootstrap_file.check_server(wanted.server),
            master_key=generation.master_key,
            configuration_key_id=generation.configuration_key_id,
            keystore=guarded_files.read(directory.primary, pkcs12.MAX_BYTES),
            keystore_password=SecretBytes(password),
            configuration_keys=guarded_files.read(records, key_records.MAX_BYTES),
            credential=Credential(new_id(), rng.new_key()) if is_embedded else None,
            identity=identity.public,
            bearings=ports.bearings(wanted.server),
        )

    def _life(self) -> timedelta:
        minutes = int(self._ports.configuration.effective(_LIFE) or "0")
        if not 0 < minutes <= _MOST_MINUTES:
            raise UsageError(
                f"{_LIFE} is {minutes}: no file could be used",
                hint=f"set it to 1 to {_MOST_MINUTES} minutes",
            )
        return timedelta(minutes=minutes)


def prove(data: bytes, clock: Clock | None) -> BootstrapFile:
    """Parse a bootstrap file and prove it: intact, authenticated by the key inside it, and valid now; nothing is written.

    Without a clock its time is not looked at, as for a node that was admitted by it before.

    Raises:
        FormatError: The bytes are no bootstrap file, or one that is damaged or expired.
        KeystoreError: The keystore or the records in the file cannot be opened.
        IntegrityError: The file was changed.
    """
    unproved = bootstrap_file.parse(data)
    file = unproved.proved(active_key(unproved.claimed))
    if clock is not None:
        file.check_time(clock.now())
    return file


def active_key(file: BootstrapFile) -> SecretBytes:
    """The active configuration key of a bootstrap file, opened in memory by the keystore in the same file."""
    keystore = Keystore(pkcs12.parse(file.keystore, file.keystore_password))
    records = generations.read(file.configuration_keys, file.installation_id, keystore).present
    found = [record for record in records.records if record.id == file.configuration_key_id]
    if not found:
        raise KeystoreError("the active configuration key is not in the bootstrap file", hint=_HINT)
    for wrap in found[0].wraps:
        key = generations.unwrap(records, found[0], wrap, keystore)
        if key is not None:
            return key
    raise KeystoreError(
        "the keystore in the bootstrap file does not open its configuration key", hint=_HINT
    )


def _check_asked(request: AdmissionRequest) -> None:
    """Refuse a request for a certificate that is of another node, or whose key whoever asks has not shown to have."""
    try:
        request.check_asked()
    except FormatError as error:
        raise AuthenticationError(error.message, hint=_HINT) from error


def _check_installation(installation_id: str, document: "ConfigDocument") -> None:
    if installation_id != document.installation_id:
        raise AuthenticationError(
            "the bootstrap file is of another installation",
            hint="make one here with 'tsm topology nodes get-bootstrap-file'",
        )


def _remembered(file: BootstrapFile, credential: Credential) -> IssuedCredential:
    generation = Generation(file.master_key, file.configuration_key_id, file.identity)
    public = credential.key.public
    return IssuedCredential(credential.id, file.node_id, public, file.expires_at, generation)
