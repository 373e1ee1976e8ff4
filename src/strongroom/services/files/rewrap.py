"""`strongroom rewrap FILE…`: wraps the data keys of files by the active MEK, in batches that share their syncs.

`envelope.rewrap` makes the steps on each header safe against a crash; this module adds locks, order and events.
"""

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from strongroom.envelope.keys import EnvelopeKeys
from strongroom.envelope.rewrap import Rewrap, rewrap_batch
from strongroom.errors import StrongroomError
from strongroom.eventlog.base import Event
from strongroom.eventlog.events import extract_events
from strongroom.filestore.blockfile import LockedHeader, storage_errors
from strongroom.services.files import sealed_outside
from strongroom.services.files.sealed_outside import SealedOutside
from strongroom.system.positions import SharesSync

BATCH_FILES = 256  # open descriptors; a process has 1024 unless told otherwise


@dataclass
class Rewrapped:
    """The result for one file.

    Attributes:
        name: The name as the user gave it.
        changed: Whether the file was rewrapped; False if that was not needed, or failed.
        error: The error of this file, which then opens as before.
    """

    name: str
    changed: bool = False
    error: StrongroomError | None = None


def rewrap_files(
    names: Sequence[str],
    keys: EnvelopeKeys,
    outside: SealedOutside,
    *,
    actor: str,
    progress: Callable[[int], None] | None = None,
) -> list[Rewrapped]:
    """Wrap the data keys of files by the active MEK; the placement in their headers stays.

    The event of a file is written when its new slot is durable, and before its old slot is overwritten. Whenever this
    is killed, the last event names a MEK that opens the file, and a retirement that reads the log will not remove that
    MEK.

    Returns:
        A result for each name, in the order given.
    """
    results = [Rewrapped(name) for name in names]
    todo = _once_each(results)
    for start in range(0, len(todo), BATCH_FILES):
        batch = todo[start : start + BATCH_FILES]
        _rewrap_batch(batch, keys, outside, actor)
        if progress is not None:
            progress(len(batch))
    return results


def _once_each(results: Sequence[Rewrapped]) -> list[Rewrapped]:
    """Each file once, however often it is named or linked, in an order that is the same for all processes.

    A second lock on the same file would wait for the first for ever, and so would two processes that lock the same
    files in different orders.
    """
    found: dict[tuple[int, int], Rewrapped] = {}
    for result in results:
        try:
            with storage_errors(f"cannot rewrap {result.name}"):
                status = os.stat(Path(result.name))  # noqa: PTH116 the name is quoted as given
        except StrongroomError as error:
            result.error = error
        else:
            found.setdefault((status.st_dev, status.st_ino), result)
    return [found[place] for place in sorted(found)]


def _rewrap_batch(
    batch: Sequence[Rewrapped], keys: EnvelopeKeys, outside: SealedOutside, actor: str
) -> None:
    works: list[tuple[Rewrapped, Rewrap[SharesSync]]] = []
    with ExitStack() as pages:
        for result in batch:
            try:
                page = pages.enter_context(LockedHeader(Path(result.name).resolve()))
                work = Rewrap(page, keys, None)
                if work.is_needed:
                    works.append((result, work))
            except StrongroomError as error:
                result.error = error
        errors = rewrap_batch(
            [work for _, work in works], lambda checked: _log_all(checked, outside, actor)
        )
        for (result, _), failure in zip(works, errors, strict=True):
            result.error, result.changed = failure, failure is None


def _log_all(
    works: Sequence[Rewrap[SharesSync]], outside: SealedOutside, actor: str
) -> list[StrongroomError | None]:
    """Write the events of rewrapped files; returns an error for each file whose new MEK was retired meanwhile.

    Such a file keeps its old slot, and a further event takes the first one back.
    """
    if not works:
        return []
    gone = outside.tell([(work.after, _event(work, actor)) for work in works])
    left = [work for work in works if work.after in gone]
    if left:
        outside.tell([(work.before, _event(work, actor, is_undone=True)) for work in left])
    return [sealed_outside.retired(work.after) if work.after in gone else None for work in works]


def _event(work: Rewrap[SharesSync], actor: str, *, is_undone: bool = False) -> Event:
    before, after = (work.after, work.before) if is_undone else (work.before, work.after)
    file_id = work.header.prelude.file_id.hex()
    return extract_events.file_rewrapped(actor, file_id, before=before, after=after)
