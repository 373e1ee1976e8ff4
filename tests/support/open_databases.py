"""Makes an SQLite connection that nobody closed an error, on every Python as on 3.13 (findings P4).

Python warns of it by itself since 3.13 only; without this, a test run on an older one would not see what the next one refuses.
A node is closed by whoever opened it. A test that opens one stands for a process, whose end closes everything: what it leaves
open is closed behind it. Connections that a closed node has left open are the product's fault, and stay an error.
"""

import sqlite3
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from strongroom.system.compat import override

if TYPE_CHECKING:
    from types import FrameType

_ROOT = str(Path(__file__).resolve().parent.parent.parent)
_FRAMES = 14
_Frame = tuple[str, int, str, str | None]


class _Watched(sqlite3.Connection):
    """Remembers where it was opened, and says so if it is left to the collector."""

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self.opened_at = _ours(sys._getframe(1))
        self.was_closed = False

    @override
    def close(self) -> None:
        super().close()
        self.was_closed = True

    def __del__(self) -> None:
        if not getattr(self, "was_closed", True):
            self.was_closed = True
            frames = traceback.StackSummary.from_list(self.opened_at)
            warnings.warn(
                f"nobody closed the database opened at\n{''.join(frames.format())}",
                ResourceWarning,
                stacklevel=1,
            )


def _ours(frame: "FrameType | None") -> list[_Frame]:
    """The innermost frames of this repository, the newest last; their lines are read if somebody wants to see them."""
    found: list[_Frame] = []
    while frame is not None and len(found) < _FRAMES:
        code = frame.f_code
        if code.co_filename.startswith(_ROOT) and ".venv" not in code.co_filename:
            found.append((code.co_filename, frame.f_lineno, code.co_name, None))
        frame = frame.f_back
    return found[::-1]


def watch() -> None:
    """From now on, in this process."""
    if sys.version_info >= (3, 13):
        return
    connect = sqlite3.connect

    def watched(*given: Any, **more: Any) -> sqlite3.Connection:
        opened: sqlite3.Connection = connect(*given, **{"factory": _Watched, **more})
        return opened

    sqlite3.connect = sqlite3.dbapi2.connect = watched  # type: ignore[assignment]


@contextmanager
def nodes_end_with_their_test() -> Iterator[None]:
    """Close every node and every database that is opened in the block; one that is used again later opens again."""
    from strongroom.coordination.local import LocalCoordinator
    from strongroom.node.opening import Node
    from strongroom.repository.unit_of_work import Repository

    made: list[Any] = []
    with ExitStack() as stack:
        for kind in (Node, LocalCoordinator, Repository):
            stack.enter_context(patch.object(kind, "__init__", _counted(kind, made)))
        yield
    for one in reversed(made):
        one.close()


def _counted(kind: type, made: list[Any]) -> Callable[..., None]:
    original: Callable[..., None] = kind.__init__  # type: ignore[misc]

    def counted(self: Any, *given: Any, **more: Any) -> None:
        original(self, *given, **more)
        made.append(self)

    return counted
