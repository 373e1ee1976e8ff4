"""The heads of other nodes' event logs that a node has witnessed, as its own disk keeps them (docs/format/log-heads.md 5)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from strongroom.canonical import ASCII_LINE, Kind
from strongroom.errors import FormatError
from strongroom.joining import log_heads
from strongroom.joining.log_heads import Seen
from strongroom.system import disk, durable

FORMAT: Final = "strongroom-witnessed-1"
MAX_BYTES: Final = 1 << 20
_KIND = Kind(
    "the file of witnessed heads",
    ASCII_LINE,
    most=MAX_BYTES,
    hint="move it away: this node then witnesses the logs of the others anew, from what they are now",
)


def read(path: Path) -> dict[str, Seen]:
    """The heads by node; none if there is no such file.

    Raises:
        FormatError: The file is damaged.
        StorageError: The file cannot be read.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise disk.problem(f"cannot read {path}", error) from error
    fields = _KIND.loads(data)
    fields.check_version("format", FORMAT)
    fields.check_names(("format", "seen"))
    return {node: log_heads.parse_seen(one) for node, one in fields.object_map("seen").items()}


def write(path: Path, seen: Mapping[str, Seen], file_modes: durable.FileModes) -> None:
    """Replace the file, durably.

    Raises:
        StorageError: The file cannot be written.
        FormatError: The file would be too long.
    """
    members = {node: log_heads.seen_json(one) for node, one in seen.items()}
    data = _KIND.dumps({"format": FORMAT, "seen": members})
    if len(data) > MAX_BYTES:
        raise FormatError(f"the heads of {len(seen)} nodes are too long for {path}")
    durable.write_file(path, data, file_modes)
