"""Projects, published content and the credentials embedded in it."""

import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any, ClassVar, NamedTuple

from sqlalchemy import Boolean, ColumnElement, Integer, Text, and_, case, cast, func, select
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from strongroom.repository import tables
from strongroom.repository.folding import fold
from strongroom.repository.gateways.base import (
    UNKNOWN,
    Field,
    TableGateway,
    fixed,
    folded,
    number,
    present_in,
    truth,
)
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
_NUMBER_DIGITS = 9
"""Most digits of a number that the server appends to a content URL; a longer number is part of a name."""


# documented fields whose values lie in the published files, or belong to objects that this server does not have
_NOT_IN_ROWS = (
    "authentication_type",
    "connected_workbook_type",
    "connection_to",
    "connection_type",
    "database_name",
    "database_user_name",
    "has_embedded_password",
    "is_connectable",
    "is_default_port",
    "is_hierarchical",
    "server_name",
    "server_port",
    "sheet_count",
    "table_name",
)


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
            "luid": Field(_PROJECT.id),
            "description": Field(_PROJECT.description),
            "parent_id": Field(_PROJECT.parent_key),
            "top_level_project": Field(_PROJECT.parent_key == "", truth),
            "created_at": Field(_PROJECT.created_at),
            "updated_at": Field(_PROJECT.updated_at),
            **_owner_fields(_PROJECT.owner_id),
        }
        default = Query(sort=(("name", False),))
        return self._page([_PROJECT.site_id == site_id], query or default, fields)

    def children(self, project_id: str) -> list[ProjectRow]:
        """The projects right below one."""
        return self._all(select(self.table).where(_PROJECT.parent_id == project_id))

    def count_owned_by(self, user_id: str, site_id: str | None = None) -> int:
        """How many projects a user owns, on a site or on all."""
        return self._count(*_owned(_PROJECT, user_id, site_id))

    def change_owner(self, from_user_id: str, to_user_id: str, site_id: str | None = None) -> int:
        """Give a user's projects, on a site or on all, to another; returns how many."""
        return self._change(
            and_(*_owned(_PROJECT, from_user_id, site_id)), {"owner_id": to_user_id}
        )


def _owned(
    columns: ReadOnlyColumnCollection[str, Any], user_id: str, site_id: str | None
) -> list[ColumnElement[bool]]:
    on_site = [] if site_id is None else [columns.site_id == site_id]
    return [columns.owner_id == user_id, *on_site]


def _owner_fields(owner_id: ColumnElement[str]) -> dict[str, Field]:
    user = tables.users.c
    owner_name = select(user.name_folded).where(user.id == owner_id).scalar_subquery()
    return {
        "owner_id": Field(owner_id),
        "owner_name": folded(owner_name),
        "owner_domain": fixed("local"),
        "owner_email": UNKNOWN,
    }


def _has_tag(label: str) -> ColumnElement[bool]:
    # a tag contains no quotation mark, so the tag with its quotation marks occurs in the JSON list only as a whole tag
    return cast(_CONTENT.tags, Text).contains(json.dumps(label), autoescape=True)


def _content_fields() -> dict[str, Field]:
    project_name = (
        select(_PROJECT.name_folded).where(_PROJECT.id == _CONTENT.project_id).scalar_subquery()
    )
    description = func.coalesce(_CONTENT.attributes["description"].as_string(), "")
    shows_tabs = func.coalesce(_CONTENT.attributes["show_tabs"].as_boolean(), False)
    return {
        "name": folded(_CONTENT.name_folded),
        "luid": Field(_CONTENT.id),
        "content_url": folded(_CONTENT.content_url_folded),
        "project_name": folded(project_name),
        "project_id": Field(_CONTENT.project_id),
        "description": Field(cast(description, Text)),
        "display_tabs": Field(cast(shows_tabs, Boolean), truth),
        "has_extract": Field(_CONTENT.has_extract, truth),
        "tags": Field(cast(_CONTENT.tags, Text), holds=_has_tag),
        "is_certified": fixed(False),
        "is_published": fixed(True),
        "has_alert": fixed(False),
        "favorites_total": fixed(0),
        "subscriptions_total": fixed(0),
        **_owner_fields(_CONTENT.owner_id),
        **dict.fromkeys(_NOT_IN_ROWS, UNKNOWN),
        "file_type": Field(_CONTENT.file_type),
        "size": Field(_CONTENT.plaintext_bytes, number),
        "state": Field(_CONTENT.state, number),
        "created_at": Field(_CONTENT.created_at),
        "updated_at": Field(_CONTENT.updated_at),
    }


class Sort(NamedTuple):
    """A sort of items.

    Attributes:
        encrypted: Whether the file is an envelope.
        has_extract: Whether the file is an extract, or contains one; None for both.
    """

    encrypted: bool
    has_extract: bool | None


class Tally(NamedTuple):
    """How much there is of a sort.

    Attributes:
        number: The number of items.
        bytes: Plaintext bytes of all.
        other_bytes: Plaintext bytes of those under another MEK than the one that was named.
    """

    number: int
    bytes: int
    other_bytes: int


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

    def highest_url_number(self, site_id: str, kind: str, stem: str) -> int:
        """The highest number N of a content URL `STEM_N` on a site, 0 without any; by a single query (findings R7).

        The next number is free in a writing transaction that reaches the site, since that has one writer at a time.
        """
        prefix = f"{fold(stem)}_"
        column = _CONTENT.content_url_folded
        number = func.substr(column, len(prefix) + 1)
        statement = select(func.max(cast(number, Integer))).where(
            _CONTENT.site_id == site_id,
            _CONTENT.kind == kind,
            column >= prefix,
            column < prefix[:-1] + chr(ord("_") + 1),
            func.length(number).between(1, _NUMBER_DIGITS),
            func.ltrim(number, "0123456789") == "",
        )
        return self._connection.execute(statement).scalar_one() or 0

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

    def list_by_ids(self, site_id: str, ids: Collection[str]) -> list[ContentRow]:
        """The items of these ids that belong to the site, in the order of ids."""
        statement = select(self.table).where(_CONTENT.id.in_(sorted(ids)))
        return self._all(statement.where(_CONTENT.site_id == site_id).order_by(_CONTENT.id))

    def list_by_name(self, site_id: str, kind: str, name: str) -> list[ContentRow]:
        """Content of a site that has this name, whatever its case, in any project."""
        statement = select(self.table).where(
            _CONTENT.site_id == site_id, _CONTENT.kind == kind, _CONTENT.name_folded == fold(name)
        )
        return self._all(statement.order_by(_CONTENT.id))

    def list_of_project(self, project_id: str) -> list[ContentRow]:
        """Content of one project, without the projects below it."""
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
        """Switch the content's row to another file, if it still names the expected one; False if it does not.

        After a rewrap the storage key stays the same, and only the columns that describe the file change. `updated_at`
        is for changes that a user made: encrypting content does not make it newer.
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

    def replace(self, row: ContentRow, expected_storage_key: str, names: Collection[str]) -> bool:
        """Give an item the values of a row in these columns, if it still names the expected file; False if it does not."""
        unchanged = (_CONTENT.id == row.id) & (_CONTENT.storage_key == expected_storage_key)
        return self._change(unchanged, {name: getattr(row, name) for name in names}) == 1

    def set_state(self, content_id: str, expected: Collection[int], state: int) -> bool:
        """Change the state of an item if the present state is an expected one; False if it is not."""
        condition = (_CONTENT.id == content_id) & _CONTENT.state.in_([int(one) for one in expected])
        return self._change(condition, {"state": int(state)}) == 1

    def tally(self, site_id: str, mek_id: str) -> dict[Sort, Tally]:
        """How many items with files a site has of each sort, and their sizes; one statement, and no row comes out.

        Args:
            site_id: The site.
            mek_id: The MEK under which an item is not counted as `other_bytes`.
        """
        encrypted = case((_CONTENT.file_id == "", 0), else_=1)
        other = case((_CONTENT.mek_id == mek_id, 0), else_=_CONTENT.plaintext_bytes)
        statement = (
            select(
                encrypted,
                _CONTENT.has_extract,
                func.count(),
                func.sum(_CONTENT.plaintext_bytes),
                func.sum(other),
            )
            .where(_CONTENT.site_id == site_id, _CONTENT.storage_key != "")
            .group_by(encrypted, _CONTENT.has_extract)
        )
        return {
            Sort(bool(is_encrypted), has_extract): Tally(count, int(size), int(others))
            for is_encrypted, has_extract, count, size, others in self._connection.execute(
                statement
            )
        }

    def set_states(self, site_id: str, sort: Sort, expected: Collection[int], state: int) -> int:
        """Change the state of a site's items of a sort that are in one of the expected states; returns how many."""
        is_of_sort = (_CONTENT.file_id != "") if sort.encrypted else (_CONTENT.file_id == "")
        if sort.has_extract is not None:
            is_of_sort &= _CONTENT.has_extract == sort.has_extract
        states = [int(one) for one in expected]
        there = (_CONTENT.site_id == site_id) & _CONTENT.state.in_(states)
        return self._change(there & is_of_sort, {"state": int(state)})

    def change_owner(self, from_user_id: str, to_user_id: str, site_id: str | None = None) -> int:
        """Give a user's content, on a site or on all, to another; returns how many."""
        return self._change(
            and_(*_owned(_CONTENT, from_user_id, site_id)), {"owner_id": to_user_id}
        )

    def count_of_site(self, site_id: str, states: Collection[int] | None = None) -> int:
        """How many published items a site has, in these states if any are given."""
        conditions = [_CONTENT.site_id == site_id]
        if states is not None:
            conditions.append(_CONTENT.state.in_([int(state) for state in states]))
        return self._count(*conditions)

    def count_owned_by(self, user_id: str, site_id: str | None = None) -> int:
        """How many published items a user owns, on a site or on all."""
        return self._count(*_owned(_CONTENT, user_id, site_id))

    def bytes_of_site(self, site_id: str) -> int:
        """Plaintext bytes of a site's content, for its storage quota."""
        statement = select(func.coalesce(func.sum(_CONTENT.plaintext_bytes), 0))
        return int(
            self._connection.execute(statement.where(_CONTENT.site_id == site_id)).scalar_one()
        )

    def extracts_beginning_with(self, site_id: str, text: str, limit: int) -> list[str]:
        """Some ids on a site that begin with a text, of content that is an extract, contains one, or is encrypted."""
        is_extract = _CONTENT.has_extract | (_CONTENT.file_id != "")
        on_site = (_CONTENT.site_id == site_id) & (_CONTENT.storage_key != "")
        return self._beginning(text, limit, on_site, is_extract)

    def named(self, storage_keys: Iterable[str]) -> frozenset[str]:
        """The files among these that a row names, by index."""
        return present_in(self._connection, _CONTENT.storage_key, storage_keys)

    def storage_keys(self) -> set[str]:
        """The storage keys of all content."""
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
        """Replace a sealed value if it still is the expected one; False if it is not."""
        credential = tables.credentials.c
        condition = (credential.id == credential_id) & (credential.sealed == expected)
        return self._change(condition, {"sealed": sealed, "asset_key_id": asset_key_id}) == 1
