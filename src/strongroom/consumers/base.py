"""The port to a component that must learn a rotated secret: PostgreSQL, Redis, ZooKeeper … (R6, R7).

A consumer changes the component, and proves it by real logins. It never writes the configuration,
the journal or an event, and never decides what happens next: `services/secret_rotation` does.
"""

import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from strongroom import os_users
from strongroom.crypto.secret import SecretBytes

CALL_TIMEOUT_S = 10.0
"""Longest that any method may take, the component being hung: a run goes over many secrets."""

CopyForm = Literal["plaintext", "hash", "verifier", "public"]

Candidates = Callable[[str], "tuple[SecretBytes, ...]"]
"""The values that a secret parameter may have in its component now: a journaled new one, then the configured one.

Consumers that administer others' passwords log in by these, one after the other: a run that was
killed may have left either as the one that counts.
"""


@dataclass(frozen=True)
class Credential:
    """What one consumer is logged in to with: a password, or a chain of certificates and keys.

    Attributes:
        values: Secret parameter → its value; all of the consumer's parameters.
        logins: Ordinary parameter → its value, for the consumer's `alternates`: which login takes its
            turn; empty before the first rotation, if nobody set it.
    """

    values: Mapping[str, SecretBytes]
    logins: Mapping[str, str] = field(default_factory=dict)

    def only(self) -> SecretBytes:
        """The value, where the consumer has exactly one parameter."""
        (value,) = self.values.values()
        return value


@dataclass(frozen=True)
class ConsumerDescription:
    """What a consumer is, without its secrets.

    Attributes:
        id: Its name in reports, events and journals, such as `postgresql/readonly`; never changes.
        kind: Which sort: `postgresql`, `redis`, `zookeeper`, `certificates`, `https`, `smtp`.
        parameters: The secret parameters that it rotates together; no two consumers share one.
        where: The component, for people: host and port or socket, and the user's name.
        overlaps: Whether old and new are valid at once between `admit` and `withdraw`.
        ends_old: Whether `withdraw` makes the old one invalid, so that this can be proved. False
            where the component is not ours to change (a mail provider): there an administrator did.
        alternates: Ordinary parameter → the two values that take turns with every rotation, for
            logins that come in pairs; promoted in the same transaction as the secret.
    """

    id: str
    kind: str
    parameters: tuple[str, ...]
    where: str
    overlaps: bool = True
    ends_old: bool = True
    alternates: Mapping[str, tuple[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class SecretCopy:
    """One place outside the configuration that holds a form of a secret (`secrets inventory`, P15).

    Attributes:
        parameters: Whose copy it is.
        path: The file; or where the component keeps it, if that is no file of this machine.
        form: What lies there: `plaintext`, unsalted `hash`, salted `verifier`, `public` certificate.
        mode: Permission bits, such as `0600`; empty if it is no file or cannot be seen.
        owner: The owner's name or number; empty likewise.
    """

    parameters: tuple[str, ...]
    path: str
    form: CopyForm
    mode: str = ""
    owner: str = ""


def file_copy(parameters: tuple[str, ...], path: Path, form: CopyForm) -> SecretCopy:
    """A copy in a file of this machine, as it lies there now."""
    try:
        found = path.lstat()
    except OSError:
        return SecretCopy(parameters, str(path), form)
    mode, owner = f"{stat.S_IMODE(found.st_mode):04o}", os_users.user_name(found.st_uid)
    return SecretCopy(parameters, str(path), form, mode, owner)


class Consumer(Protocol):
    """One component, and the user in it whose secret we rotate.

    Every method but `describe` and `copies` speaks with the real component, opens its connections
    itself, closes them, and ends within `CALL_TIMEOUT_S`. Every foreign exception becomes, from the
    cause, `ConsumerUnavailableError` (down, hung, starting: another try may help) or
    `ConsumerRefusedError` (it answered and said no: wrong credential, missing permission). No value
    gets into a message, the component's log, a file in plain text, or a command line. Each call may
    die at any point and be made again: `admit` and `withdraw` are idempotent.
    """

    def describe(self) -> ConsumerDescription:
        """What it is; asks nobody."""
        ...

    def admit(self, new: Credential, present: Credential) -> None:
        """Make the new credential valid, beside the present one where the component can hold two.

        Afterwards nothing else than these two is valid for the user: what an abandoned rotation
        admitted goes.

        Args:
            new: What is to be valid; perhaps is already, from a call that was cut.
            present: What the configuration says now; not valid any longer if such a call replaced it.
        """
        ...

    def login(self, credential: Credential) -> None:
        """A login as a client would, with a question that needs it; nothing is changed.

        Raises:
            ConsumerRefusedError: The credential is not valid (the proof that an old one is dead).
            ConsumerUnavailableError: Nobody can say.
        """
        ...

    def withdraw(self, old: Credential, present: Credential) -> None:
        """Make the old credential invalid and end the sessions that it opened, where that is the contract.

        Args:
            old: What dies; perhaps is dead already, from a call that was cut.
            present: What stays valid, and was proved to be.
        """
        ...

    def copies(self) -> tuple[SecretCopy, ...]:
        """Where the component keeps a form of the secret, as far as can be told; asks only the file system."""
        ...
