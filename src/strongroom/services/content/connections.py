"""The connections of published content, and the credentials kept with them, sealed under the asset key (C-08).

A connection is described by the published document, which is read at each request and never written. A connection's id
is derived from the item's id and the connection's position in the document, so the id stays the same until another
document is published. Clients can change only the user name and password of a connection; the password is stored and
never shown.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from strongroom.access import permissions
from strongroom.access.permissions import Action, Resource
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import NotFoundError, StateError, UsageError
from strongroom.extracts import documents
from strongroom.extracts.documents import Connection
from strongroom.extracts.model import ContentKind, FileType
from strongroom.extracts.vault import VaultReader
from strongroom.repository.reach import of_site
from strongroom.repository.rows import ContentRow, CredentialRow
from strongroom.repository.unit_of_work import Repository, Transaction
from strongroom.services.content.credentials import AssetSealer, connection_id, sealed_credential
from strongroom.services.content.items import find_content, placement_of
from strongroom.services.content.stored_files import StoredFiles
from strongroom.services.directory.ownership import content_resource
from strongroom.services.directory.sign_in import Identity


@dataclass(frozen=True)
class ShownConnection:
    """A connection with its id and the name that it signs in as.

    Attributes:
        embeds: Whether a password is stored for the connection.
    """

    id: str
    connection: Connection
    username: str
    embeds: bool


@dataclass(frozen=True)
class ConnectionChanges:
    """The changes of a connection that a client asks for; None leaves an attribute.

    Attributes:
        server: The server's address; accepted only if the document has the same.
        port: The port; accepted only if the document has the same.
        authentication: The kind of authentication; accepted only if the document has the same.
        embeds: Whether to store the password, or to delete the stored one.
    """

    server: str | None = None
    port: str | None = None
    authentication: str | None = None
    username: str | None = None
    password: SecretBytes | None = field(default=None, repr=False)
    embeds: bool | None = None


class ConnectionsService:
    """Shows the connections of content, and keeps their credentials."""

    def __init__(self, repository: Repository, files: StoredFiles, assets: AssetSealer) -> None:
        self._repository = repository
        self._files = files
        self._assets = assets

    def of_item(
        self, identity: Identity, kind: ContentKind, content_id: str
    ) -> list[ShownConnection]:
        """The connections of an item.

        Raises:
            NotFoundError: The site has no such item.
            FormatError: The item's document cannot be read.
        """
        permissions.check(identity.subject, Action.LIST_CONTENT, Resource(identity.site.id))
        with self._repository.reading() as tx:
            row = find_content(tx, identity, kind, content_id)
            credentials = tx.credentials.list_for_content(row.id)
        return _shown(row, self._read(row), credentials)

    def update(
        self,
        identity: Identity,
        kind: ContentKind,
        content_id: str,
        connection_ids: Sequence[str],
        changes: ConnectionChanges,
    ) -> list[ShownConnection]:
        """Change the user names and passwords of these connections, all or none; returns the changed connections.

        Raises:
            PermissionDeniedError: The user may not change the item.
            NotFoundError: The site has no such item, or the item no such connection.
            UsageError: The changes contradict the document, or have a name without a password.
            StateError: Another file was published, or a job replaced it, at the same time.
        """
        with self._repository.reading() as tx:
            row = find_content(tx, identity, kind, content_id)
            permissions.check(identity.subject, Action.UPDATE_CONTENT, content_resource(tx, row))
        found = self._read(row)
        with self._repository.transaction(of_site(identity.site.id)) as tx:
            now = find_content(tx, identity, kind, content_id)
            permissions.check(identity.subject, Action.UPDATE_CONTENT, content_resource(tx, now))
            if now.storage_key != row.storage_key:
                raise StateError(
                    f"{kind} {row.name!r} got another file meanwhile", hint="ask again"
                )
            credentials = tx.credentials.list_for_content(row.id)
            places = [connection_id(row.id, place) for place in range(len(found))]
            known = {one.id: one for one in _shown(row, found, credentials)}
            self._share_out(tx, credentials, places)
            for wanted in connection_ids:
                shown = known.get(wanted)
                if shown is None:
                    raise NotFoundError(f"{kind} {row.name!r} has no connection {wanted[:64]!r}")
                _check(shown, changes)
                self._change(tx, row, shown, changes)
            after = tx.credentials.list_for_content(row.id)
        return [one for one in _shown(row, found, after) if one.id in connection_ids]

    def _share_out(
        self, tx: Transaction, credentials: Sequence[CredentialRow], places: Sequence[str]
    ) -> None:
        """Replace the credential of the whole item by one for each connection that has none, so that one can be changed."""
        own = {credential.id for credential in credentials} & set(places)
        common = [credential for credential in credentials if credential.id not in own]
        for place in places:
            if common and place not in own:
                tx.credentials.insert(replace(common[0], id=place))
        for credential in common:
            tx.credentials.delete(credential.id)

    def _change(
        self, tx: Transaction, row: ContentRow, shown: ShownConnection, changes: ConnectionChanges
    ) -> None:
        if changes.embeds is False:
            tx.credentials.delete(shown.id)
        elif changes.password is not None:
            tx.credentials.delete(shown.id)
            name = shown.username if changes.username is None else changes.username
            tx.credentials.insert(
                sealed_credential(self._assets, row.id, name, changes.password, shown.id)
            )

    def _read(self, row: ContentRow) -> list[Connection]:
        with self._files.open_here(row, placement_of(row)) as reader:
            return read_connections(FileType(row.file_type), reader)


def read_connections(file_type: FileType, reader: VaultReader) -> list[Connection]:
    """The connections in the document of a stored file.

    Raises:
        FormatError: The document cannot be read.
    """
    return documents.connections_of(file_type, io.BufferedReader(reader.as_file()))


def _shown(
    row: ContentRow, found: Sequence[Connection], credentials: Sequence[CredentialRow]
) -> list[ShownConnection]:
    own = {credential.id: credential for credential in credentials}
    places = [connection_id(row.id, place) for place in range(len(found))]
    # a credential published for the whole item holds for every connection without one of its own
    common = next((one for one in credentials if one.id not in places), None)
    shown: list[ShownConnection] = []
    for place, connection in zip(places, found, strict=True):
        credential = own.get(place, common)
        name = connection.username if credential is None else credential.name
        shown.append(ShownConnection(place, connection, name, credential is not None))
    return shown


def _check(shown: ShownConnection, changes: ConnectionChanges) -> None:
    """Refuse changes of what the document says; equal values pass, since clients send back all that they were shown."""
    said = shown.connection
    for what, present, wanted in (
        ("server address", said.server, changes.server),
        ("port", said.port, changes.port),
        ("kind of authentication", said.authentication, changes.authentication),
    ):
        if wanted and wanted.casefold() != present.casefold():
            raise UsageError(
                f"the {what} of a connection is part of the published file, and cannot be changed without it",
                hint="publish the file anew",
            )
    if changes.password is None and changes.embeds and not shown.embeds:
        raise UsageError("no password was sent to be embedded", hint="send password")
    renamed = changes.username not in {None, "", shown.username}
    if renamed and (changes.password is None or changes.embeds is False):
        raise UsageError(
            "a name to sign in with is kept with its password only",
            hint="send both, to be embedded",
        )
    if changes.password is not None and changes.embeds is None and not shown.embeds:
        raise UsageError(
            "a password is only kept if it is to be embedded", hint="send embedPassword true"
        )
