"""The head of a node's event log, and those of others that it has witnessed, as a signed note and back; pure.

The form of docs/format/log-heads.md 2. A note names the place and the version at which it hangs, so that an older one
that somebody posts again is known.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from strongroom.canonical import UTF_8, Fields, Kind, to_base64
from strongroom.crypto import said, statements
from strongroom.crypto.signing import SigningKey
from strongroom.crypto.statements import Origin, Purpose, Statement
from strongroom.errors import IntegrityError
from strongroom.eventlog import merkle
from strongroom.eventlog.extending import Base, Step
from strongroom.eventlog.merkle import Frontier, Span

FORMAT: Final = "strongroom-log-heads-1"
MAX_BYTES: Final = 15 << 10
_DIGEST_BYTES: Final = 32
_KIND = Kind("the note on a node's event log", UTF_8, most=MAX_BYTES)
_MEMBERS: Final = ("format", "born", "version", "at", "head", "first", "lines", "paths", "seen")


class Path(NamedTuple):
    """The steps of a log from what a witness knew of it.

    Attributes:
        size: How many lines the witness knew.
        root: The root over them.
        steps: The steps.
    """

    size: int
    root: bytes
    steps: tuple[Step, ...]

    def begins_at(self, base: Base) -> bool:
        """Whether the steps begin at a base."""
        return (self.size, self.root) == (base.tree.size, base.tree.root)


class Seen(NamedTuple):
    """The newest head of another log that a witness took.

    Attributes:
        base: The log as the witness knows it.
        note: The checkpoint with its signature and that of the witness; empty before the first.
    """

    base: Base
    note: bytes


class LogHeads(NamedTuple):
    """The head that a node shows of its own log, and those that it has witnessed of others.

    Attributes:
        node_id: The node.
        born: The place of the note.
        version: The version of the note that it was made to be.
        at: The time, by the node's clock.
        head: The newest checkpoint of its log, signed; empty if it has none.
        first: SHA-256 of the first line of its log, in hexadecimal digits; empty if there is none.
        lines: How many lines its log has.
        paths: For each witness the steps from what that one knew.
        seen: For each other node the newest head that this one took.
    """

    node_id: str
    born: int
    version: int
    at: str
    head: bytes
    first: str
    lines: int
    paths: Mapping[str, Path]
    seen: Mapping[str, Seen]

    def signed(self, installation_id: str, by: SigningKey) -> bytes:
        """The note: the statement, with its signature behind it.

        Raises:
            ValueError: The note is longer than any may be.
        """
        members: dict[str, object] = {
            "format": FORMAT,
            "born": self.born,
            "version": self.version,
            "at": self.at,
            "head": self.head.decode(),
            "first": self.first,
            "lines": self.lines,
            "paths": {node: _path_json(one) for node, one in self.paths.items()},
            "seen": {node: seen_json(one) for node, one in self.seen.items()},
        }
        content = _KIND.dumps(members)
        if len(content) > MAX_BYTES:
            raise ValueError(len(content))
        payload = said.of_log_heads(self.node_id, content)
        return Statement(Purpose.LOG_HEADS, Origin(installation_id), payload).signed(by)


def name_of(node_id: str) -> str:
    """The name of a node's note on the board."""
    return f"{node_id}.log"


def opened(note: bytes, installation_id: str, node_id: str, public: bytes) -> LogHeads:
    """The content of a note, after its signature was checked.

    Args:
        note: The bytes of the note.
        installation_id: The installation.
        node_id: The node that should have written it.
        public: The key of that node, as the registry names it.

    Raises:
        FormatError: The note is damaged.
        IntegrityError: Another key signed it, or it is of another node, installation or purpose.
    """
    payload = statements.opened(note, public, Origin(installation_id), {Purpose.LOG_HEADS}).payload
    name, _, content = payload.partition(b"\0")
    if name != node_id.encode("ascii"):
        raise IntegrityError("a signed note on an event log is of another node")
    fields = _KIND.loads(content)
    fields.check_version("format", FORMAT)
    fields.check_names(_MEMBERS)
    return LogHeads(
        node_id,
        fields.number("born"),
        fields.number("version", 1),
        fields.time("at"),
        fields.text("head").encode(),
        _first(fields),
        fields.number("lines"),
        {node: _path(one) for node, one in fields.object_map("paths").items()},
        {node: parse_seen(one) for node, one in fields.object_map("seen").items()},
    )


def seen_json(seen: Seen) -> dict[str, object]:
    """The members of what a witness knows of a log."""
    return {
        "first": seen.base.first,
        "size": seen.base.tree.size,
        "nodes": [to_base64(one) for one in seen.base.tree.nodes],
        "note": seen.note.decode(),
    }


def parse_seen(fields: Fields) -> Seen:
    """The log as a witness knows it; neither its signature nor that of the log is checked.

    Raises:
        FormatError: The members are damaged.
    """
    fields.check_names(("first", "size", "nodes", "note"))
    tree = Frontier(fields.number("size"), fields.raws("nodes"))
    if not tree.is_sound:
        raise fields.refused("the nodes of a tree do not fit its size")
    return Seen(Base(_first(fields), tree), fields.text("note").encode())


def _first(fields: Fields) -> str:
    return fields.text("first") and fields.hexadecimal("first", _DIGEST_BYTES)


def _path_json(path: Path) -> dict[str, object]:
    return {
        "size": path.size,
        "root": path.root.hex(),
        "steps": [
            {
                "opening": [line.decode("ascii") for line in step.opening],
                "begin": step.span.begin,
                "end": step.span.end,
                "nodes": [to_base64(one) for one in step.span.nodes],
            }
            for step in path.steps
        ],
    }


def _path(fields: Fields) -> Path:
    fields.check_names(("size", "root", "steps"))
    root = bytes.fromhex(fields.hexadecimal("root", merkle.HASH_BYTES))
    return Path(fields.number("size"), root, tuple(map(_step, fields.objects("steps"))))


def _step(fields: Fields) -> Step:
    fields.check_names(("opening", "begin", "end", "nodes"))
    span = Span(fields.number("begin"), fields.number("end"), fields.raws("nodes"))
    opening = tuple(line.encode("utf-8", "replace") for line in fields.texts("opening"))
    if not span.is_sound:
        raise fields.refused("the nodes of a span do not fit its lines")
    return Step(opening, span)
