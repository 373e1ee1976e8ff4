"""New nodes: the file that brings one the keys of the configuration, and its admission (C-21, C-22, S16).

The file is made under the lock of the key management, so that keystore and records in it belong together. Of its
credential the installation keeps a digest. RMK, MEKs and values of the configuration are not in it.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from strongroom.clock import Clock, format_utc
from strongroom.coordination.base import Change, Coordinator
from strongroom.crypto import aead, rng
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import (
    AuthenticationError,
    IntegrityError,
    KeystoreError,
    UsageError,
)
from strongroom.eventlog import events
from strongroom.eventlog.base import EventLog
from strongroom.eventlog.seldom import Seldom
from strongroom.ids import new_id
from strongroom.keystore import configuration_key, guarded, key_records, pkcs12
from strongroom.keystore.key_records import WrapKind
from strongroom.keystore.master_key import Keystore
from strongroom.services.kms_keeper import LOCK, LOCK_WAIT_S
from strongroom.topology import bootstrap_file, credentials
from strongroom.topology.admission_request import AdmissionRequest
from strongroom.topology.bootstrap_file import BootstrapFile, Credential
from strongroom.topology.credentials import Generation, Issued, IssuedCredential

if TYPE_CHECKING:
    from strongroom.config.document import ConfigDocument
    from strongroom.keystore.replicas import KeystoreDirectory
    from strongroom.services.configuration import ConfigurationService

CREDENTIALS = "topology/credentials"
_LIST_LOCK = "topology"
_LIFE = "tabadmincontroller.auth.expiration.minutes"
_EMBEDS = "features.PasswordlessBootstrapInit"
_MOST_MINUTES = 60 * 24 * 366
_PASSWORD_BYTES = 1024
_HINT = "make a new one with 'tsm topology nodes get-bootstrap-file'"


@dataclass(frozen=True)
class TopologyPorts:
    """What this service works through.

    Attributes:
        configuration: Settings and keys of the configuration.
        directory: The keystore of this node.
        coordinator: Holds the credentials.
        log: Takes the events.
        clock: The present.
        node_id: Of this node.
    """

    configuration: "ConfigurationService"
    directory: "KeystoreDirectory"
    coordinator: Coordinator
    log: EventLog
    clock: Clock
    node_id: str


class Wanted(NamedTuple):
    """How a bootstrap file is to be.

    Attributes:
        target: Where it goes, for the event.
        server: Address of this node, or nothing.
        credential: Whether it holds a credential.
        sealed: Whether it will be sealed, for the event.
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
        self._strangers = Seldom(ports.clock)

    @property
    def embeds_credentials(self) -> bool:
        """Whether bootstrap files may hold a credential (requirements 3.6)."""
        return self._ports.configuration.effective(_EMBEDS) == "true"

    def make_bootstrap_file(self, actor: str, wanted: Wanted) -> Made:
        """The bytes for one new node; its event is written, and its credential is known, before they are given.

        Args:
            actor: Who asks.
            wanted: How it is to be.

        Raises:
            ConflictError: Another command changes the keys now.
            UsageError: The life of credentials is set to nothing.
        """
        ports = self._ports
        # keystore and records stand still under the one lock, the list of credentials under the other
        with (
            ports.coordinator.lock(LOCK, wait_s=LOCK_WAIT_S),
            ports.coordinator.lock(_LIST_LOCK, wait_s=LOCK_WAIT_S),
        ):
            issued, version = self._issued()
            file = self._new_file(wanted, issued)
            key = ports.configuration.open_key(file.configuration_key_id)
            if file.credential is not None:
                entry = _remembered(file, file.credential)
                self._put(credentials.with_new(issued, entry, file.created_at), version)
            text = bootstrap_file.serialize(file, key)
            ports.log.append(
                [
                    events.key_moved(actor, "master", file.master_key, place=file.node_id),
                    events.bootstrap_file_made(
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

    def admit(self, request: AdmissionRequest) -> None:
        """Let a prepared node in, by its credential, once; the same request again is the same admission (§3.5).

        Strangers wait for nothing, and hold nobody up: an id that is unknown or exhausted is refused before the lock is
        taken, a wrong secret before the keystore is opened (format/bootstrap-file.md §3.6).

        Raises:
            AuthenticationError: It is refused; an event says why.
        """
        ports = self._ports
        self._welcome(self._issued()[0], request)
        with ports.coordinator.lock(_LIST_LOCK, wait_s=LOCK_WAIT_S):
            issued, version = self._issued()
            found = self._welcome(issued, request)  # others may have exhausted it meanwhile
            credential = request.credential
            try:
                credentials.check_secret(found, credential)
                document, now = ports.configuration.document(), ports.clock.now()
                _check_installation(request.installation_id, document)
                admitted = credentials.admit(issued, request, self._generation(document), now)
            except AuthenticationError as error:
                self._put(credentials.with_refusal(issued, request), version)
                self._tell_refused(request, error)
                raise
            if admitted is not None:
                self._put(admitted, version)
            again = admitted is None
            ports.log.append([events.node_admitted(request.node_id, credential.id, again=again)])

    # ---- inside ----------------------------------------------------------------------------------

    def _welcome(self, issued: Issued, request: AdmissionRequest) -> IssuedCredential:
        """The credential that a request names, unless it is unknown or exhausted."""
        found = credentials.find(issued, request.credential.id)
        if found is None or found.is_exhausted:
            refusal = credentials.unwelcome(found, request.credential)
            held_back = self._strangers.turn()
            if held_back is not None:
                self._tell_refused(request, refusal, held_back)
            raise refusal
        return found

    def _tell_refused(
        self, request: AdmissionRequest, error: AuthenticationError, held_back: int = 0
    ) -> None:
        node_id, credential_id = request.node_id, request.credential.id
        refused = events.node_refused(
            node_id, credential_id, reason=error.message, held_back=held_back
        )
        self._ports.log.append([refused])

    def _put(self, issued: Issued, version: int) -> None:
        change = Change(credentials.serialize(issued), version)
        self._ports.coordinator.put({CREDENTIALS: change})

    def _issued(self) -> tuple[Issued, int]:
        entry = self._ports.coordinator.get(CREDENTIALS)
        return (credentials.parse(entry.value), entry.version) if entry else ((), 0)

    def _generation(self, document: "ConfigDocument") -> Generation:
        return Generation(self._ports.directory.load().newest, document.configuration_key_id)

    def _new_file(self, wanted: Wanted, issued: Issued) -> BootstrapFile:
        ports, directory = self._ports, self._ports.directory
        document = ports.configuration.document()
        generation, now = self._generation(document), ports.clock.now()
        is_embedded = wanted.credential and self.embeds_credentials
        records = directory.primary.with_name(configuration_key.FILE_NAME)
        password = guarded.read(directory.password_file, _PASSWORD_BYTES).removesuffix(b"\n")
        return BootstrapFile(
            installation_id=document.installation_id,
            node_id=credentials.next_node_id(issued, ports.node_id, now),
            created_at=now,
            expires_at=now + self._life(),
            server=bootstrap_file.check_server(wanted.server),
            master_key=generation.master_key,
            configuration_key_id=generation.configuration_key_id,
            keystore=guarded.read(directory.primary, pkcs12.MAX_BYTES),
            keystore_password=SecretBytes(password),
            configuration_keys=guarded.read(records, key_records.MAX_BYTES),
            credential=Credential(new_id(), rng.new_key()) if is_embedded else None,
        )

    def _life(self) -> timedelta:
        minutes = int(self._ports.configuration.effective(_LIFE) or "0")
        if not 0 < minutes <= _MOST_MINUTES:
            raise UsageError(
                f"{_LIFE} is {minutes}: no file could be used",
                hint=f"set it to 1 to {_MOST_MINUTES} minutes",
            )
        return timedelta(minutes=minutes)


def prove(data: bytes, clock: Clock) -> BootstrapFile:
    """A bootstrap file that is intact, belongs together and is valid now; nothing is written.

    Raises:
        FormatError: It is something else, damaged or expired.
        KeystoreError: Its keystore or its records cannot be opened.
        IntegrityError: It was changed.
    """
    unproved = bootstrap_file.parse(data)
    file = unproved.proved(_configuration_key(unproved.claimed))
    file.check_time(clock.now())
    return file


def _configuration_key(file: BootstrapFile) -> SecretBytes:
    """The active configuration key, opened in memory by the keystore in the file itself."""
    keystore = Keystore(pkcs12.parse(file.keystore, file.keystore_password))
    records = key_records.parse(file.configuration_keys, file.installation_id)
    found = [record for record in records if record.id == file.configuration_key_id]
    if not found:
        raise KeystoreError("the active configuration key is not in the bootstrap file", hint=_HINT)
    for wrap in found[0].wraps:
        entry = keystore.find(wrap.name) if wrap.kind is WrapKind.MASTER_KEY else None
        if entry is not None:
            aad = key_records.wrap_aad(file.installation_id, found[0].id, wrap.id)
            try:
                return aead.unwrap(wrap.wrapped, kek=key_records.wrap_key(entry.key), aad=aad)
            except IntegrityError:
                continue
    raise KeystoreError(
        "the keystore in the bootstrap file does not open its configuration key", hint=_HINT
    )


def _check_installation(installation_id: str, document: "ConfigDocument") -> None:
    if installation_id != document.installation_id:
        raise AuthenticationError(
            "the bootstrap file is of another installation",
            hint="make one here with 'tsm topology nodes get-bootstrap-file'",
        )


def _remembered(file: BootstrapFile, credential: Credential) -> IssuedCredential:
    generation = Generation(file.master_key, file.configuration_key_id)
    digest = credentials.digest(credential)
    return IssuedCredential(credential.id, file.node_id, digest, file.expires_at, generation)
