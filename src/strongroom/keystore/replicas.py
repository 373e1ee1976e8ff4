"""The keystore's replicas: one folder per service, with the same keys; commands read the first (C-09).

format/keystore.md §4 and §5. This module knows the files and their keys, and not what those keys open: `key_files`
decides which replica belongs to the node. A replaced file with a key that its successor lacks is kept under another
name (`kept`).
"""

import fcntl
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from strongroom.clock import Clock, SystemClock
from strongroom.crypto import rng
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import ConflictError, KeystoreError, StorageError
from strongroom.keystore import kept, pkcs12, protection
from strongroom.keystore.master_key import Keystore
from strongroom.keystore.pkcs12 import SecretKeyEntry
from strongroom.system import disk, durable, guarded_files

FILE_NAME = "tableauserver.jks"
_PASSWORD_LIMIT = 1024
_REPAIR_HINT = "run 'tsm security keystore repair'; it copies an intact replica over this one"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_BACKUP_HINT = (
    "restore the keystore, its password and the configuration keys from a backup; or, with a recovery"
    " identity or shares, 'strongroom recover'"
)


class ReplicaCondition(StrEnum):
    """The conditions of a replica."""

    INTACT = "intact"
    DIFFERENT = "different"
    MISSING = "missing"
    UNUSABLE = "unusable"


class ReplicaState(NamedTuple):
    """The state of a replica.

    Attributes:
        path: The file.
        condition: The condition that was found.
        detail: The sentence of the error, or empty.
    """

    path: Path
    condition: ReplicaCondition
    detail: str = ""


class _Guard(threading.local):
    check: Callable[[], object] | None = None


class KeystoreDirectory:
    """The replicas of one node and the password that opens them."""

    def __init__(
        self,
        folders: Sequence[Path],
        password_file: Path,
        file_modes: durable.FileModes = durable.PRIVATE,
        clock: Clock | None = None,
    ) -> None:
        """Take the paths.

        Args:
            folders: The folders of the replicas; commands read the first one.
            password_file: The file with the password of all replicas.
            file_modes: Modes and group of new files.
            clock: Gives the time in the names of kept files.
        """
        self.folders = tuple(folders)
        self.password_file = password_file
        self.file_modes = file_modes
        self._clock = clock or SystemClock()
        self._guard = _Guard()

    @property
    def primary(self) -> Path:
        """The replica that is read."""
        return self.folders[0] / FILE_NAME

    @property
    def exists(self) -> bool:
        """Whether any folder has a keystore."""
        return any((folder / FILE_NAME).exists() for folder in self.folders)

    def create(self, entry: SecretKeyEntry) -> Keystore:
        """Make folders, password and all replicas of a keystore with one master key.

        The password file of a killed run is replaced, since without a keystore it opens nothing.

        Raises:
            ConflictError: A folder has a keystore already.
            StorageError: A file cannot be written.
        """
        for folder in (*self.folders, self.password_file.parent):
            durable.make_folder(folder, self.file_modes)
        with self._lock():
            if self.exists:
                raise ConflictError("there is a keystore already; it is never replaced")
            durable.write_file(self.password_file, rng.new_password().reveal(), self.file_modes)
            return self._write(Keystore((entry,)))

    def load(self) -> Keystore:
        """The keystore, from the primary replica.

        Raises:
            KeystoreError: The file is damaged or missing, has loose permissions, or another password; the hint says
                whether another replica can repair it.
        """
        password = self.password()
        try:
            return self.open(self.primary, password)
        except KeystoreError as error:
            raise self._explained(error, password) from error

    def add_alias(self, alias: str, key: SecretBytes, *, created_at: datetime) -> Keystore:
        """Add a master key to every replica; each is opened again. Adding it twice is harmless.

        Raises:
            ConflictError: Another key has this alias.
            KeystoreError: The keystore cannot be opened.
            StorageError: A replica cannot be written.
        """
        return self._change(lambda old: old.with_entry(SecretKeyEntry(alias, key, created_at)))

    def remove_alias(self, alias: str) -> Keystore:
        """Remove a master key from every replica. Removing it twice is harmless.

        Raises:
            ConflictError: The key is the last one.
            KeystoreError: The keystore cannot be opened.
            StorageError: A replica cannot be written.
        """
        return self._change(lambda old: old.without(alias))

    def take(self, keystore: Keystore) -> None:
        """Bring every replica to these master keys, which another node of the installation gave.

        Raises:
            KeystoreError: The keystore cannot be opened.
            StorageError: A replica cannot be written.
        """
        self._change(lambda old: keystore if old.difference(keystore) else old)

    def replicate(self) -> None:
        """Bring every replica to the primary's bytes.

        Raises:
            KeystoreError: The primary cannot be opened.
            StorageError: A replica cannot be written.
        """
        self._change(lambda old: old)

    def verify(self) -> list[ReplicaState]:
        """Open every replica and compare its keys with those of the primary; bytes may differ.

        Raises:
            KeystoreError: The password cannot be read.
        """
        password = self.password()
        reference: Keystore | None = None
        with suppress(KeystoreError):
            reference = self.open(self.primary, password)
        return [self._state(folder / FILE_NAME, password, reference) for folder in self.folders]

    def repair(self) -> list[Path]:
        """Give every replica the keys of the best one that opens; a replaced file is kept.

        Only for a node whose configuration keys do not open, or that has none yet: otherwise `key_files.KeyFiles` knows
        which replica belongs to the node.

        Returns:
            The replicas that were written.

        Raises:
            KeystoreError: No replica is intact.
            StorageError: A replica cannot be written.
        """
        password = self.password()
        with self._lock():
            source = self._best(password)
            data, keys = guarded_files.read(source, pkcs12.MAX_BYTES), self.open(source, password)
            states = [self._state(folder / FILE_NAME, password, keys) for folder in self.folders]
            bad = [one.path for one in states if one.condition is not ReplicaCondition.INTACT]
            return self.replace(bad, data, self._checker(password))

    # ---- files beside the keystore ---------------------------------------------------------------

    def spread(
        self,
        name: str,
        data: bytes,
        check: Callable[[bytes], object],
        is_covered: Callable[[bytes], bool] | None = None,
    ) -> list[Path]:
        """Write a file into every folder, the primary first; each is read back and compared.

        Folders that hold these bytes under the right mode are left alone.

        Args:
            name: Name of the file.
            data: The new contents.
            check: Opens contents that were read back; raises if they do not open.
            is_covered: Whether all keys in replaced contents are still in the new ones; if not, the file is kept. None
                keeps no file.

        Returns:
            The files that were written.

        Raises:
            StorageError: A file cannot be written, or reads back as something else.
        """
        paths = [folder / name for folder in self.folders]
        written = [path for path in paths if not self._holds(path, data)]
        for path in written:
            if is_covered is not None and not self._is_covered(path, is_covered):
                self.keep(path)
            self.write(path, data, check)
        return written

    def replace(
        self, paths: Sequence[Path], data: bytes, check: Callable[[bytes], object]
    ) -> list[Path]:
        """Replace files by these contents, after keeping each; returns the files.

        Raises:
            StorageError: A file cannot be kept or written.
        """
        for path in paths:
            self.keep(path)
            self.write(path, data, check)
        return list(paths)

    def keep(self, path: Path) -> Path | None:
        """Keep a file under another name beside it; returns that path, or None without a file."""
        return kept.keep(path, self._clock.now())

    def write(self, path: Path, data: bytes, check: Callable[[bytes], object]) -> None:
        """Write a file of a folder, read it back and compare.

        Raises:
            StorageError: The file cannot be written, or reads back as something else.
        """
        durable.make_folder(path.parent, self.file_modes)
        durable.write_file(path, data, self.file_modes)
        read_back = guarded_files.read(path, pkcs12.MAX_BYTES)
        if read_back != data:
            raise StorageError(f"{path} reads back as something else: the disk may be failing")
        check(read_back)

    @staticmethod
    def _is_covered(path: Path, is_covered: Callable[[bytes], bool]) -> bool:
        """Whether the present contents of a file may be replaced without losing a key."""
        try:
            return is_covered(guarded_files.read(path, pkcs12.MAX_BYTES))
        except guarded_files.MissingFileError:
            return True
        except KeystoreError:
            return False

    @contextmanager
    def guarded(self, check: Callable[[], object]) -> Iterator[None]:
        """Call `check` before each change of files by this thread within the block; it raises if nothing may change any more.

        The lock of the files is held by then: whoever is paused behind the check keeps the other processes of this node
        from changing them until it has written what it may.
        """
        before, self._guard.check = self._guard.check, check
        try:
            yield
        finally:
            self._guard.check = before

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Hold the lock under which replicated files change."""
        with self._lock():
            yield

    def _holds(self, path: Path, data: bytes) -> bool:
        with suppress(KeystoreError):
            return guarded_files.read(path, pkcs12.MAX_BYTES) == data
        return False

    # ---- inside ----------------------------------------------------------------------------------

    def password(self) -> SecretBytes:
        """The password in the password file (format/keystore.md §3).

        Raises:
            KeystoreError: The file is missing, or other users may read or change it.
        """
        try:
            raw = guarded_files.read(self.password_file, _PASSWORD_LIMIT)
        except guarded_files.MissingFileError as error:
            raise KeystoreError(
                f"the keystore's password file {self.password_file} is missing", hint=_BACKUP_HINT
            ) from error
        line = raw.removeprefix(_BYTE_ORDER_MARK).removesuffix(b"\n").removesuffix(b"\r")
        if not line:
            sentence = f"the keystore's password file {self.password_file} is empty"
            raise KeystoreError(sentence, hint=_BACKUP_HINT)
        return SecretBytes(line)

    def open(self, path: Path, password: SecretBytes) -> Keystore:
        """The keystore in a file.

        Raises:
            KeystoreError: The file does not open, or has no key.
        """
        return self.opened(path, password, guarded_files.read(path, pkcs12.MAX_BYTES))

    def opened(self, path: Path, password: SecretBytes, data: bytes) -> Keystore:
        """The keystore in bytes that were read from a file.

        Raises:
            KeystoreError: The bytes do not open, or have no key.
        """
        try:
            keystore = self._checker(password)(data)
        except protection.WeakProtectionError as error:
            raise KeystoreError(
                error.message, hint=protection.rewriting(path, self.password_file)
            ) from error
        if not keystore.entries:
            raise KeystoreError("the keystore has no master key")
        return keystore

    @staticmethod
    def _checker(password: SecretBytes) -> Callable[[bytes], Keystore]:
        """A function that opens contents; the same ones once, since each derivation is slow and most replicas are the same."""
        opened: dict[bytes, Keystore] = {}

        def check(data: bytes) -> Keystore:
            if data not in opened:
                opened[data] = Keystore(pkcs12.parse(data, password))
            return opened[data]

        return check

    def _explained(self, error: KeystoreError, password: SecretBytes) -> KeystoreError:
        """The error of the primary replica, with a hint that depends on the other replicas."""
        if error.hint and not isinstance(error, guarded_files.MissingFileError):
            # loose permissions or weak algorithms, whose hint is the command that repairs the file
            return error
        others = [folder / FILE_NAME for folder in self.folders[1:]]
        intact = sum(self._is_intact(path, password) for path in others)
        message = (
            error.message
            if str(self.primary) in error.message
            else (f"{self.primary}: {error.message}")
        )
        if intact:
            sentence = f"{message}; {intact} of {len(self.folders)} replicas are intact"
            return KeystoreError(sentence, hint=_REPAIR_HINT)
        if pkcs12.WRONG_PASSWORD in message:
            message += f"; no replica opens with the password in {self.password_file}"
        return KeystoreError(message, hint=_BACKUP_HINT)

    def _is_intact(self, path: Path, password: SecretBytes) -> bool:
        with suppress(KeystoreError):
            self.open(path, password)
            return True
        return False

    def _state(self, path: Path, password: SecretBytes, reference: Keystore | None) -> ReplicaState:
        try:
            found = self.open(path, password)
        except guarded_files.MissingFileError as error:
            return ReplicaState(path, ReplicaCondition.MISSING, error.message)
        except KeystoreError as error:
            return ReplicaState(path, ReplicaCondition.UNUSABLE, error.message)
        difference = "" if reference is None else found.difference(reference)
        if difference:
            return ReplicaState(path, ReplicaCondition.DIFFERENT, difference)
        return ReplicaState(path, ReplicaCondition.INTACT)

    def _best(self, password: SecretBytes) -> Path:
        """The primary if it is intact, else the replica with the most master keys."""
        best: tuple[int, Path] | None = None
        for folder in self.folders:
            path = folder / FILE_NAME
            with suppress(KeystoreError):
                count = len(self.open(path, password).entries)
                if path == self.primary:
                    return path
                if best is None or count > best[0]:
                    best = (count, path)
        if best is None:
            raise KeystoreError(
                f"no replica of the keystore opens with the password in {self.password_file}",
                hint=_BACKUP_HINT,
            )
        return best[1]

    def _change(self, change: Callable[[Keystore], Keystore]) -> Keystore:
        with self._lock():
            old = self.load()
            new = change(old)
            if new is not old:
                return self._write(new, old)
            data, password = guarded_files.read(self.primary, pkcs12.MAX_BYTES), self.password()
            self.spread(FILE_NAME, data, self._checker(password), self._coverer(password, old))
            return old

    def _write(self, keystore: Keystore, *before: Keystore) -> Keystore:
        password = self.password()
        data = pkcs12.serialize(keystore.entries, password)
        covers = self._coverer(password, keystore, *before)
        self.spread(FILE_NAME, data, self._checker(password), covers)
        return keystore

    def _coverer(self, password: SecretBytes, *known: Keystore) -> Callable[[bytes], bool]:
        """Whether all keys in a replica's contents are in one of these keystores."""
        keys = {entry.key.reveal() for one in known for entry in one.entries}
        check = self._checker(password)
        return lambda data: all(entry.key.reveal() in keys for entry in check(data).entries)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Hold a lock on the folder of the password, which exists before any file, so that one process changes files."""
        folder = self.password_file.parent
        try:
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise KeystoreError(
                f"the folder {folder} cannot be opened: {disk.reason(error)}",
                hint=disk.hint_for(error, _BACKUP_HINT),
            ) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            if self._guard.check is not None:
                self._guard.check()
            yield
        finally:
            os.close(handle)
