"""Input that may be sealed with age: read once, opened, and every error about it says how much was read (C-16, P8)."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from strongroom.cli.named_files import output_file
from strongroom.errors import FormatError, IntegrityError, KeystoreError, UsageError

if TYPE_CHECKING:
    from strongroom.crypto.age import OpenWith
    from strongroom.crypto.secret import SecretBytes


class Input(NamedTuple):
    """The opened bytes of an input, and the number of bytes read, in words."""

    data: "SecretBytes"
    read: str


def read(path: Path, limit: int, by: "OpenWith") -> Input:
    """The bytes of a file, a pipe or stdin (`-`), opened if they are sealed.

    Args:
        path: The path to read.
        limit: The most bytes that are accepted.
        by: The secrets to open the input with, if any were given.

    Raises:
        UsageError: Too long, sealed without anything given to open it, or given something and not sealed.
        FormatError: A damaged age file.
        IntegrityError: Nothing given opens it, or it was changed.
        StorageError: The input cannot be read.
    """
    from strongroom.crypto import age
    from strongroom.crypto.secret import SecretBytes

    data = output_file.read_once(path, limit)
    words = output_file.written_sentence(len(data), path)
    with counted(words):
        if age.is_sealed(data):
            if by.is_empty:
                raise UsageError(
                    "they are sealed with age",
                    hint="open them with --identity or --passphrase-file",
                )
            return Input(age.open_sealed(data, by), words)
        if data and not by.is_empty:
            raise UsageError(
                "they are not sealed with age",
                hint="nothing vouches for them: if that is meant, leave out what was given to open them",
            )
    return Input(SecretBytes(data), words)


@contextmanager
def counted(words: str) -> Iterator[None]:
    """Put before an error about the input how much of it was read, and behind it that nothing happened."""
    try:
        yield
    except (FormatError, IntegrityError, KeystoreError, UsageError) as error:
        message = f"{words}: {error.message}; nothing was changed"
        raise type(error)(message, hint=error.hint) from error
