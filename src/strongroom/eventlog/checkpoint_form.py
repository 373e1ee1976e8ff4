"""The checkpoint of a log as its file holds it (format/events.md §5.3). Pure.

The file is written over in place, so a power failure may leave some of its sectors as they were and others as they were
to be. What is signed, and what belongs to it, stands in the first sector, which a disk writes whole or not at all. The
nodes of the tree stand in those behind: they can be made again from the log's lines, so it does not matter if they are
of another checkpoint.
"""

import base64
import json
from typing import NamedTuple

from strongroom import canonical
from strongroom.errors import FormatError
from strongroom.eventlog import chain
from strongroom.eventlog.merkle import HASH_BYTES, Frontier

MARK = b"strongroom-checkpoint-2\n"
SECTOR_BYTES = 512
FILE_BYTES = 4096


class Stored(NamedTuple):
    """A checkpoint as it lies in its file.

    Attributes:
        frontier: The tree at its size.
        head: Digest of its last line.
        note: The signed note.
    """

    frontier: Frontier
    head: str
    note: bytes


def is_written_over(data: bytes) -> bool:
    """Whether these are the bytes of a file that is written over in place, so that its tree may be another one."""
    return data.startswith(MARK)


def render(tree: Frontier, head: str, note: bytes) -> bytes:
    """The bytes of a checkpoint: in the form of one sector, or in the longer one of earlier releases if it needs more."""
    first = MARK + head.encode("ascii") + b"\n" + note
    if len(first) > SECTOR_BYTES:
        state = {"frontier": [canonical.to_base64(node) for node in tree.nodes], "head": head}
        return canonical.dumps(state, canonical.ASCII_LINE) + note
    nodes = b"".join([base64.b64encode(node) + b"\n" for node in tree.nodes])
    return (first.ljust(SECTOR_BYTES, b"\n") + nodes).ljust(FILE_BYTES, b"\n")


def parse(data: bytes) -> Stored:
    """The checkpoint of some bytes, of either form; the caller still has to verify the signature.

    Raises:
        FormatError: The bytes are not a checkpoint file.
    """
    try:
        stored = _of_sectors(data) if data.startswith(MARK) else _of_text(data)
    except (ValueError, TypeError, KeyError, IndexError, RecursionError) as error:
        raise FormatError("the checkpoint of the event log is damaged") from error
    if not stored.frontier.is_sound or len(stored.head) != len(chain.FIRST_PREV):
        raise FormatError("the checkpoint of the event log is damaged")
    return stored


def _of_sectors(data: bytes) -> Stored:
    if len(data) != FILE_BYTES:
        raise ValueError(len(data))
    head, _, note = data[len(MARK) : SECTOR_BYTES].partition(b"\n")
    note = note.rstrip(b"\n") + b"\n"
    size = _size_of(note)
    count = size.bit_count()
    nodes = [_node(line) for line in data[SECTOR_BYTES:].split(b"\n", count)[:count]]
    nodes += [bytes(HASH_BYTES)] * (count - len(nodes))
    return Stored(Frontier(size, tuple(nodes)), head.decode("ascii"), note)


def _node(line: bytes) -> bytes:
    """A node of the tree; any other one for what a power failure left in its place."""
    try:
        return base64.b64decode(line, validate=True)[:HASH_BYTES].ljust(HASH_BYTES, b"\0")
    except ValueError:
        return bytes(HASH_BYTES)


def _of_text(data: bytes) -> Stored:
    state, _, note = data.partition(b"\n")
    members = json.loads(state)
    nodes = tuple(base64.b64decode(node, validate=True) for node in members["frontier"])
    return Stored(Frontier(_size_of(note), nodes), str(members["head"]), note)


def _size_of(note: bytes) -> int:
    size = int(note.split(b"\n", 2)[1])
    if not 0 <= size < 2**63:
        raise ValueError(size)
    return size
