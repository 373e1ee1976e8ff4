"""The key by which a node of a cluster alone signs its event log: begun, renewed, made anew (docs/format/events.md 5.2).

Each change is prepared in the node's own file, and is over when a checkpoint of the new key is safe on the disk. Until
then the file names the key before, too, and every later run goes on from what it says.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

from strongroom.canonical import to_base64
from strongroom.coordination.base import Coordinator
from strongroom.crypto import said
from strongroom.crypto.installation_identity import IdentityKey
from strongroom.crypto.statements import Purpose
from strongroom.errors import NotFoundError, StateError
from strongroom.eventlog import notes
from strongroom.eventlog.base import EventLog
from strongroom.eventlog.checkpoints import CheckpointFile, Newest
from strongroom.eventlog.events import key_events, log_events
from strongroom.eventlog.notes import Verifier
from strongroom.joining import node_keys
from strongroom.joining.node_keys import FormerKind, LogKey, NodeKeys
from strongroom.services.keys import log_signing
from strongroom.services.keys.peers import LOCK, LOCK_WAIT_S, Peers
from strongroom.services.nodes.join import JoinService, check_not_taken_out

KIND = "event log"
"""The word for the key of a log in the events of keys."""
_HINT = "see 'strongroom events verify'; 'strongroom events archive --reason TEXT' begins a new log"


class SignedLog(EventLog, Protocol):
    """An event log with a checkpoint."""

    checkpoints: CheckpointFile

    def problems(self) -> tuple[str, ...]:
        """Sentences on how the signed lines contradict their checkpoint."""
        ...

    def newest_checkpoint(self) -> Newest | None:
        """The newest checkpoint; None if the log has none."""
        ...


class KeyFile(NamedTuple):
    """The node's file of its own keys.

    Attributes:
        is_there: Whether there is such a file.
        read: Reads the keys.
        write: Writes the keys, durably.
    """

    is_there: Callable[[], bool]
    read: Callable[[], NodeKeys]
    write: Callable[[NodeKeys], None]


class LogKeyPorts(NamedTuple):
    """The ports of a node that changes the key of its log.

    Attributes:
        file: The node's own keys.
        log: The event log of the node.
        coordinator: Holds the lock.
        peers: The registry.
        join: Makes what writes the node's entry, by its keys.
    """

    file: KeyFile
    log: SignedLog
    coordinator: Coordinator
    peers: Peers
    join: Callable[[NodeKeys], JoinService]


class LogKeyService:
    """The key of one node's log."""

    def __init__(self, ports: LogKeyPorts) -> None:
        self._ports = ports
        self._file, self._log = ports.file, ports.log

    def ensure(self, actor: str) -> bool:
        """Have a key of the node's own sign its log, and say so in the registry; returns whether it did not as yet.

        Raises:
            StateError: The log does not fit its checkpoint, or the node's keys were lost and are not stated as yet.
            StrongroomError: A key, the registry or the log cannot be read or written.
        """
        keys = self._file.read()
        is_new = not keys.log_public
        if is_new:
            with self._changing():
                keys = self._file.read()
                if keys.log is None:
                    keys = self._begin(keys, node_keys.succeeding(FormerKind.CONFIGURATION), actor)
                self._settle(keys, actor)
        self._ports.join(self._file.read()).tell_log_key()
        return is_new

    def renew(self, actor: str) -> None:
        """Have another key sign the log, which the present one signs too; nothing on a node without one of its own.

        Raises:
            StateError: The log does not fit its checkpoint.
            StrongroomError: A key, the registry or the log cannot be read or written.
        """
        if not self._file.is_there() or self._file.read().log is None:
            return
        with self._changing():
            keys = self._settle(self._file.read(), actor)
            if keys.log is not None:
                self._settle(self._begin(keys, keys.log.renewed(), actor), actor)
        self._ports.join(self._file.read()).tell_log_key()

    # ---- after a loss of the node's keys ---------------------------------------------------------

    def is_lost(self) -> bool:
        """Whether the key that signed before was lost, and nothing says as yet which one signs now."""
        log = self._file.read().log
        former = None if log is None else log.former
        return former is not None and former.kind is FormerKind.LOST

    def regain(self, node_id: str, installation_id: str, shared: Callable[[], bytes]) -> None:
        """Make new keys for a registered node that lost the file of its own; what it signed stays proved by the old one.

        Args:
            node_id: The node.
            installation_id: The installation.
            shared: Gives the public key of the configuration's, which signed if the registry names no other.

        Raises:
            StateError: The node was left out or removed: a loss of its keys is no way back.
        """
        if self._file.is_there():
            return
        entry = self._ports.peers.all().get(node_id)
        if entry is None:
            # a single node, or one that its next start registers
            return
        check_not_taken_out(entry)
        former = node_keys.succeeding(FormerKind.LOST, entry.log_key or shared())
        self._file.write(node_keys.make(installation_id, node_id).with_log(former))
        self._log.checkpoints.forget_signer()

    def state_anew(self, actor: str, identity: IdentityKey) -> bool:
        """Have the identity say which key signs the log after a loss, and register the new keys; may be repeated.

        Returns:
            Whether there was something to say.

        Raises:
            StrongroomError: The event, the file or the entry cannot be written.
        """
        if not self._file.is_there():
            return False
        keys = self._file.read()
        log = keys.log
        if log is None or log.former is None or not self.is_lost():
            return False
        verifier = self._verifier(keys, log)
        former = Verifier(verifier.name, log.former.key.reveal())
        # the log begins to be signed by the new key with this line, if it was not before
        self._log.append([key_events.key_generated(actor, KIND, verifier.key_id.hex())])
        first = self._first_size(verifier)
        payload = said.of_log_key(keys.node_id, verifier.public, first)
        signature = to_base64(identity.sign(Purpose.LOG_KEY, payload))
        self._log.append(
            [
                log_events.event_log_key_recovered(
                    actor,
                    key=verifier.text,
                    former=former.text,
                    lines=first,
                    signature=signature,
                )
            ]
        )
        with self._changing():
            settled = keys.with_log(log.settled())
            self._ports.join(settled).take_place(actor)
            self._finish(settled, verifier)
        return True

    def _first_size(self, verifier: Verifier) -> int:
        """How many lines the log had when a key began to sign it."""
        found = 0
        for record in self._log.history(log_events.EVENT_LOG_REKEYED, log_events.EVENT_LOG_SIGNED):
            details = record["details"]
            if isinstance(details, dict) and details.get("key") == verifier.text:
                found = int(str(details["lines"]))
        return found

    # ---- inside ----------------------------------------------------------------------------------

    def _changing(self) -> AbstractContextManager[object]:
        return self._ports.coordinator.lock(LOCK, wait_s=LOCK_WAIT_S)

    def _begin(self, keys: NodeKeys, log: LogKey, actor: str) -> NodeKeys:
        found = self._log.problems()
        if found:
            raise StateError(f"the event log does not get another key: {found[0]}", hint=_HINT)
        changed = keys.with_log(log)
        key_id = self._verifier(changed, log).key_id.hex()
        # Signed by the key that is there: were the newest checkpoint by the one before that, as in a regeneration that
        # was interrupted, the new key would not know it.
        self._log.append([key_events.key_generated(actor, KIND, key_id)])
        self._log.checkpoints.sync()
        self._file.write(changed)
        self._log.checkpoints.forget_signer()
        return changed

    def _settle(self, keys: NodeKeys, actor: str) -> NodeKeys:
        """End a change: the first checkpoint of the new key, signed by the one before as well, is safe on the disk."""
        log = keys.log
        if log is None or log.former is None:
            return keys
        if log.former.kind is FormerKind.LOST:
            raise StateError(
                "the keys of this node were lost, and its new ones are not stated as yet",
                hint="run 'strongroom recover' again: it goes on",
            )
        verifier = self._verifier(keys, log)
        registered = log_events.event_log_key_registered(actor, keys.node_id, key=verifier.text)
        self._log.append([registered])
        settled = keys.with_log(log.settled())
        self._finish(settled, verifier)
        return settled

    def _finish(self, settled: NodeKeys, verifier: Verifier) -> None:
        newest = self._log.newest_checkpoint()
        if newest is None or verifier.key_id not in notes.key_ids(newest.note, verifier.name):
            raise StateError("the new key has not signed the event log", hint=_HINT)
        # a power failure may not take back the only checkpoint that the new key knows
        self._log.checkpoints.sync()
        self._file.write(settled)
        self._log.checkpoints.forget_signer()

    @staticmethod
    def _verifier(keys: NodeKeys, log: LogKey) -> Verifier:
        name = log_signing.origin(keys.installation_id, keys.node_id)
        return Verifier(name, log.signing.public)


def verifier_of(peers: Peers, installation_id: str, node_id: str) -> Verifier:
    """The key by which a node of the cluster says that it signs its event log.

    Raises:
        NotFoundError: No node has this id, or the node has no key of its own as yet.
        IntegrityError: The entry says of the node what it did not say itself.
    """
    found = peers.all().get(node_id)
    if found is None:
        raise NotFoundError(
            f"there is no node {node_id[:80]!r}", hint="'tsm topology list-nodes' shows them"
        )
    if not found.log_key:
        raise NotFoundError(
            f"{node_id} has not said by which key it alone signs its event log",
            hint="it does so at its next start; or give what 'strongroom events checkpoint' prints there by --key",
        )
    return Verifier(log_signing.origin(installation_id, node_id), found.log_key)
