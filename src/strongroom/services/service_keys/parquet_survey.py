"""Looks at every file of a Parquet dataset: which keep their wrapped keys beside them, and under which versions."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from strongroom.errors import FormatError, NotFoundError, StorageError, StrongroomError
from strongroom.filestore import trees
from strongroom.filestore.blockfile import storage_errors
from strongroom.service_keys import ciphertext, parquet_material
from strongroom.service_keys.parquet_material import Keeping, Wrapped

_NO_MATERIAL = "no file with its key material lies beside it"


class Aim(NamedTuple):
    """The key and version under which a wrapped key shall be."""

    key: str
    version: int


@dataclass
class Survey:
    """The state of a dataset.

    Attributes:
        old: Files with key material in which a text is not under its aim.
        current: Files with key material that are.
        inside: Data files that hold their wrapped keys themselves.
        plain: The number of Parquet files that are not encrypted.
        failed: Files that could not be judged, with the reason.
        aims: The key and version that is aimed at, by the master key that wraps now.
    """

    old: list[Path] = field(default_factory=list)
    current: list[Path] = field(default_factory=list)
    inside: list[Path] = field(default_factory=list)
    plain: int = 0
    failed: list[tuple[str, StrongroomError]] = field(default_factory=list)
    aims: dict[str, Aim] = field(default_factory=dict)

    @property
    def left(self) -> int:
        """The number of encrypted files that need an older version of a master key, or may need one."""
        return len(self.old) + len(self.inside) + len(self.failed)


def survey(dataset: str, aim_of: Callable[[str], Aim]) -> Survey:
    """Look at every file of a dataset.

    Raises:
        NotFoundError: The dataset is not there, or has no Parquet files.
        StorageError: The dataset cannot be read, or the keys of the node cannot.
    """
    found = Survey()
    files, materials = _files(dataset, found)
    for path in files:
        try:
            keeping = _keeping(path)
        except StrongroomError as error:
            found.failed.append((str(path), error))
            continue
        if keeping is Keeping.INSIDE:
            found.inside.append(path)
        elif keeping is Keeping.NONE:
            found.plain += 1
        elif keeping is Keeping.BESIDE and _beside(path) not in materials:
            hint = "if a rotation by another program was killed, it lies there as _TMP_KEY_MATERIAL_FOR_…"
            found.failed.append((str(path), NotFoundError(_NO_MATERIAL, hint=hint)))
    for path in sorted(materials):
        _judge(path, found, aim_of)
    if not (found.left or found.current or found.plain):
        raise NotFoundError(f"{dataset} has no Parquet files", hint="give a folder, or one file")
    return found


def _files(dataset: str, known: Survey) -> tuple[list[Path], set[Path]]:
    """The files that may hold data, and those with key material."""
    if os.path.isdir(dataset):  # noqa: PTH112 the name stays as given
        found = trees.find([dataset], recursive=True)
        known.failed += found.failed
        paths = [Path(one.path) for one in found.files]
    else:
        data = Path(dataset)
        paths = [path for path in (data, _beside(data)) if path.is_file()]
        if data not in paths:
            raise NotFoundError(f"{dataset} is not there", about="dataset")
    materials = {path for path in paths if _is_material(path)}
    return [path for path in paths if not path.name.startswith((".", "_"))], materials


def _judge(path: Path, found: Survey, aim_of: Callable[[str], Aim]) -> None:
    try:
        material = parquet_material.parse(read(path))
    except StrongroomError as error:
        found.failed.append((str(path), error))
        return
    is_done = True
    try:
        for one in material.wrapped:
            aim = found.aims[one.master_key] = aim_of(one.master_key)
            is_done = is_done and is_current(one, aim)
    except StorageError:
        # the node's own keys cannot be read: nothing is known of any file
        raise
    except StrongroomError as error:
        found.failed.append((str(path), error))
    else:
        (found.current if is_done else found.old).append(path)


def is_current(wrapped: Wrapped, aim: Aim) -> bool:
    """Whether a text is under its aim.

    Raises:
        UsageError: No service key made the text.
    """
    return (wrapped.master_key, ciphertext.parse(wrapped.text, "wrapped key").version) == aim


def _is_material(path: Path) -> bool:
    return path.name.startswith(parquet_material.PREFIX) and path.name.endswith(
        parquet_material.SUFFIX
    )


def _beside(path: Path) -> Path:
    return path.with_name(f"{parquet_material.PREFIX}{path.name}{parquet_material.SUFFIX}")


def _keeping(path: Path) -> Keeping | None:
    """Where a file's wrapped keys lie; None for a file that is not Parquet."""
    with storage_errors(f"cannot read {path}"), path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - parquet_material.END_BYTES, 0))
        end = file.read(parquet_material.END_BYTES)
        magic = end[4:]
        if magic not in (parquet_material.MAGIC, parquet_material.SEALED_MAGIC):
            return None
        length = int.from_bytes(end[:4], "little")
        start = size - parquet_material.END_BYTES - length
        if start < 0 or length > parquet_material.MAX_FOOTER_BYTES:
            raise FormatError("the footer is longer than the file, or too long")
        file.seek(start)
        return parquet_material.keeping(file.read(length), magic)


def read(path: Path) -> bytes:
    """The bytes of a file with key material.

    Raises:
        FormatError: The file is longer than any.
        StorageError: The file cannot be read.
    """
    with storage_errors(f"cannot read {path}"), path.open("rb") as file:
        raw = file.read(parquet_material.MAX_BYTES + 1)
    if len(raw) > parquet_material.MAX_BYTES:
        raise FormatError("a file with key material is not so long")
    return raw
