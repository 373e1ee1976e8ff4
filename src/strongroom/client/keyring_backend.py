"""Passwords of Python's `keyring` as secrets of a node: a backend that needs no desktop and no D-Bus (docs/howto/keyring.md).

keyring finds the backend by its entry point. Where the node is, and as whom it is asked, keyring's own folder says in
`strongroom.json`, or variables named `KEYRING_PROPERTY_…` as for every backend. Without either the backend is not viable, and
keyring passes over it. This module alone imports keyring.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, unquote

from keyring import credentials, errors
from keyring.backend import KeyringBackend
from keyring.compat import properties
from keyring.util import platform_

from strongroom.client.vault_service import AppRole, Identity, Token, VaultService
from strongroom.errors import AuthenticationError, NotFoundError, StrongroomError, UsageError
from strongroom.system import disk

FILE = "strongroom.json"
OPTIONS = ("url", "token_file", "role_id", "secret_id_file", "ca_file", "path")
"""Members of the file, and, as `KEYRING_PROPERTY_URL` and so on, variables of the environment."""
DEFAULT_PATH = "secret/keyring"
_VARIABLE = "KEYRING_PROPERTY_"
_PRIORITY = 6.0
"""Above the backends of desktops, which have 5: whoever said where the node is wants it to be used."""
_EMPTY = "%"
"""The name of a user without a name; `quote` makes no such text of another one."""
_MOST_BYTES = 64 * 1024


class StrongroomKeyring(KeyringBackend):  # type: ignore[misc]  # as pyarrow: a library behind its one door
    """Keeps each password as a secret of its own, at `secret/keyring/SERVICE/USER` with percent signs.

    Attributes:
        url: `https://HOST:PORT` of the node's Vault door; `http://` only on this machine.
        token_file: The file with a token.
        role_id: In the place of a token: a role, whose secret id is in `secret_id_file`.
        ca_file: A PEM file of the certificates to verify the node's by.
        path: The path below which the passwords lie.
    """

    url = token_file = role_id = secret_id_file = ca_file = ""
    path = DEFAULT_PATH

    def __init__(self) -> None:
        for name, value in _from_file().items():
            setattr(self, name, value)
        super().__init__()  # variables of the environment outweigh the file

    @properties.classproperty  # type: ignore[untyped-decorator]
    def priority(cls) -> float:  # noqa: N805 a property of the class
        """Above the backends of desktops, where a node is configured.

        Raises:
            RuntimeError: No node is configured, so that the backend is of no use here.
        """
        variables = os.environ  # noqa: TID251 keyring's backends are configured there
        if not (variables.get(f"{_VARIABLE}URL") or _from_file().get("url")):
            raise RuntimeError(f"{_place()} names no url of a node")
        return _PRIORITY

    def get_password(self, service: str, username: str | None) -> str | None:
        """The password of a user for a service; None if there is none.

        Raises:
            KeyringLocked: The identity is not valid.
            KeyringError: The node cannot be asked, or does not allow it.
        """
        if username is None:
            return None
        with _translated(errors.KeyringError), self._asked() as node:
            try:
                data = node.read_secret(self._path(service, username)).data
            except NotFoundError:
                return None
        found = data.get("password")
        return found if isinstance(found, str) else None

    def set_password(self, service: str, username: str, password: str) -> None:
        """Keep a password.

        Raises:
            KeyringLocked: The identity is not valid.
            PasswordSetError: The node cannot be asked, or does not allow it.
        """
        data = {"service": service, "username": username, "password": password}
        with _translated(errors.PasswordSetError), self._asked() as node:
            node.write_secret(self._path(service, username), data)

    def delete_password(self, service: str, username: str) -> None:
        """Remove a password, with all its versions.

        Raises:
            KeyringLocked: The identity is not valid.
            PasswordDeleteError: The user has no password there, or the node cannot be asked, or does not allow it.
        """
        path = self._path(service, username)
        with _translated(errors.PasswordDeleteError), self._asked() as node:
            node.read_secret(path)
            node.remove_secret(path)

    def get_credential(self, service: str, username: str | None) -> credentials.Credential | None:
        """A user's name and password; of any user of the service, the first by name, if none is named.

        Raises:
            KeyringLocked: The identity is not valid.
            KeyringError: The node cannot be asked, or does not allow it.
        """
        if username is None:
            with _translated(errors.KeyringError), self._asked() as node:
                names = node.list_secrets(f"{self.path}/{_segment(service)}")
            users = sorted(_name(one) for one in names if not one.endswith("/"))
        else:
            users = [username]
        for user in users:
            password = self.get_password(service, user)
            if password is not None:
                return credentials.SimpleCredential(user, password)
        return None

    def _path(self, service: str, username: str) -> str:
        return f"{self.path.strip('/')}/{_segment(service)}/{_segment(username)}"

    @contextmanager
    def _asked(self) -> Iterator[VaultService]:
        with VaultService(self.url, self._identity(), ca_file=self.ca_file or None) as service:
            yield service

    def _identity(self) -> Identity:
        if self.role_id and self.secret_id_file:
            return AppRole(self.role_id, self.secret_id_file)
        if not self.token_file:
            raise UsageError(
                f"{_place()} names no token_file, and no role_id with secret_id_file",
                hint="'strongroom access token create' makes a token",
            )
        return Token(self.token_file)


def _place() -> str:
    return str(platform_.config_root() / FILE)


def _from_file() -> Mapping[str, str]:
    """The members of the file; empty if there is none.

    Raises:
        RuntimeError: The file cannot be read or understood: then keyring passes over the backend, and logs why.
    """
    try:
        with open(_place(), "rb") as file:  # noqa: PTH123 one call, and no path is needed
            found: Any = json.loads(file.read(_MOST_BYTES))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise RuntimeError(f"{_place()} cannot be read: {disk.reason(error)}") from error
    except ValueError as error:
        raise RuntimeError(f"{_place()} is no JSON") from error
    if not isinstance(found, dict) or not found.keys() <= set(OPTIONS):
        raise RuntimeError(f"{_place()} is an object with the members {', '.join(OPTIONS)}")
    return {name: str(value) for name, value in found.items()}


def _segment(text: str) -> str:
    """A name as one segment of a path, in which every name can stand."""
    if not text.strip("."):  # no name, or one that means another folder
        return text.replace(".", "%2E") or _EMPTY
    return quote(text, safe="")


def _name(segment: str) -> str:
    return "" if segment == _EMPTY else unquote(segment)


@contextmanager
def _translated(kind: type[errors.KeyringError]) -> Iterator[None]:
    """Errors of strongroom as errors of keyring."""
    try:
        yield
    except AuthenticationError as error:
        raise errors.KeyringLocked(error.with_hint) from error
    except StrongroomError as error:
        raise kind(error.with_hint) from error
