"""Credentials embedded in published content, sealed under the asset key (C-08): of an item, or of one of its connections."""

import hashlib
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from strongroom import ids
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import UsageError
from strongroom.extracts.documents import Connection
from strongroom.repository.rows import CredentialRow

MAX_NAME_CHARACTERS = 255


class AssetSealer(Protocol):
    """Seals values under the asset key (C-08)."""

    def seal(self, plaintext: bytes, *, content_id: str) -> tuple[str, str]:
        """The asset key's id and the sealed value."""
        ...


@dataclass(frozen=True)
class Login:
    """A credential embedded in published content; the password is never shown.

    Attributes:
        server: Address of the connection that uses the credential; empty for every connection without one of its own.
        port: The connection's port, if the publisher named one.
    """

    name: str
    password: SecretBytes = field(repr=False)
    server: str = ""
    port: str = ""


def connection_id(content_id: str, place: int) -> str:
    """The id of the connection at a position of an item's document, in the form of all ids."""
    digest = hashlib.sha256(f"connection {content_id} {place}".encode()).digest()
    return str(uuid.UUID(bytes=digest[:16], version=4))


def _places(content_id: str, found: Sequence[Connection], server: str, port: str) -> list[str]:
    """The ids of the connections to the address that a publisher gave.

    Raises:
        UsageError: The document has no connection to that address.
    """
    places = [
        connection_id(content_id, place)
        for place, one in enumerate(found)
        if one.server.casefold() == server.casefold() and port in {"", one.port}
    ]
    if not places:
        raise UsageError(
            f"the published file has no connection to {server[:100]!r}",
            hint="leave the address out: then the credentials are for all of its connections",
        )
    return places


def sealed_credential(
    assets: AssetSealer, content_id: str, name: str, password: SecretBytes, credential_id: str = ""
) -> CredentialRow:
    """A sealed credential; the credential of one connection has the connection's id."""
    if len(name) > MAX_NAME_CHARACTERS:
        raise UsageError(f"a name to sign in with has more than {MAX_NAME_CHARACTERS} characters")
    value = json.dumps({"name": name, "password": password.reveal().decode()})
    key_id, sealed = assets.seal(value.encode(), content_id=content_id)
    return CredentialRow(credential_id or ids.new_id(), content_id, name, sealed, key_id)


def as_published(
    assets: AssetSealer, content_id: str, logins: Sequence[Login], found: Sequence[Connection]
) -> list[CredentialRow]:
    """The sealed credentials of a publication, one for each connection that a login names.

    Raises:
        UsageError: A login names a connection that the file does not have.
    """
    kept: list[CredentialRow] = []
    for login in logins:
        places = [""]
        if login.server and found:
            places = _places(content_id, found, login.server, login.port)
        kept += [
            sealed_credential(assets, content_id, login.name, login.password, place)
            for place in places
        ]
    return kept
