"""What every command has: the node of its data directory, who asks, and where to print."""

import json
import sys
from contextlib import suppress
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from strongroom.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from strongroom.access.permissions import Subject
    from strongroom.bootstrap import Node


class SessionOptions(NamedTuple):
    """Options that stand before or after any verb."""

    data_dir: str | None = None

    @classmethod
    def take_from(cls, argv: list[str]) -> tuple["SessionOptions", list[str]]:
        """Take `--data-dir DIR` out of a command line, wherever it stands before a `--`."""
        rest: list[str] = []
        data_dir: str | None = None
        words = iter(argv)
        for word in words:
            if word == "--":
                rest += [word, *words]
            elif word == "--data-dir":
                data_dir = next(words, None)
                if data_dir is None:
                    raise UsageError("--data-dir needs a directory")
            elif word.startswith("--data-dir="):
                data_dir = word.partition("=")[2]
            else:
                rest.append(word)
        return cls(data_dir), rest


class Session:
    """One run of one command. Results go to stdout, everything else to stderr."""

    def __init__(self, options: SessionOptions) -> None:
        self.options = options

    @cached_property
    def node(self) -> "Node":
        """The node of the data directory, opened at first use; refused to whoever does not own it."""
        from strongroom import bootstrap

        return bootstrap.open_node(self.options.data_dir)

    @cached_property
    def actor(self) -> str:
        """Who asks: `os:NAME`, the operating-system user (local authority)."""
        from strongroom import bootstrap

        return bootstrap.local_actor()

    @property
    def subject(self) -> "Subject":
        """The same as permissions see it: whoever owns the data directory may do everything."""
        from strongroom.access.permissions import Subject

        return Subject.local(self.actor)

    def perform(
        self, verb: str, arguments: "Mapping[str, Any]", say: "Callable[[str], None]"
    ) -> Any:
        """Have something done by the process that serves the node; here, if there is none."""
        from strongroom.control import client, verbs

        served, result = client.ask(self.node.paths, verb, arguments, say, warn=self.note)
        if served:
            return result
        return verbs.perform(self.node, self.actor, verb, arguments, say)

    def out(self, text: str) -> None:
        """A result, with a newline."""
        sys.stdout.write(text + "\n")

    def out_json(self, value: object) -> None:
        """A result as JSON."""
        self.out(json.dumps(value, indent=2, ensure_ascii=False))

    def note(self, text: str) -> None:
        """A message for the person: lower case, no full stop; work is not lost for want of it."""
        with suppress(OSError):
            sys.stderr.write(text + "\n")

    def confirm(self, question: str) -> bool:
        """Ask for y or n; the end of the input is a no."""
        sys.stderr.write(f"{question} (y/n): ")
        sys.stderr.flush()
        return sys.stdin.readline().strip().lower() in {"y", "yes"}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if "node" in self.__dict__:
            self.node.close()
