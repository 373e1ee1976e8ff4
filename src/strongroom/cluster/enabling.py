"""The journal of the move of a single node into a cluster (docs/format/services-file.md 3).

It is there from before the first write outside of the node until everything is done. Its id marks what was brought, so
that only the attempt that brought something may begin anew and remove it.
"""

from pathlib import Path
from typing import Final

from strongroom.canonical import ASCII, Kind
from strongroom.errors import KeystoreError, StateError
from strongroom.system import disk, durable, guarded_files

VERSION: Final = 1
_MAX_BYTES: Final = 4096
KIND = Kind("the journal of the move into a cluster", ASCII, _MAX_BYTES)


def find(path: Path) -> str | None:
    """The id of the attempt that has not ended; None if there is none.

    Raises:
        FormatError: The journal is damaged, or of a version that is not known here.
        StateError: The journal cannot be read.
    """
    try:
        fields = KIND.loads(guarded_files.read(path, _MAX_BYTES))
    except guarded_files.MissingFileError:
        return None
    except KeystoreError as error:
        raise StateError(f"the journal of the move into a cluster: {error.message}") from error
    fields.check_version("v", VERSION)
    fields.check_names(("run", "v"))
    return fields.id("run")


def begin(path: Path, run: str, file_modes: durable.FileModes) -> None:
    """Write the journal, synced.

    Raises:
        StorageError: The disk refuses.
    """
    durable.write_file(path, KIND.dumps({"run": run, "v": VERSION}), file_modes)


def end(path: Path) -> None:
    """Remove the journal; nothing if there is none.

    Raises:
        StorageError: The disk refuses.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise disk.problem(f"{path} cannot be removed", error) from error
    durable.sync_folder(path.parent)
