"""Every failure as the error message that tabcmd and TSC can show (clients.md 1.1); the one place that knows their codes.

The clients print a 5xx answer as raw bytes with a traceback, so an expected failure never is one: a sealed KMS store or
an unreachable root is 423. Codes beginning with 409 mean "exists already" to tabcmd (`--continue-if-exists`).
"""

from dataclasses import dataclass
from enum import Enum

from strongroom.doors.tableau.message import Element, element, text_element
from strongroom.errors import (
    AuthenticationError,
    ConflictError,
    CoordinationError,
    FormatError,
    IntegrityError,
    KeystoreError,
    NotFoundError,
    OutcomeUnknown,
    PermissionDeniedError,
    RootError,
    StateError,
    StorageError,
    StrongroomError,
    UsageError,
    WaitTimeoutError,
)
from strongroom.system import disk

SEALED_STATUS = 423


class Noun(Enum):
    """The kind of thing that a route serves, with the error codes for "not found" and for "exists already"."""

    NOTHING = ("404003", "409000")
    SITE = ("404000", "409001")
    USER = ("404002", "409017")
    DATASOURCE = ("404004", "409004")
    PROJECT = ("404005", "409006")
    WORKBOOK = ("404006", "409004")
    UPLOAD = ("404007", "409007")
    JOB = ("404009", "409010")
    GROUP = ("404012", "409009")

    @property
    def missing_code(self) -> str:
        """The code of 404."""
        return str(self.value[0])

    @property
    def exists_code(self) -> str:
        """The code of 409."""
        return str(self.value[1])


class RefusalError(Exception):
    """An answer with a code of its own that clients act upon; never leaves the web layer."""

    def __init__(self, status: int, code: str, detail: str, *, retry_after_s: int = 0) -> None:
        super().__init__(detail)
        self.fault = Fault(status, code, detail, retry_after_s)


@dataclass(frozen=True)
class Fault:
    """The contents of an error answer.

    Attributes:
        status: HTTP status.
        code: The code that clients act upon.
        detail: The sentence for people.
        retry_after_s: The seconds after which another try may help; 0 if that is not known.
    """

    status: int
    code: str
    detail: str
    retry_after_s: int = 0

    @property
    def message(self) -> Element:
        """The fault as a message, to be sent as XML or JSON."""
        summary = _SUMMARIES.get(self.status, "Request failed")
        return element(
            "error",
            {"code": self.code},
            text_element("summary", summary),
            text_element("detail", self.detail),
        )


_SUMMARIES = {
    400: "Bad Request",
    401: "Signin Error",
    403: "Forbidden",
    404: "Resource Not Found",
    405: "Invalid Request Method",
    409: "Resource Conflict",
    412: "Precondition Failed",
    422: "Data Damaged or Unreadable",
    408: "Request Timeout",
    411: "Length Required",
    429: "Too Many Requests",
    423: "Keys or Storage Unavailable",
    500: "Internal Error",
}

# the words by which services call things
_ABOUT = {noun.name.lower(): noun for noun in Noun}

# in order: the first class that fits decides
_TABLE: tuple[tuple[type[StrongroomError], int, str], ...] = (
    (AuthenticationError, 401, "401002"),
    (PermissionDeniedError, 403, "403004"),
    (StateError, 409, "409110"),
    (UsageError, 400, "400003"),
    (IntegrityError, 422, "422020"),
    (FormatError, 400, "400011"),
    (WaitTimeoutError, 408, "408000"),
)

# Messages about the machine itself are shown only in its log and on its own command line, since they name paths,
# addresses and modes, which would help an attacker.
_INSIDE: tuple[tuple[type[StrongroomError], str], ...] = (
    (KeystoreError, "the server's keystore cannot be opened"),
    (RootError, "the root that protects the server's keys cannot be used"),
    (CoordinationError, "the server's configuration store cannot be used"),
    (StorageError, "the server's storage cannot be used"),
    (OutcomeUnknown, "it is not known whether the change was made"),
)
_SHORT = "the server has too many open files; come again in some seconds"


def fault_of(error: StrongroomError, noun: Noun) -> Fault:
    """The answer for an error that was raised on purpose."""
    detail = error.with_hint
    if isinstance(error, NotFoundError):
        # the missing thing may be another than the route's own: the project to publish in, or the user to add
        return Fault(404, _ABOUT.get(error.about, noun).missing_code, detail)
    if isinstance(error, ConflictError):
        return Fault(409, noun.exists_code, detail)
    for kind, status, code in _TABLE:
        if isinstance(error, kind):
            return Fault(status, code, detail)
    if error.http_status >= 500:
        if disk.tells_of_descriptors(error):
            # a lack of file descriptors passes by itself, and no stored data is damaged (findings R17)
            return Fault(SEALED_STATUS, f"{SEALED_STATUS}0{error.exit_code:02}", _SHORT, 5)
        for inside, words in _INSIDE:
            if isinstance(error, inside):
                detail = f"{words}; its log says more"
        return Fault(SEALED_STATUS, f"{SEALED_STATUS}0{error.exit_code:02}", detail)
    return Fault(400, "400000", detail)


UNEXPECTED = Fault(500, "500000", "an unexpected error; the server's log says more")
