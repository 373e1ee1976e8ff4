"""The one tree of errors.

Every class has an exit code for the command line, an HTTP status for the web, and takes a `hint`: what to do.

    StrongroomError               1 / 400
    ├── UsageError                2 / 400
    ├── AuthenticationError       3 / 401
    ├── PermissionDeniedError     4 / 403
    ├── NotFoundError             5 / 404
    ├── ConflictError             6 / 409
    ├── StateError                7 / 409
    │   └── NodesError            1 / 409   not every node of the installation could follow; nothing was changed
    ├── WaitTimeoutError          8 / 504   the work goes on
    ├── UpgradeNeededError        9 / 409   'strongroom upgrade' comes first
    ├── IntegrityError           20 / 422   one message: wrong tag, key and context are not told apart
    ├── FormatError              21 / 422
    ├── KeyNotFoundError         22 / 503
    ├── UnsignedError            23 / 422   whole, and not yet signed: no sign of a change
    ├── UnacknowledgedError      24 / 422   whole, and signed late: an administrator has to say why
    ├── RootError                30 / 503
    │   ├── RootUnavailableError 31 / 503   retryable
    │   └── RootRefusedError     32 / 503
    ├── KeystoreError            33 / 503
    ├── KeyServiceError          34 / 503   of a client: whoever gives out data keys cannot be asked
    ├── LinkError                35 / 503   another node, or its control service, cannot be reached
    ├── CoordinationError        40 / 503
    ├── StorageError             41 / 503
    │   └── StorageUnavailableError      retryable
    ├── OutcomeUnknown           42 / 503   done or not done: nobody could find out as yet
    ├── IncompleteError          43 / 503   done, and something of a node is not in it
    └── ConsumerError            50 / 503
        ├── ConsumerUnavailableError 51 / 503   retryable
        └── ConsumerRefusedError     52 / 503

Anything else ends with exit code 1 and HTTP status 500.
"""

from typing import ClassVar

INTEGRITY_MESSAGE = "authentication failed: wrong key, wrong context or damaged data"


class StrongroomError(Exception):
    """Base of all errors that strongroom raises on purpose.

    Attributes:
        message: A sentence about the failure, with the id of the thing that it concerns.
        hint: The next step for the reader; may be empty.
    """

    exit_code: ClassVar[int] = 1
    http_status: ClassVar[int] = 400

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    @property
    def with_hint(self) -> str:
        """The message, and the hint in parentheses, for a list or a note, where the hint has no line of its own."""
        return f"{self.message} ({self.hint})" if self.hint else self.message


class UsageError(StrongroomError):
    """The request itself is wrong: an option, a name, a value."""

    exit_code = 2


class AuthenticationError(StrongroomError):
    """The caller is not known, or the credential is wrong or expired."""

    exit_code = 3
    http_status = 401


class PermissionDeniedError(StrongroomError):
    """The caller is known, and may not do this."""

    exit_code = 4
    http_status = 403


class NotFoundError(StrongroomError):
    """The named thing does not exist.

    Attributes:
        about: The kind of the missing thing, in one word; may be empty.
    """

    exit_code = 5
    http_status = 404

    def __init__(self, message: str, *, hint: str = "", about: str = "") -> None:
        super().__init__(message, hint=hint)
        self.about = about


class ConflictError(StrongroomError):
    """The thing exists already, or somebody else changed it first."""

    exit_code = 6
    http_status = 409


class StateError(StrongroomError):
    """The request is fine, but not in the present state."""

    exit_code = 7
    http_status = 409


class NodesError(StateError):
    """Not every node of the installation could follow a change, and so nothing was changed."""

    exit_code = 1


class WaitTimeoutError(StrongroomError):
    """Waiting ended before the work did; the work goes on."""

    exit_code = 8
    http_status = 504


class UpgradeNeededError(StrongroomError):
    """The node is of an older format, and is upgraded before anything else."""

    exit_code = 9
    http_status = 409


class IntegrityError(StrongroomError):
    """A tag, key or context did not fit. Always the same message, so that nothing can be learnt from it."""

    exit_code = 20
    http_status = 422

    def __init__(self, message: str = INTEGRITY_MESSAGE, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)


class FormatError(StrongroomError):
    """Bytes are not in the format they should be in, or in a version that is not known here."""

    exit_code = 21
    http_status = 422


class KeyNotFoundError(StrongroomError):
    """A key that a ciphertext names is not in the KMS store."""

    exit_code = 22
    http_status = 503


class UnsignedError(StrongroomError):
    """All that is signed is whole, and something behind it is not signed as yet."""

    exit_code = 23
    http_status = 422


class UnacknowledgedError(StrongroomError):
    """All is whole and signed, and some of it was signed later than it was written, which nobody acknowledged as yet."""

    exit_code = 24
    http_status = 422


class RootError(StrongroomError):
    """The root that protects the RMK failed."""

    exit_code = 30
    http_status = 503


class RootUnavailableError(RootError):
    """The root cannot be reached now; worth another try."""

    exit_code = 31


class RootRefusedError(RootError):
    """The root answered, and said no."""

    exit_code = 32


class KeystoreError(StrongroomError):
    """The keystore file or its password cannot be used."""

    exit_code = 33
    http_status = 503


class KeyServiceError(StrongroomError):
    """A key service cannot be reached, or its answer makes no sense."""

    exit_code = 34
    http_status = 503


class LinkError(StrongroomError):
    """The control service of a node cannot be reached, or what answers is none."""

    exit_code = 35
    http_status = 503


class CoordinationError(StrongroomError):
    """The coordination store cannot be used."""

    exit_code = 40
    http_status = 503


class StorageError(StrongroomError):
    """A file, directory or database cannot be read or written."""

    exit_code = 41
    http_status = 503


class StorageUnavailableError(StorageError):
    """A database of another process cannot be used now, and may be again without a hand: away, starting, busy, failing over."""


class OutcomeUnknown(StrongroomError):  # noqa: N818 a third outcome, neither done nor failed
    """A change was sent to a service whose answer was lost: it may be done or not, and must not be repeated blindly.

    Attributes:
        change_id: The id by which the service can be asked later whether it made the change; empty if it cannot be asked.
    """

    exit_code = 42
    http_status = 503

    def __init__(self, message: str, *, hint: str = "", change_id: str = "") -> None:
        super().__init__(message, hint=hint)
        self.change_id = change_id


class IncompleteError(StrongroomError):
    """A backup was made and can be used; something of a node is missing in it, or is not as it should be."""

    exit_code = 43
    http_status = 503


class ConsumerError(StrongroomError):
    """A component that uses a secret did not learn its new value, or kept the old one."""

    exit_code = 50
    http_status = 503


class ConsumerUnavailableError(ConsumerError):
    """The component cannot be reached now; worth another try."""

    exit_code = 51


class ConsumerRefusedError(ConsumerError):
    """The component answered, and said no."""

    exit_code = 52
