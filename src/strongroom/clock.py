"""The port to the clock, the system's clock, and the only text form of a moment (K-12)."""

from datetime import UTC, datetime, timedelta
from typing import Protocol

from strongroom.errors import FormatError

# Clocks are corrected by some minutes in daily life. A stored time that lies further in the future was written while
# the clock was ahead, and cannot be compared with the present (findings R13, K23).
SKEW = timedelta(minutes=5)
_SECONDS = len("YYYY-MM-DDTHH:MM:SS")
_LENGTH = 20
_FIRST_YEAR = 1000


class Clock(Protocol):
    """The port to the clock."""

    def now(self) -> datetime:
        """The present moment, aware, in UTC."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The present moment, aware, in UTC, cut to whole seconds as every stored time is (K-12)."""
        return datetime.now(UTC).replace(microsecond=0)  # noqa: TID251 the one home of the system's time


class FixedClock:
    """A clock that stands still until it is moved; for tests and replays."""

    def __init__(self, moment: datetime) -> None:
        self.moment = moment

    def now(self) -> datetime:
        """The moment it was set to."""
        return self.moment


def is_future(moment: datetime, now: datetime) -> bool:
    """Whether a stored moment lies in the future, so that the clock must have been set back since it was stored."""
    return moment > now + SKEW


def format_utc(moment: datetime) -> str:
    """A moment as `YYYY-MM-DDTHH:MM:SSZ` (K-12); the real clients read no other form."""
    # a third of what strftime takes, and every event has such a time
    return f"{moment.astimezone(UTC).isoformat()[:_SECONDS]}Z"


def format_utc_ms(milliseconds: int) -> str:
    """A moment in milliseconds since the epoch, as a server told it, in the same form."""
    return format_utc(datetime.fromtimestamp(milliseconds / 1000, UTC))


def parse_utc(text: str) -> datetime:
    """The moment that `format_utc` wrote, and no other spelling (format/primitives.md 3.1).

    Raises:
        FormatError: The text has another form.
    """
    message = f"not a UTC time of the form YYYY-MM-DDTHH:MM:SSZ: {text!r}"
    if len(text) != _LENGTH or not text.endswith("Z"):
        raise FormatError(message)
    try:
        # strptime would cost each command 2 ms of imports
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise FormatError(message) from error
    # fromisoformat takes other forms, too
    if moment.year < _FIRST_YEAR or format_utc(moment) != text:
        raise FormatError(message)
    return moment
