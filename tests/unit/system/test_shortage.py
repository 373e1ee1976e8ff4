"""A want of memory or threads, however it comes (faults R16)."""

import errno

import pytest

from strongroom.errors import KeystoreError, StrongroomError
from strongroom.system import shortage
from strongroom.system.shortage import MEMORY, THREADS


@pytest.mark.parametrize(
    ("error", "found"),
    [
        (MemoryError(), MEMORY),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), MEMORY),
        (ImportError("x.so: failed to map segment from shared object"), MEMORY),
        (ImportError("x.so: cannot allocate memory in static TLS block"), MEMORY),
        (SystemError("error return without exception set"), MEMORY),
        (RuntimeError("can't start new thread"), THREADS),
        (ImportError("no module named x"), None),
        (RuntimeError("another thing"), None),
        (SystemError("another thing"), None),
        (OSError(errno.ENOSPC, "No space left on device"), None),
        (ValueError("x"), None),
    ],
)
def test_each_is_known(error: Exception, found: shortage.Shortage | None) -> None:
    assert shortage.of(error) == found
    told = shortage.told(error)
    assert (told is None) == (found is None)
    if told is not None and found is not None:
        assert (type(told), told.message, told.hint) == (StrongroomError, found.words, found.hint)


def test_an_error_of_ours_says_it_beside_its_own_words() -> None:
    """The library that "was missing" was there, and the keystore was whole."""
    error = KeystoreError("the keystore cannot be opened", hint="restore it")
    error.__cause__ = ValueError("x")
    error.__cause__.__context__ = MemoryError()
    for _ in range(2):  # told once more, nothing is added
        told = shortage.told(error)
        assert told is error
        assert told.message == "the keystore cannot be opened: there is not enough memory"
        assert told.hint == MEMORY.hint


def test_what_was_dealt_with_is_no_cause() -> None:
    error = KeystoreError("the keystore cannot be opened")
    error.__context__, error.__suppress_context__ = MemoryError(), True
    assert shortage.told(error) is None
