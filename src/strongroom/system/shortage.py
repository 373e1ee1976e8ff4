"""Tells a want of memory or of threads, which any line of a program may meet, in words of ours.

Python has no class for it: a thread that the system does not give is a RuntimeError, and a library for which there is
no room an ImportError, which others take for one that is not installed.
"""

import errno
from collections.abc import Iterator
from typing import Final, NamedTuple

from strongroom.errors import StrongroomError


class Shortage(NamedTuple):
    """A want.

    Attributes:
        words: The thing that is wanting, in a sentence.
        hint: The next step for the reader.
    """

    words: str
    hint: str


MEMORY: Final = Shortage(
    "there is not enough memory",
    "raise the limit of this process (ulimit -v, MemoryMax of the service) or free some, then run the command again",
)
THREADS: Final = Shortage(
    "the system gives no further thread or process",
    "raise the limit (ulimit -u, TasksMax of the service), then run the command again",
)
_NO_THREAD: Final = "can't start new thread"
_NO_ROOM_FOR_ERROR: Final = "error return without exception set"
"""The words of the interpreter for a library in C that had no memory to say that it has none."""
_NO_ROOM_FOR_LIBRARY: Final = ("failed to map segment", "cannot allocate memory")


def of(error: BaseException) -> Shortage | None:
    """The shortage that an error, or one of its causes at any depth, comes from; None if another thing is wrong."""
    return next((found for one in _chain(error) if (found := _direct(one)) is not None), None)


def told(error: BaseException) -> StrongroomError | None:
    """The error to tell a person: one of ours says the shortage beside its own words, and keeps its exit code."""
    found = of(error)
    if found is None:
        return None
    if not isinstance(error, StrongroomError):
        return StrongroomError(found.words, hint=found.hint)
    if found.words not in error.message:
        error.message = f"{error.message}: {found.words}"
    error.hint = found.hint
    return error


def _chain(error: BaseException) -> Iterator[BaseException]:
    at: BaseException | None = error
    while at is not None:
        yield at
        at = at.__cause__ or (None if at.__suppress_context__ else at.__context__)


def _direct(error: BaseException) -> Shortage | None:
    if isinstance(error, MemoryError):
        return MEMORY
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return MEMORY
    words = str(error)
    if isinstance(error, RuntimeError) and words == _NO_THREAD:
        return THREADS
    if isinstance(error, SystemError) and words == _NO_ROOM_FOR_ERROR:
        return MEMORY
    if isinstance(error, ImportError) and any(one in words.lower() for one in _NO_ROOM_FOR_LIBRARY):
        return MEMORY
    return None
