"""The error of a file whose header opened and whose body does not authenticate: the file was cut or changed."""

from collections.abc import Iterator
from contextlib import contextmanager

from strongroom.errors import IntegrityError


@contextmanager
def cut_if_it_fails() -> Iterator[None]:
    """Replace the error of a segment that does not authenticate.

    The header has proved the data key, so a wrong key cannot be the reason, and the general message would mislead.
    """
    try:
        yield
    except IntegrityError as error:
        raise IntegrityError(
            "authentication failed: its header opened, but the rest was cut or changed",
            hint="compare its size with another copy's",
        ) from error
