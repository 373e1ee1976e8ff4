"""The session of a command that a serving node carries out for an administrator elsewhere: what is said is sent there."""

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any, NamedTuple

from strongroom.cli.terminal import streams
from strongroom.cli.terminal.session import Session
from strongroom.system.compat import override

Say = Callable[[Mapping[str, str]], None]


class Far(NamedTuple):
    """The administrator on another machine.

    Attributes:
        actor: The administrator, for the events.
        value: A value that was read there; None if there is none.
        can_ask: Whether a person is there who can answer.
        say: Sends one message.
    """

    actor: str
    value: str | None
    can_ask: bool
    say: Say


class QuestionError(Exception):
    """The command asks: nothing was done, and it is to be called again with the answer.

    Attributes:
        question: The question.
    """

    def __init__(self, question: str) -> None:
        super().__init__(question)
        self.question = question


class SessionOnBehalf(Session):
    """A run of a command for somebody elsewhere, in the process that serves the node."""

    def __init__(self, serving: Session, far: Far) -> None:
        """Take the session of the serving process, whose node this one uses and never closes."""
        super().__init__(serving.options)
        self._serving, self._far = serving, far
        self.given = far.value

    @cached_property
    @override
    def whole_node(self) -> Any:
        """The node of the serving process."""
        return self._serving.whole_node

    @cached_property
    @override
    def actor(self) -> str:
        """The administrator elsewhere."""
        return self._far.actor

    @property
    @override
    def can_ask(self) -> bool:
        """Whether a person is there who can answer."""
        return self._far.can_ask

    @override
    def perform(
        self, verb: str, arguments: Mapping[str, Any], report: Callable[[str], None]
    ) -> Any:
        """Have something done by this process, which serves the node."""
        from strongroom.doors.control import verbs

        return verbs.perform(self.node, self.actor, verb, arguments, report)

    @override
    def out(self, text: str) -> None:
        """A result for people."""
        self._far.say({"say": text + "\n", "to": "out"})

    @override
    def out_value(self, value: str) -> None:
        """A value for scripts."""
        self._far.say({"say": value + "\n", "to": "exact"})

    @override
    def out_lines(self, lines: Iterable[str]) -> None:
        """Many results."""
        for line in lines:
            self.out(line)

    @override
    def out_json(self, value: object) -> None:
        """A result as JSON."""
        self._far.say({"say": streams.json_text(value) + "\n", "to": "out"})

    @override
    def note(self, text: str) -> None:
        """A message for the person."""
        self._far.say({"say": text, "to": "note"})

    @override
    def close(self) -> None:
        """Leave the node open: the serving process goes on with it."""

    @override
    def confirm(self, question: str) -> bool:
        """Ask by ending: the command is called again with the answer."""
        raise QuestionError(question)


def tell(message: Mapping[str, str]) -> None:
    """Say here what such a session said there."""
    text = message.get("say", "")
    match message.get("to"):
        case "exact":
            streams.out_exact(text)
        case "out":
            streams.out(text)
        case _:
            streams.note(text)
