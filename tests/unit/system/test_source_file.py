"""File objects of our own that Python closes although their opening failed."""

import io

import pytest

from strongroom.client.files import EnvelopeFile, NewEnvelope
from strongroom.runtime import log_archive
from strongroom.system.source_file import SourceFile


def _of_ours(kind: type) -> set[type]:
    below = {kind}.union(*map(_of_ours, kind.__subclasses__()))
    return {one for one in below if one.__module__.startswith("strongroom.")}


@pytest.mark.parametrize("kind", sorted(_of_ours(io.IOBase), key=str))
def test_a_file_that_was_never_opened_can_be_closed(kind: type[io.IOBase]) -> None:
    """Since Python 3.13 an error of a close that nobody called is told, on standard error."""
    kind.__new__(kind).close()


def test_all_of_them_are_looked_at() -> None:
    known = {EnvelopeFile, NewEnvelope, SourceFile, log_archive._Appending}
    assert known <= _of_ours(io.IOBase)
