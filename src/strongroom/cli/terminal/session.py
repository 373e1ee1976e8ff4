"""The session of a command: the node of its data directory, the user who runs it, and its output."""

from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from strongroom.cli.terminal import streams
from strongroom.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from strongroom.access.permissions import Subject
    from strongroom.cli.ports.commands import CommandServices
    from strongroom.node.opening import Node

_DATA_DIR = "--data-dir"
_LINES_AT_ONCE = 512
JOINED = "a value that begins with a dash is joined to its option: --option=--value"


class SessionOptions(NamedTuple):
    """Options that stand before or after any verb.

    Attributes:
        data_dir: The data directory; None is that of the environment.
        behind: The word that `--data-dir` stood behind, if it was an option: the parser knows whether that one lacks
            its value.
    """

    data_dir: str | None = None
    behind: str | None = None

    @classmethod
    def take_from(cls, argv: list[str]) -> tuple["SessionOptions", list[str]]:
        """Take `--data-dir DIR` out of a command line, wherever it stands before a `--`."""
        rest: list[str] = []
        data_dir: str | None = None
        behind: str | None = None
        words = iter(argv)
        for word in words:
            if word == "--":
                rest += [word, *words]
            elif word == _DATA_DIR or word.startswith(f"{_DATA_DIR}="):
                if data_dir is not None:
                    raise UsageError(f"{_DATA_DIR} is given twice", hint="give it once")
                given = word.partition("=")[2] if "=" in word else next(words, None)
                if not given:
                    raise UsageError(f"{_DATA_DIR} needs a directory", hint=JOINED)
                data_dir = given
                behind = rest[-1] if rest and rest[-1].startswith("-") else None
            else:
                rest.append(word)
        return cls(data_dir, behind), rest


class Session:
    """A run of a command. Results go to stdout, everything else to stderr.

    Attributes:
        options: The options that stand before or after any verb.
        given: A value that was read on another machine, in the place of one from a file or a terminal of this one.
        run_line: Carries out another command line of tsm, its words without the tool, in a session.
        foreign: Variables of the environment that were taken out of it at the start.
    """

    given: str | None = None

    def __init__(
        self,
        options: SessionOptions,
        run_line: "Callable[[list[str], Session], int] | None" = None,
        foreign: "Mapping[str, str] | None" = None,
    ) -> None:
        self.options = options
        self.run_line = run_line
        self.foreign = foreign or {}

    @property
    def can_ask(self) -> bool:
        """Whether a person is there who can answer."""
        return streams.can_ask()

    @property
    def node(self) -> "CommandServices":
        """The services of the node of the data directory."""
        return self.whole_node

    @cached_property
    def whole_node(self) -> "Node":
        """The node itself, opened at first use; refused to a user who does not own the directory.

        A command only passes it to the functions that compose a backup, a recovery or a server; for all else it asks `node`.
        """
        from strongroom.node import opening

        return opening.open_node(self.options.data_dir)

    @cached_property
    def actor(self) -> str:
        """The operating-system user who runs the command, as `os:NAME` (local authority)."""
        from strongroom.node import environment

        return environment.local_actor()

    @property
    def subject(self) -> "Subject":
        """The same as permissions see it: whoever owns the data directory may do everything."""
        from strongroom.access.permissions import Subject

        return Subject.local(self.actor)

    def perform(
        self, verb: str, arguments: "Mapping[str, Any]", report: "Callable[[str], None]"
    ) -> Any:
        """Have something done by the process that serves the node; here, if there is none."""
        from strongroom.doors.control import client, verbs

        asked = client.ask(self.node.paths, verb, arguments, report, warn=self.note)
        if isinstance(asked, client.Answer):
            return asked.result
        return verbs.perform(self.node, self.actor, verb, arguments, report)

    def out(self, text: str) -> None:
        """A result for people, with a newline; what a terminal cannot show is escaped."""
        streams.out(text + "\n")

    def out_value(self, value: str) -> None:
        """A value for scripts, exactly, with a newline."""
        streams.out_exact(value + "\n")

    def out_lines(self, lines: "Iterable[str]") -> None:
        """Many results, each with a newline: written in pieces, for a call for each would cost more than the work."""
        piece: list[str] = []
        for line in lines:
            piece.append(line + "\n")
            if len(piece) == _LINES_AT_ONCE:
                streams.out("".join(piece))
                piece.clear()
        streams.out("".join(piece))

    def out_json(self, value: object) -> None:
        """A result as JSON."""
        streams.out_json(value)

    def note(self, text: str) -> None:
        """A message for the person: lower case, no full stop; work is not lost for want of it."""
        streams.note(text)

    def confirm(self, question: str) -> bool:
        """Ask for y or n; the end of the input is a no."""
        return streams.ask(f"{question} (y/n): ").strip().lower() in {"y", "yes"}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the node, if it was opened."""
        if "whole_node" in self.__dict__:
            self.whole_node.close()
