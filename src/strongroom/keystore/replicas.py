"""The keystore's replicas: one folder per service, byte-identical, the first one the truth (C-09).

format/keystore.md §4 and §5. Never invents a key: repairing copies from a replica that is intact.
"""

import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from strongroom import durable
from strongroom.crypto import rng
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import ConflictError, KeystoreError, StorageError
from strongroom.keystore import guarded, pkcs12
from strongroom.keystore.master_key import Keystore
from strongroom.keystore.pkcs12 import SecretKeyEntry

FILE_NAME = "tableauserver.jks"
_PASSWORD_LIMIT = 1024
_REPAIR_HINT = "run 'tsm security keystore repair'; it copies an intact replica over this one"
_BACKUP_HINT = (
    "restore the keystore, its password and the configuration keys from a backup; or, with a recovery"
    " identity or shares, 'strongroom recover'"
)


class ReplicaCondition(StrEnum):
    """What was found in one folder."""

    INTACT = "intact"
    DIFFERENT = "differs from the primary"
    MISSING = "missing"
    UNUSABLE = "unusable"


class ReplicaState(NamedTuple):
    """One replica and what was found there.

    Attributes:
        path: The file.
        condition: What was found.
        detail: The sentence of the error, or "".
    """

    path: Path
    condition: ReplicaCondition
    detail: str = ""


class KeystoreDirectory:
    """The replicas of one node and the password that opens them."""

    def __init__(
        self,
        folders: Sequence[Path],
        password_file: Path,
        access: durable.Access = durable.PRIVATE,
    ) -> None:
        self.folders = tuple(folders)
        self.password_file = password_file
        self.access = access

    @property
    def primary(self) -> Path:
        """The replica that is read."""
        return self.folders[0] / FILE_NAME

    @property
    def exists(self) -> bool:
        """Whether there is a keystore in any folder."""
        return any((folder / FILE_NAME).exists() for folder in self.folders)

    def create(self, entry: SecretKeyEntry) -> Keystore:
        """Make folders, password and all replicas of a keystore with one master key.

        A password file that a killed run left is replaced: without a keystore it opens nothing.

        Raises:
            ConflictError: There is a keystore already.
            StorageError: A file cannot be written.
        """
        for folder in (*self.folders, self.password_file.parent):
            durable.make_folder(folder, self.access)
        with self._lock():
            if self.exists:
                raise ConflictError("there is a keystore already; it is never replaced")
            durable.write_file(self.password_file, rng.new_password().reveal(), self.access)
            return self._write(Keystore((entry,)))

    def load(self) -> Keystore:
        """The keystore, from the primary replica.

        Raises:
            KeystoreError: Damaged, missing, loose permissions or wrong password; the hint says
                whether another replica can repair it.
        """
        password = self._password()
        try:
            return self._open(self.primary, password)
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
            ConflictError: It is the last one.
            KeystoreError: The keystore cannot be opened.
            StorageError: A replica cannot be written.
        """
        return self._change(lambda old: old.without(alias))

    def replicate(self) -> None:
        """Bring every replica to the primary's bytes.

        Raises:
            KeystoreError: The primary cannot be opened.
            StorageError: A replica cannot be written.
        """
        self._change(lambda old: old)

    def verify(self) -> list[ReplicaState]:
        """Open every replica and compare it with the primary."""
        password = self._password()
        with suppress(KeystoreError):
            reference = guarded.read(self.primary, pkcs12.MAX_BYTES)
            return [self._state(folder / FILE_NAME, password, reference) for folder in self.folders]
        return [self._state(folder / FILE_NAME, password, None) for folder in self.folders]

    def repair(self) -> list[Path]:
        """Replace every replica that is not intact by the best one that is.

        Returns:
            The replicas that were written.

        Raises:
            KeystoreError: No replica is intact.
            StorageError: A replica cannot be written.
        """
        password = self._password()
        with self._lock():
            source = self._best(password)
            data = guarded.read(source, pkcs12.MAX_BYTES)
            return self.spread(FILE_NAME, data, self._checker(password))

    # ---- files beside the keystore ---------------------------------------------------------------

    def spread(self, name: str, data: bytes, check: Callable[[bytes], object]) -> list[Path]:
        """Write a file into every folder, the primary first; each is read back and compared.

        Folders that hold these bytes under the right mode are left alone.

        Args:
            name: Of the file.
            data: The new contents.
            check: Opens contents that were read back; raises if they are no good.

        Returns:
            The files that were written.

        Raises:
            StorageError: A file cannot be written, or reads back as something else.
        """
        written = []
        for folder in self.folders:
            path = folder / name
            if self._holds(path, data):
                continue
            durable.make_folder(folder, self.access)
            durable.write_file(path, data, self.access)
            read_back = guarded.read(path, pkcs12.MAX_BYTES)
            if read_back != data:
                raise StorageError(f"{path} reads back as something else: the disk may be failing")
            check(read_back)
            written.append(path)
        return written

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Hold the lock under which replicated files change."""
        with self._lock():
            yield

    def _holds(self, path: Path, data: bytes) -> bool:
        with suppress(KeystoreError):
            return guarded.read(path, pkcs12.MAX_BYTES) == data
        return False

    # ---- inside ----------------------------------------------------------------------------------

    def _password(self) -> SecretBytes:
        try:
            raw = guarded.read(self.password_file, _PASSWORD_LIMIT)
        except guarded.MissingFileError as error:
            raise KeystoreError(
                f"the keystore's password file {self.password_file} is missing", hint=_BACKUP_HINT
            ) from error
        return SecretBytes(raw.removesuffix(b"\n"))

    def _open(self, path: Path, password: SecretBytes) -> Keystore:
        data = guarded.read(path, pkcs12.MAX_BYTES)
        keystore = self._checker(password)(data)
        if not keystore.entries:
            raise KeystoreError("the keystore has no master key")
        return keystore

    @staticmethod
    def _checker(password: SecretBytes) -> Callable[[bytes], Keystore]:
        return lambda data: Keystore(pkcs12.parse(data, password))

    def _explained(self, error: KeystoreError, password: SecretBytes) -> KeystoreError:
        """The error of the primary, with what the other replicas tell about it."""
        if error.hint and not isinstance(error, guarded.MissingFileError):
            return error  # a permission: the hint is the chmod
        others = [folder / FILE_NAME for folder in self.folders[1:]]
        intact = sum(self._is_intact(path, password) for path in others)
        message = (
            error.message
            if str(self.primary) in error.message
            else (f"{self.primary}: {error.message}")
        )
        if intact:
            told = f"{message}; {intact} of {len(self.folders)} replicas are intact"
            return KeystoreError(told, hint=_REPAIR_HINT)
        if pkcs12.WRONG_PASSWORD in message:
            message += f"; no replica opens with the password in {self.password_file}"
        return KeystoreError(message, hint=_BACKUP_HINT)

    def _is_intact(self, path: Path, password: SecretBytes) -> bool:
        with suppress(KeystoreError):
            self._open(path, password)
            return True
        return False

    def _state(self, path: Path, password: SecretBytes, reference: bytes | None) -> ReplicaState:
        try:
            data = guarded.read(path, pkcs12.MAX_BYTES)
            self._open(path, password)
        except guarded.MissingFileError as error:
            return ReplicaState(path, ReplicaCondition.MISSING, error.message)
        except KeystoreError as error:
            return ReplicaState(path, ReplicaCondition.UNUSABLE, error.message)
        if reference is not None and data != reference:
            return ReplicaState(path, ReplicaCondition.DIFFERENT)
        return ReplicaState(path, ReplicaCondition.INTACT)

    def _best(self, password: SecretBytes) -> Path:
        """The primary if it is intact, else the replica with the most master keys."""
        best: tuple[int, Path] | None = None
        for folder in self.folders:
            path = folder / FILE_NAME
            with suppress(KeystoreError):
                count = len(self._open(path, password).entries)
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
                return self._write(new)
            data = guarded.read(self.primary, pkcs12.MAX_BYTES)
            self.spread(FILE_NAME, data, self._checker(self._password()))
            return old

    def _write(self, keystore: Keystore) -> Keystore:
        password = self._password()
        data = pkcs12.serialize(keystore.entries, password)
        self.spread(FILE_NAME, data, self._checker(password))
        return keystore

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """One changer at a time; the folder of the password is there before any file is."""
        folder = self.password_file.parent
        try:
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise KeystoreError(
                f"the folder {folder} cannot be opened: {error.strerror}", hint=_BACKUP_HINT
            ) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)
