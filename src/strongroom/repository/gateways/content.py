"""Projects, published content and the credentials embedded in it."""

from collections.abc import Collection, Mapping
from typing import ClassVar

from sqlalchemy import func, select

from strongroom.repository import tables
from strongroom.repository.folding import fold
from strongroom.repository.gateways.base import Field, TableGateway, folded, number
from strongroom.repository.rows import (
    ContentRow,
    CredentialRow,
    Page,
    ProjectRow,
    Query,
    StoredFields,
)

_PROJECT = tables.projects.c
_CONTENT = tables.contents.c


class ProjectsTable(TableGateway[ProjectRow]):
    """The projects of sites, a tree per site."""

    table = tables.projects
    row_type = ProjectRow
    noun = "project"
    null_keys: ClassVar[Mapping[str, str]] = {"parent_id": "parent_key"}

    def find_by_name(self, site_id: str, name: str, parent_id: str | None) -> ProjectRow | None:
        """The project of that name below a parent (None: at the top), whatever its case."""
        return self._find(
            _PROJECT.site_id == site_id,
            _PROJECT.parent_key == (parent_id or ""),
            _PROJECT.name_folded == fold(name),
        )

    def page(self, site_id: str, query: Query | None = None) -> Page[ProjectRow]:
        """Projects of a site by name."""
        fields = {
            "name": folded(_PROJECT.name_folded),
            "parent_id": Field(_PROJECT.parent_key),
            "owner_id": Field(_PROJECT.owner_id),
            "created_at": Field(_PROJECT.created_at),
            "updated_at": Field(_PROJECT.updated_at),
        }
        default = Query(sort=(("name", False),))
        return self._page([_PROJECT.site_id == site_id], query or default, fields)

    def children(self, project_id: str) -> list[ProjectRow]:
        """The projects right below one."""
        return self._all(select(self.table).where(_PROJECT.parent_id == project_id))

    def count_owned_by(self, user_id: str, site_id: str) -> int:
        """How many projects a user owns on a site."""
        return self._count(_PROJECT.owner_id == user_id, _PROJECT.site_id == site_id)

    def change_owner(self, from_user_id: str, to_user_id: str, site_id: str) -> int:
        """Give a user's projects on a site to another; returns how many."""
        condition = (_PROJECT.owner_id == from_user_id) & (_PROJECT.site_id == site_id)
        return self._change(condition, {"owner_id": to_user_id})


def _content_fields() -> dict[str, Field]:
    project_name = (
        select(_PROJECT.name_folded).where(_PROJECT.id == _CONTENT.project_id).scalar_subquery()
    )
    user = tables.users.c
    owner_name = select(user.name_folded).where(user.id == _CONTENT.owner_id).scalar_subquery()
    return {
        "name": folded(_CONTENT.name_folded),
        "content_url": folded(_CONTENT.content_url_folded),
        "project_name": folded(project_name),
        "owner_name": folded(owner_name),
        "project_id": Field(_CONTENT.project_id),
        "owner_id": Field(_CONTENT.owner_id),
        "file_type": Field(_CONTENT.file_type),
        "size": Field(_CONTENT.plaintext_bytes, number),
        "state": Field(_CONTENT.state, number),
        "created_at": Field(_CONTENT.created_at),
        "updated_at": Field(_CONTENT.updated_at),
    }


class ContentsTable(TableGateway[ContentRow]):
    """Published data sources and workbooks."""

    table = tables.contents
    row_type = ContentRow
    noun = "published item"

    def find_by_name(self, project_id: str, kind: str, name: str) -> ContentRow | None:
        """The content of that kind and name in a project, whatever its case."""
        return self._find(
            _CONTENT.project_id == project_id,
            _CONTENT.kind == kind,
            _CONTENT.name_folded == fold(name),
        )

    def find_by_content_url(self, site_id: str, kind: str, content_url: str) -> ContentRow | None:
        """The content of that kind and content URL on a site, whatever its case."""
        return self._find(
            _CONTENT.site_id == site_id,
            _CONTENT.kind == kind,
            _CONTENT.content_url_folded == fold(content_url),
        )

    def page(
        self, site_id: str, kind: str | None = None, query: Query | None = None
    ) -> Page[ContentRow]:
        """Content of a site by name."""
        conditions = [_CONTENT.site_id == site_id]
        if kind is not None:
            conditions.append(_CONTENT.kind == kind)
        return self._page(conditions, query or Query(sort=(("name", False),)), _content_fields())

    def list_for_site(
        self,
        site_id: str,
        *,
        kind: str | None = None,
        states: Collection[int] | None = None,
        after_id: str = "",
        limit: int | None = None,
    ) -> list[ContentRow]:
        """Content of a site in the order of ids, for work in batches: those behind `after_id`."""
        statement = select(self.table).where(_CONTENT.site_id == site_id, _CONTENT.id > after_id)
        if kind is not None:
            statement = statement.where(_CONTENT.kind == kind)
        if states is not None:
            statement = statement.where(_CONTENT.state.in_([int(state) for state in states]))
        return self._all(statement.order_by(_CONTENT.id).limit(limit))

    def list_of_project(self, project_id: str) -> list[ContentRow]:
        """Content of one project, not of those below it."""
        statement = select(self.table).where(_CONTENT.project_id == project_id)
        return self._all(statement.order_by(_CONTENT.id))

    def switch_file(
        self,
        content_id: str,
        expected_storage_key: str,
        stored: StoredFields,
        state: int,
        *,
        updated_at: str | None = None,
    ) -> bool:
        """Let the content have another file, if it still has the expected one; says whether it did.

        After a rewrap the storage key stays the same; only what describes the file changes.
        `updated_at` is for changes that a user made: encryption does not make content newer.
        """
        changes: dict[str, object] = {
            "storage_key": stored.storage_key,
            "file_id": stored.file_id,
            "mek_id": stored.mek_id,
            "plaintext_bytes": stored.plaintext_bytes,
            "stored_bytes": stored.stored_bytes,
            "state": int(state),
        }
        if updated_at is not None:
            changes["updated_at"] = updated_at
        unchanged = (_CONTENT.id == content_id) & (_CONTENT.storage_key == expected_storage_key)
        return self._change(unchanged, changes) == 1

    def set_state(self, content_id: str, expected: Collection[int], state: int) -> bool:
        """Move one content to a state if it is in an expected one; says whether it was."""
        condition = (_CONTENT.id == content_id) & _CONTENT.state.in_([int(one) for one in expected])
        return self._change(condition, {"state": int(state)}) == 1

    def change_owner(self, from_user_id: str, to_user_id: str, site_id: str) -> int:
        """Give a user's content on a site to another; returns how many."""
        condition = (_CONTENT.owner_id == from_user_id) & (_CONTENT.site_id == site_id)
        return self._change(condition, {"owner_id": to_user_id})

    def count_of_site(self, site_id: str, states: Collection[int] | None = None) -> int:
        """How many published items a site has, in these states if any are given."""
        conditions = [_CONTENT.site_id == site_id]
        if states is not None:
            conditions.append(_CONTENT.state.in_([int(state) for state in states]))
        return self._count(*conditions)

    def count_owned_by(self, user_id: str, site_id: str) -> int:
        """How many published items a user owns on a site."""
        return self._count(_CONTENT.owner_id == user_id, _CONTENT.site_id == site_id)

    def bytes_of_site(self, site_id: str) -> int:
        """Plaintext bytes of a site's content, for its storage quota."""
        statement = select(func.coalesce(func.sum(_CONTENT.plaintext_bytes), 0))
        return int(
            self._connection.execute(statement.where(_CONTENT.site_id == site_id)).scalar_one()
        )

    def storage_keys(self) -> set[str]:
        """The file store's keys of all content."""
        statement = select(_CONTENT.storage_key).where(_CONTENT.storage_key != "")
        return set(self._connection.execute(statement).scalars())


class CredentialsTable(TableGateway[CredentialRow]):
    """Sealed credentials of content."""

    table = tables.credentials
    row_type = CredentialRow
    noun = "credential"

    def list_for_content(self, content_id: str) -> list[CredentialRow]:
        """The credentials of one content."""
        credential = tables.credentials.c
        statement = select(self.table).where(credential.content_id == content_id)
        return self._all(statement.order_by(credential.name, credential.id))

    def list(self, *, after_id: str = "", limit: int | None = None) -> list[CredentialRow]:
        """All credentials in the order of ids, for work in batches."""
        credential = tables.credentials.c
        statement = select(self.table).where(credential.id > after_id)
        return self._all(statement.order_by(credential.id).limit(limit))

    def asset_keys(self) -> set[str]:
        """Ids of the asset keys that any credential needs."""
        credential = tables.credentials.c
        return set(self._connection.execute(select(credential.asset_key_id).distinct()).scalars())

    def replace_sealed(
        self, credential_id: str, expected: str, sealed: str, asset_key_id: str
    ) -> bool:
        """Put a value sealed anew in place of the expected one; says whether it was still that."""
        credential = tables.credentials.c
        condition = (credential.id == credential_id) & (credential.sealed == expected)
        return self._change(condition, {"sealed": sealed, "asset_key_id": asset_key_id}) == 1
