"""`tsm security keystore verify` and `repair`: replicas of the key files, judged by the configuration (findings K7).

A replica belongs to the node if it holds the keys that the configuration document names. Comparing replicas with each
other would not do: after a mix-up most of them may be another node's.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from strongroom.configuration_keys.key_files import KeyFiles, Named, OpenKey, Repaired
from strongroom.coordination.base import Coordinator
from strongroom.errors import KeystoreError
from strongroom.eventlog.base import EventLog
from strongroom.eventlog.events import key_events
from strongroom.keystore.replicas import KeystoreDirectory, ReplicaState
from strongroom.kms import store as kms_store
from strongroom.secrets import committed
from strongroom.services.configuration.service import ConfigurationService
from strongroom.services.keys import regeneration
from strongroom.services.keys.keeper import LOCK, LOCK_WAIT_S
from strongroom.services.keys.stored import STORE


@dataclass(frozen=True)
class ShownKeystore:
    """A keystore as it may be shown.

    Attributes:
        path: The keystore file.
        password_file: The file with its password.
        aliases: The names of the keys in it.
    """

    path: Path
    password_file: Path
    aliases: tuple[str, ...]


class KeyFilesService:
    """Verifies and repairs the replicas of keystore and configuration keys."""

    def __init__(
        self,
        configuration: ConfigurationService,
        directory: KeystoreDirectory,
        coordinator: Coordinator,
        event_log: EventLog,
        recovery_file: Path,
        claimed_installation: Callable[[], str],
    ) -> None:
        """Take the ports.

        Args:
            configuration: Says which keys are needed.
            directory: The folders of the key files.
            coordinator: Holds the journal of a regeneration.
            event_log: The log to which a repair is appended.
            recovery_file: The copy of the configuration keys that are wrapped for recovery recipients.
            claimed_installation: Returns the installation of entries that nothing proves.
        """
        self._configuration = configuration
        self._directory = directory
        self._coordinator = coordinator
        self._event_log = event_log
        self._recovery_file = recovery_file
        self._claimed_installation = claimed_installation

    def keystore(self) -> ShownKeystore:
        """The primary replica of the keystore; without any key in it.

        Raises:
            KeystoreError: The keystore cannot be opened.
        """
        places = self._directory
        return ShownKeystore(places.primary, places.password_file, tuple(places.load().aliases))

    def verify(self) -> list[ReplicaState]:
        """The state of every key file.

        Raises:
            StrongroomError: The configuration cannot be read, so it is unknown which keys it needs.
        """
        return self._files().verify()

    def repair(self, actor: str) -> Repaired:
        """Replace key files that do not belong to the node by those that do; replaced files stay under another name.

        Raises:
            KeystoreError: No replica opens the keys that the configuration names; nothing was changed.
            ConflictError: Another command is changing keys just now.
            StorageError: A file cannot be kept or written.
        """
        with self._coordinator.lock(LOCK, wait_s=LOCK_WAIT_S):
            repaired = self._files().repair()
            if repaired.written:
                event = key_events.keystore_repaired(
                    actor, files=len(repaired.written), kept=len(repaired.kept)
                )
                self._event_log.append([event])
            return repaired

    def _files(self) -> KeyFiles:
        return KeyFiles(self._directory, self._named(), self._recovery_file)

    def _named(self) -> Named:
        try:
            document = self._configuration.document()
        except KeystoreError:
            # no replica proves the configuration: the files can still be compared with each other, and told
            return Named(self._claimed_installation(), frozenset(), frozenset(), lambda _: ())
        return Named(
            document.installation_id,
            self._configuration.configuration_keys_in_use(opened={}),
            self._begun(),
            self._recipients,
        )

    def _begun(self) -> frozenset[str]:
        """The keys of an unfinished regeneration: they are in no document yet, and must not be taken for strangers."""
        found = self._coordinator.get(regeneration.JOURNAL)
        journal = regeneration.Journal.parse(found.value) if found else None
        names = (journal.alias, journal.key_id) if journal is not None else ()
        return frozenset(filter(None, names))

    def _recipients(self, open_key: OpenKey) -> Sequence[str]:
        """The recovery recipients of the RMK, in the store that a configuration key opens."""
        document = self._configuration.document()
        raw = committed.open_text(document.installation_id, open_key, STORE, document.values[STORE])
        return kms_store.parse(raw).recipients
