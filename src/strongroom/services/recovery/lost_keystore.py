"""The first step of a recovery: a keystore in the place of one that is lost (docs/format/recovery.md 6.3, step 1).

Key files that do not open are set aside under another name, and never deleted.
"""

from contextlib import suppress
from pathlib import Path

from strongroom.clock import format_utc
from strongroom.configuration_keys import records
from strongroom.configuration_keys.records import WrapKind
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import KeyNotFoundError, KeystoreError
from strongroom.eventlog.events import key_events
from strongroom.keystore import master_key, replicas
from strongroom.services.recovery.condition import Condition
from strongroom.services.recovery.opener import Opened
from strongroom.services.recovery.ports import RecoverPorts
from strongroom.system import disk, durable, guarded_files
from strongroom.system.durable import sync_folder


class LostKeystore:
    """Makes a new keystore, and wraps the configuration keys by it."""

    def __init__(self, ports: RecoverPorts, condition: Condition) -> None:
        self._ports = ports
        self._condition = condition
        self._configuration = ports.keeper.configuration

    def renew(self, opened: Opened, actor: str) -> None:
        """Have a keystore that opens, and every configuration key that can be opened wrapped by it; may be repeated.

        Args:
            opened: The node, as the identities opened it.
            actor: The person or process that asks, for the events.

        Raises:
            StrongroomError: Something cannot be written; a later run goes on.
        """
        if not self._condition.keys_are_whole():
            openable = self._openable(opened)
            self._keep_records(opened)
            self._ensure_keystore()
            self._rewrap_keys(opened, openable)
        self._ports.directory.repair()
        self._ports.present_keys().repair()
        alias = self._ports.directory.load().newest
        moved = [
            key_events.key_moved(actor, "configuration", one, place=alias) for one in opened.keys
        ]
        self._ports.keeper.event_log.append(
            [key_events.key_generated(actor, "master", alias), *moved]
        )

    def _ensure_keystore(self) -> None:
        directory = self._ports.directory
        with suppress(KeystoreError):
            directory.repair()
            directory.load()
            return
        self._set_aside()
        directory.create(master_key.new_master_key(self._ports.clock.now()))

    def _set_aside(self) -> None:
        """Rename key files that do not open, instead of deleting them: their password may be found again."""
        directory, stamp = self._ports.directory, format_utc(self._ports.clock.now())
        files = [folder / replicas.FILE_NAME for folder in directory.folders]
        for path in (directory.password_file, *files):
            with suppress(FileNotFoundError):
                _rename(path, path.with_name(f"{path.name}.lost-{stamp.replace(':', '')}"))

    def _openable(self, opened: Opened) -> dict[str, SecretBytes]:
        """The configuration keys that the identity opens, together with those that the keystore still opens."""
        found = dict(opened.keys)
        for record in opened.records.records:
            if record.id not in found:
                with suppress(KeystoreError, KeyNotFoundError):
                    keys = self._ports.present_keys()
                    found[record.id] = keys.open(record.id)
        return found

    def left_behind(self, opened: Opened) -> tuple[str, ...]:
        """The ids of configuration keys that a new keystore would lack.

        Raises:
            KeyNotFoundError: A value of the configuration is encrypted under such a key, so the recovery would lose it.
        """
        if self._condition.keys_are_whole():
            return ()
        keys = self._openable(opened)
        left = tuple(sorted(one for one in opened.records.ids if one not in keys))
        if needed := sorted(self._configuration.configuration_keys_in_use(keys) & set(left)):
            raise KeyNotFoundError(
                f"the configuration needs {', '.join(needed)}, which these identities do not open;"
                " nothing was changed",
                hint="give the identity or the shares of a recipient that has these keys as well",
            )
        return left

    def _keep_records(self, opened: Opened) -> None:
        """Copy every file of records, byte for byte, before the records of keys that do not open are removed from it."""
        if not self.left_behind(opened):
            return
        stamp = format_utc(self._ports.clock.now()).replace(":", "")
        for path in self._ports.record_files:
            with suppress(guarded_files.MissingFileError):
                data = guarded_files.read(path, records.MAX_BYTES)
                kept = path.with_name(f"{path.name}.lost-{stamp}")
                durable.write_file(kept, data, durable.PRIVATE)

    def _rewrap_keys(self, opened: Opened, opened_keys: dict[str, SecretBytes]) -> None:
        document = self._configuration.document()
        keys = self._ports.open_keys(document.installation_id)
        alias = self._ports.directory.load().newest
        records = tuple(
            record._replace(
                wraps=(
                    *keys.wrapping.new_record(
                        opened_keys[record.id],
                        key_id=record.id,
                        created_at=record.created_at,
                        alias=alias,
                    ).wraps,
                    *record.of_kind(WrapKind.RECIPIENT),
                )
            )
            for record in opened.records.records
            if record.id in opened_keys
        )
        keys.restore(opened.records.replaced(records, document.configuration_key_id))


def _rename(path: Path, target: Path) -> None:
    try:
        path.rename(target)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise disk.problem(f"cannot set {path} aside", error) from error
    sync_folder(path.parent)
