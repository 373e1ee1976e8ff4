"""A question that is asked again and again, whose last answer stays in force while there is none: it is logged once why."""

import logging
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from strongroom.errors import StrongroomError

Answer = TypeVar("Answer")


class LastAnswer(Generic[Answer]):
    """The last answer to a question; a failure never reaches the caller. Threads may ask."""

    def __init__(
        self, ask: Callable[[], Answer], first: Answer, log: logging.Logger, what: str
    ) -> None:
        """Take the question; nothing is asked.

        Args:
            ask: Returns the present answer; may raise `StrongroomError`.
            first: The answer until there was one.
            log: Gets a warning for each new cause.
            what: The question in words, such as "the limits".
        """
        self._ask: Final = ask
        self._log: Final = log
        self._what: Final = what
        self._answer = first
        self._cause = ""

    def __call__(self) -> Answer:
        """Ask; the answer of before if there is none now."""
        try:
            self._answer = self._ask()
        except StrongroomError as error:
            if error.message != self._cause:
                self._log.warning(
                    "%s cannot be read; what was known stays: %s", self._what, error.with_hint
                )
            self._cause = error.message
        else:
            self._cause = ""
        return self._answer
