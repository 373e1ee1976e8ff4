"""The interface to a component that must learn a rotated secret: PostgreSQL, Redis, ZooKeeper … (R6, R7).

A consumer changes the component, and proves the change by real logins. A consumer never writes the configuration, the
journal or an event, and never decides on the next step: `services/secrets/rotate` does both.
"""

import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from strongroom.crypto.secret import SecretBytes
from strongroom.errors import ConsumerError
from strongroom.system import os_users

CALL_TIMEOUT_S = 10.0
"""The longest that a method may take even if the component hangs, since a run rotates many secrets one after another."""

CopyForm = Literal["plaintext", "hash", "verifier", "public"]

Candidates = Callable[[str], "tuple[SecretBytes, ...]"]
"""The values that a secret parameter may have in its component now: a journaled new one, then the configured one.

A consumer that sets the passwords of other users logs in with these values, one after the other: after a run that was
killed, either of them may be the valid one.
"""


class UnprovenLoginError(ConsumerError):
    """A login that proves neither that a credential is valid nor that it is dead.

    Attributes:
        is_let_in: Whether the login succeeded all the same, since the component asks for no password or lets the user
            in as another one; None if no login was tried.
    """

    is_let_in: bool | None = None


@dataclass(frozen=True)
class Credential:
    """The secret values for a login to a consumer's component: a password, or a chain of certificates and keys.

    Attributes:
        values: Secret parameter → its value; all of the consumer's parameters.
        logins: Ordinary parameter → its value, for the consumer's `alternates`: the one of two login names that these
            values belong to; an empty value before the first rotation.
    """

    values: Mapping[str, SecretBytes]
    logins: Mapping[str, str] = field(default_factory=dict)

    def only(self) -> SecretBytes:
        """The value of the consumer's only parameter."""
        (value,) = self.values.values()
        return value


@dataclass(frozen=True)
class ConsumerDescription:
    """The facts about a consumer, without its secrets.

    Attributes:
        id: The consumer's name in reports, events and journals, such as `postgresql/readonly`; never changes.
        kind: The kind of component: `postgresql`, `redis`, `zookeeper`, `certificates`, `https`, `smtp`.
        parameters: The secret parameters that are rotated together; no two consumers share a parameter.
        where: The component, for people: host and port or socket, and the user's name.
        overlaps: Whether the old and the new credential are both valid between `admit` and `withdraw`.
        ends_old: Whether `withdraw` makes the old credential invalid, so that this can be proved. False where the node
            cannot change the component (a mail provider): there an administrator ends the old password.
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
    """A place outside the configuration that holds a form of a secret (`secrets inventory`, P15).

    Attributes:
        parameters: The parameters whose values are stored there.
        path: The file; or a description of the place, if it is not a file of this machine.
        form: The form of the copy: `plaintext`, unsalted `hash`, salted `verifier`, `public` certificate.
        mode: Permission bits, such as `0600`; empty if the place is not a file, or its mode cannot be read.
        owner: The owner's name or number; empty in the same cases.
    """

    parameters: tuple[str, ...]
    path: str
    form: CopyForm
    mode: str = ""
    owner: str = ""


def file_copy(parameters: tuple[str, ...], path: Path, form: CopyForm) -> SecretCopy:
    """The description of a copy in a file of this machine, with the file's present mode and owner."""
    try:
        found = path.lstat()
    except OSError:
        return SecretCopy(parameters, str(path), form)
    mode, owner = f"{stat.S_IMODE(found.st_mode):04o}", os_users.user_name(found.st_uid)
    return SecretCopy(parameters, str(path), form, mode, owner)


class Consumer(Protocol):
    """A component, and the user in it whose secret is rotated.

    Every method but `describe`, `remarks` and `copies` speaks with the real component, opens and closes its own
    connections, and ends within `CALL_TIMEOUT_S`. Every exception of a library is translated, and raised from its
    cause, as `ConsumerUnavailableError` (the component is down, hangs or starts: another try may help) or as
    `ConsumerRefusedError` (the component answered with a refusal: wrong credential, missing permission). No secret
    value gets into a message, the component's log, a plaintext file, or a command line. The process may die at any
    point of a call, and the call is then repeated: `admit` and `withdraw` are idempotent.
    """

    def describe(self) -> ConsumerDescription:
        """The facts about the consumer; sends no request."""
        ...

    def admit(self, new: Credential, present: Credential) -> None:
        """Make the new credential valid, beside the present one where the component can hold two.

        Before any change, the method checks that the new credential can be proved afterwards: that the user may log in
        at all, that the administrator has every right that the change needs, and that every server that needs the value
        can be reached. Otherwise a rotation would stop in the middle. A refusal means that nothing was changed, or that
        the change was undone.

        Afterwards only these two credentials are valid for the user: a credential that an abandoned rotation admitted
        is no longer valid.

        Args:
            new: The credential to make valid; a call that was cut off may have done so already.
            present: The credential in the configuration; no longer valid if such a call has replaced it.
        """
        ...

    def login(self, credential: Credential) -> None:
        """Log in as a client does, and send a query that needs the login; nothing is changed.

        Raises:
            ConsumerRefusedError: The credential is not valid, which for an old one is the wanted proof.
            ConsumerUnavailableError: The component did not answer, so the login proves nothing.
            UnprovenLoginError: The component asks for no password, or lets the user in as another one.
        """
        ...

    def take_back(self, new: Credential, present: Credential) -> None:
        """Undo `admit` after the proof of the new credential failed: only the present credential stays valid.

        Args:
            new: The credential to make invalid.
            present: The credential in the configuration, which is valid afterwards.
        """
        ...

    def withdraw(self, old: Credential, present: Credential) -> None:
        """Make the old credential invalid, and end the sessions that it opened if the consumer promises to.

        Args:
            old: The credential to make invalid; a call that was cut off may have done so already.
            present: The credential that stays valid, and that a login has proved.
        """
        ...

    def remarks(self) -> tuple[str, ...]:
        """Remarks for the operator about the calls so far, a sentence each, such as on replicas that were not changed."""
        ...

    def copies(self) -> tuple[SecretCopy, ...]:
        """The places where the component stores a form of the secret, as far as known; reads only the file system."""
        ...
