"""`strongroom rewrap FILE…`: many files under the active MEK, in batches that share their syncs.

The steps and their safety are `envelope.rewrap`'s; here are the locks, the order and the events.
"""

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from strongroom.envelope.keys import EnvelopeKeys
from strongroom.envelope.rewrap import Rewrap, rewrap_batch
from strongroom.errors import StrongroomError
from strongroom.eventlog import events
from strongroom.eventlog.base import EventLog
from strongroom.filestore.blockfile import LockedPage, storage_errors

BATCH_FILES = 256  # open descriptors; a process has 1024 unless told otherwise


@dataclass
class Rewrapped:
    """One file's result.

    Attributes:
        name: As given.
        changed: Whether anything was to do; False also if it failed.
        error: Why it failed; the file then opens as before.
    """

    name: str
    changed: bool = False
    error: StrongroomError | None = None


def rewrap_files(
    names: Sequence[str],
    keys: EnvelopeKeys,
    log: EventLog,
    *,
    actor: str,
    progress: Callable[[int], None] | None = None,
) -> list[Rewrapped]:
    """Bring files under the active MEK; their placement stays as their headers say.

    Returns:
        A result for each name, in the order given.
    """
    results = [Rewrapped(name) for name in names]
    todo = _once_each(results)
    for start in range(0, len(todo), BATCH_FILES):
        batch = todo[start : start + BATCH_FILES]
        _rewrap_batch(batch, keys, log, actor)
        if progress is not None:
            progress(len(batch))
    return results


def _once_each(results: Sequence[Rewrapped]) -> list[Rewrapped]:
    """Each file once, however often it is named or linked, in one order for all processes.

    A second lock on one file would wait for the first for ever, and so would two processes that lock in two orders.
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
    batch: Sequence[Rewrapped], keys: EnvelopeKeys, log: EventLog, actor: str
) -> None:
    works: list[tuple[Rewrapped, Rewrap]] = []
    with ExitStack() as pages:
        for result in batch:
            try:
                page = pages.enter_context(LockedPage(Path(result.name).resolve()))
                work = Rewrap(page, keys, None)
                if work.is_needed:
                    works.append((result, work))
            except StrongroomError as error:
                result.error = error
        errors = rewrap_batch([work for _, work in works])
        done = []
        for (result, work), failure in zip(works, errors, strict=True):
            result.error, result.changed = failure, failure is None
            if failure is None:
                file_id = work.header.prelude.file_id.hex()
                done.append(
                    events.file_rewrapped(
                        actor, file_id, before=work.before, after=keys.active_mek_id
                    )
                )
        if done:
            log.append(done)
