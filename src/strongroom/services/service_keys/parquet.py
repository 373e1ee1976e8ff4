"""Wraps the keys of a Parquet dataset anew, by the latest versions of its master keys or by others (parquet-keys.md 2).

The data files are opened to be read, at their ends alone. What changes is the file with key material beside each, which is
replaced as a whole: after a kill each holds the old or the new texts, both of which open. So a run needs no journal: the
next one leaves what is done.
"""

import fcntl
import os
import stat
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from strongroom.errors import ConflictError, IntegrityError, StateError, StrongroomError, UsageError
from strongroom.eventlog.events import service_key_events
from strongroom.filestore.blockfile import storage_errors
from strongroom.service_keys import parquet_material
from strongroom.service_keys.model import check_usable
from strongroom.service_keys.parquet_material import KeyMaterial, Wrapped
from strongroom.services.service_keys import use
from strongroom.services.service_keys.by import By
from strongroom.services.service_keys.keys import ServiceKeysService, own
from strongroom.services.service_keys.parquet_survey import Aim, Survey, is_current, read, survey
from strongroom.system import durable

if TYPE_CHECKING:
    from strongroom.crypto.secret import SecretBytes

_FILES_AT_ONCE = 100
"""Files whose keys are wrapped together: a kill leaves so many to be wrapped once more."""
Report = Callable[[int], None]
Begin = Callable[[int], Report | None]


@dataclass(frozen=True)
class Receipt:
    """The account of a run: how many files it wrapped anew, and what a survey found after its last change.

    Attributes:
        rotated: The files with key material that this run replaced; with a dry run, that it would have.
        after: The dataset after the run.
        dry_run: Whether nothing was changed.
    """

    dataset: str
    rotated: int
    after: Survey
    dry_run: bool


class ParquetKeysService:
    """The use case of the keys of a dataset."""

    def __init__(self, keys: ServiceKeysService, key_use: use.KeyUse) -> None:
        self._keys = keys
        self._use = key_use

    def rotate(
        self,
        by: By,
        dataset: str,
        moves: Mapping[str, str],
        *,
        begin: Begin = lambda _: None,
        dry_run: bool = False,
    ) -> Receipt:
        """Bring every wrapped key beside the data files under the latest version of its master key.

        Args:
            by: The caller.
            dataset: The path of a folder, or of one data file.
            moves: Master keys in whose place others wrap from now on.
            begin: Is told how many files there are to do; gives whom to tell how many are done.
            dry_run: Whether to look only.

        Raises:
            UsageError: A key would be moved to one that is moved itself.
            NotFoundError: The dataset is not there, or has no Parquet files, or a key of a move does not exist.
            StateError: Another run works on the dataset, or a key of a move is not enabled.
            StorageError: The dataset cannot be read.
        """
        if chained := sorted(set(moves) & set(moves.values())):
            raise UsageError(
                f"the key {chained[0]!r} is moved, and moved to", hint="run one after the other"
            )
        aims = _Aims(self._keys, moves)
        aims.check()
        with _alone(Path(dataset)):
            before = survey(dataset, aims.of)
            if dry_run:
                return Receipt(dataset, len(before.old), before, dry_run=True)
            failed, rotated = self._rotated(by, before.old, aims, begin(len(before.old)))
            after = survey(dataset, aims.of)
            # a file that could not be looked at before, and can now, was left out: it is told with the reason of then
            for path, error in (*failed, *((Path(name), why) for name, why in before.failed)):
                if path in after.old:
                    after.old.remove(path)
                    after.failed.append((str(path), error))
            by.record(
                service_key_events.parquet_keys_rotated(
                    by.actor,
                    dataset,
                    rotated=rotated,
                    current=len(after.current),
                    inside=len(after.inside),
                    left=after.left,
                )
            )
        return Receipt(dataset, rotated, after, dry_run=False)

    def _rotated(
        self, by: By, paths: Sequence[Path], aims: "_Aims", report: Report | None
    ) -> tuple[list[tuple[Path, StrongroomError]], int]:
        failed: list[tuple[Path, StrongroomError]] = []
        for start in range(0, len(paths), _FILES_AT_ONCE):
            batch = paths[start : start + _FILES_AT_ONCE]
            failed += self._batch(by, batch, aims)
            if report is not None:
                report(len(batch))
        return failed, len(paths) - len(failed)

    def _batch(
        self, by: By, paths: Sequence[Path], aims: "_Aims"
    ) -> list[tuple[Path, StrongroomError]]:
        before = {path: read(path) for path in paths}
        materials = {path: parquet_material.parse(raw) for path, raw in before.items()}
        old = {
            one
            for material in materials.values()
            for one in material.wrapped
            if not is_current(one, aims.of(one.master_key))
        }
        changed: dict[Wrapped, Wrapped] = {}
        errors: dict[Wrapped, StrongroomError] = {}
        for key in sorted({one.master_key for one in old}):
            of_key = sorted(one for one in old if one.master_key == key)
            for start in range(0, len(of_key), use.MOST_AT_ONCE):
                part = of_key[start : start + use.MOST_AT_ONCE]
                self._wrap_anew(by, part, aims.of(key), changed, errors)
        failed: list[tuple[Path, StrongroomError]] = []
        for path, material in materials.items():
            try:
                for one in material.wrapped & errors.keys():
                    raise errors[one]
                _replace(path, before[path], material.with_wrapped(changed))
            except StrongroomError as error:
                failed.append((path, error))
        return failed

    def _wrap_anew(
        self,
        by: By,
        old: Sequence[Wrapped],
        aim: Aim,
        changed: dict[Wrapped, Wrapped],
        errors: dict[Wrapped, StrongroomError],
    ) -> None:
        """Wrap keys by another version or key, and open them again before anything relies on the new texts."""

        def opened(key: str, texts: Collection[str]) -> list[use.Outcome]:
            asked = [use.ToDecrypt(text) for text in texts]
            return _each(lambda items: self._use.decrypt(by, own(key), items), asked)

        plain: dict[Wrapped, SecretBytes] = {}
        for one, found in zip(old, opened(old[0].master_key, [w.text for w in old]), strict=True):
            if found.plain is None:
                errors[one] = found.error or IntegrityError()
            else:
                plain[one] = found.plain
        if not plain:
            return
        made = self._use.encrypt(by, own(aim.key), [use.ToEncrypt(key) for key in plain.values()])
        again = opened(aim.key, [one.text for one in made])
        for (one, key), new, proof in zip(plain.items(), made, again, strict=True):
            if proof.plain != key:
                errors[one] = IntegrityError(hint="the new text does not open; nothing was changed")
            else:
                changed[one] = Wrapped(aim.key, new.text)


class _Aims:
    """The key and version that each master key of a dataset shall be replaced by; asked once for each."""

    def __init__(self, keys: ServiceKeysService, moves: Mapping[str, str]) -> None:
        self._keys, self._moves = keys, moves
        self._known: dict[str, Aim] = {}

    def check(self) -> None:
        """Refuse moves to keys that are not there or not enabled."""
        for key in self._moves.values():
            self.of(key)

    def of(self, master_key: str) -> Aim:
        """The aim of what a master key wrapped.

        Raises:
            NotFoundError: No key has that name.
            StateError: The key is not enabled.
        """
        name = self._moves.get(master_key, master_key)
        if name not in self._known:
            key = self._keys.show(own(name)).key
            check_usable(key.name, key.state)
            self._known[name] = Aim(name, key.latest)
        return self._known[name]


def _replace(path: Path, before: bytes, material: KeyMaterial) -> None:
    """Replace a file with key material; its mode, group and owner stay.

    Raises:
        ConflictError: The file was changed by somebody else meanwhile.
        StorageError: The file cannot be written; the old one is untouched.
    """
    if read(path) != before:
        raise ConflictError("somebody else changed it meanwhile", hint="run the command again")
    with storage_errors(f"cannot read {path}"):
        has = path.stat()
    owner = None if has.st_uid == os.geteuid() else has.st_uid
    modes = durable.FileModes(0o700, stat.S_IMODE(has.st_mode), has.st_gid, owner)
    durable.write_file(path, material.serialize(), modes)


def _each(
    run: Callable[[Sequence[use.ToDecrypt]], list[use.Outcome]], items: Sequence[use.ToDecrypt]
) -> list[use.Outcome]:
    """The outcomes of all; a use case raises what is wrong with a single one."""
    try:
        return run(items)
    except (UsageError, IntegrityError) as error:
        if len(items) != 1:
            raise
        return [use.Outcome(error=error)]


@contextmanager
def _alone(dataset: Path) -> Iterator[None]:
    """Hold a lock on the folder, so that two runs do not write the same temporary file."""
    folder = dataset if dataset.is_dir() else dataset.parent
    with storage_errors(f"cannot open {folder}"):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise StateError(
            f"another run works on {dataset}", hint="wait for its end, and run this again"
        ) from None
    finally:
        os.close(handle)
