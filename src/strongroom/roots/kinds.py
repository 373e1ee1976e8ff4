"""The description of a kind of root, from which commands, status, logs and backups take all their knowledge of it; pure.

Each provider's module defines its description as `ROOT`, and `roots.registry` names the module. No other code knows the
kind.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from strongroom.clock import Clock
    from strongroom.crypto.secret import SecretBytes
    from strongroom.roots.base import RootProvider, WrapRecord
    from strongroom.roots.settings import RootSettings


#: Words for a root that is reached by another name, endpoint or proxy than usual (findings K4).
WAY: Mapping[str, str] = {"wrapped_as": "Wrapped as", "endpoint": "Endpoint", "proxy": "Proxy"}


class Option(NamedTuple):
    """An option of the commands `kms set-mode KIND` and `kms roots add KIND`.

    Attributes:
        name: The option's name with its hyphens: `--key-arn`.
        metavar: The placeholder for the value in the help; empty for an option without a value.
        help: A few words of help.
        required: Whether the command refuses to run without the option.
        default: The value if the option is not given.
    """

    name: str
    metavar: str
    help: str
    required: bool = False
    default: str = ""


class Given(Protocol):
    """The options of a command line, each of which is read by its name.

    A credential is given as the name of a file, never as the value of an option: every user of the machine can see the
    options of a running command.
    """

    def text(self, option: str) -> str:
        """The value of an option, or its default; an empty text if the option has neither."""
        ...

    def flag(self, option: str) -> bool:
        """Whether an option is given."""
        ...

    def file(self, option: str) -> str:
        """The full path of the file that an option names; an empty text if the option is not given.

        Raises:
            UsageError: The file does not exist.
        """
        ...

    def certificates(self, option: str) -> str:
        """As `file`, for a file of certificates in a form that TLS reads.

        Raises:
            UsageError: The file does not exist, or is of another form.
        """
        ...

    def credential(self, option: str, what: str, *, lines: bool = False) -> "SecretBytes | None":
        """The credential in the file that an option names; None if the option is not given.

        Args:
            option: The option's name.
            what: The name of the credential in an error: `the token`.
            lines: Whether the credential may have several lines.

        Raises:
            UsageError: The credential is empty or too long, or holds characters outside ASCII.
            StorageError: The file cannot be read.
        """
        ...

    def needed(self, option: str, what: str) -> "SecretBytes":
        """As `credential`; if the option is not given, the person at the terminal is asked for the credential.

        Raises:
            UsageError: As `credential`; or the command has no terminal to ask at.
            StorageError: As `credential`.
        """
        ...


class LogWords(NamedTuple):
    """The words for a root in log lines; administrators know them from the documentation, so they never change (A-16).

    Attributes:
        accessor: The log channel for requests to the root.
        envelope: The log channel for the KMS store.
        key: The words before the id of the key that opened the RMK: `CMK with ARN`.
    """

    accessor: str
    envelope: str
    key: str


@dataclass(frozen=True)
class RootKind:
    """The description of a kind of root.

    Attributes:
        kind: The name of the kind in `set-mode`, in the KMS store and in wraps; never changes.
        build: Makes the provider from settings; imports the provider's library, and sends no request. None if only a
            node can make the provider.
        title: The name of the mode in `kms status`; empty for the name of the kind.
        options: The options on the command line, in the order of the help.
        of_options: Makes checked settings from a command line; sends no request. None for a kind without settings.
        example: The options that `--help` shows as an example.
        page: The page of `docs/howto/` about the kind; empty for `root-<kind>`.
        shown: The lines about the root in `kms status`, in this order: name of a detail → its label, with an empty name
            for the key. None for the key and all details, labelled by their names.
        log_words: The words for the root in log lines; None for words made from the kind's name.
        version: A regular expression for the id in a wrap, if it ends with a version of the key; its group `key` is the
            id without the version. Empty if ids name no version.
        of_backup: Makes checked settings from those in a backup; sends no request. An attacker may have written the
            backup, so no option is taken that chooses code to run or programs to start. None, or a result of None:
            roots of this kind are not taken from a backup.
        of_wrap: Makes settings from a wrap whose own settings were lost. None if a wrap does not show how to reach its
            root.
    """

    kind: str
    build: "Callable[[RootSettings, Clock], RootProvider] | None"
    title: str = ""
    options: tuple[Option, ...] = ()
    of_options: "Callable[[Given], RootSettings] | None" = None
    example: str = ""
    page: str = ""
    shown: Mapping[str, str] | None = None
    log_words: LogWords | None = None
    version: str = ""
    of_backup: "Callable[[RootSettings], RootSettings | None] | None" = None
    of_wrap: "Callable[[WrapRecord], RootSettings] | None" = None
