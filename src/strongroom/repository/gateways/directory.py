"""Sites, users and groups."""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Select,
    Text,
    case,
    cast,
    delete,
    func,
    insert,
    literal,
    select,
)

from strongroom.repository import tables
from strongroom.repository.folding import fold
from strongroom.repository.gateways.base import (
    UNKNOWN,
    Field,
    TableGateway,
    fixed,
    folded,
    number,
    pieces,
)
from strongroom.repository.rows import GroupRow, Page, Query, SiteRow, UserRow

_USER = tables.users.c
_MEMBER = tables.site_users.c
_FEW = 1000
"""Up to so many members are looked up and sorted; of more, a page is found sooner by going through the users by name."""


class SitesTable(TableGateway[SiteRow]):
    """The sites."""

    table = tables.sites
    row_type = SiteRow
    noun = "site"

    def find_by_content_url(self, content_url: str) -> SiteRow | None:
        """The site of that content URL, whatever its case."""
        return self._find(tables.sites.c.content_url_folded == fold(content_url))

    def find_by_name(self, name: str) -> SiteRow | None:
        """The site of that name, whatever its case."""
        return self._find(tables.sites.c.name_folded == fold(name))

    def page(self, query: Query | None = None) -> Page[SiteRow]:
        """Sites by name."""
        site = tables.sites.c
        fields = {
            "name": folded(site.name_folded),
            "content_url": folded(site.content_url_folded),
            "luid": Field(site.id),
            "state": Field(site.state),
            "admin_mode": Field(site.admin_mode),
            "created_at": Field(site.created_at),
        }
        return self._page([], query or Query(sort=(("name", False),)), fields)

    def list(self) -> list[SiteRow]:
        """All sites by name."""
        return self.page().rows


class UsersTable(TableGateway[UserRow]):
    """The users, and their roles on sites."""

    table = tables.users
    row_type = UserRow
    noun = "user"

    _fields_of_lists: ClassVar[Mapping[str, Field]] = {
        "name": folded(_USER.name_folded),
        "full_name": Field(_USER.full_name),
        "luid": Field(_USER.id),
        "email": UNKNOWN,
        "last_login": UNKNOWN,
        "is_local": fixed(True),
        "domain_name": fixed("local"),
        "created_at": Field(_USER.created_at),
    }

    def find_by_name(self, name: str) -> UserRow | None:
        """The user of that name, whatever its case."""
        return self._find(_USER.name_folded == fold(name))

    def page(self, query: Query | None = None) -> Page[UserRow]:
        """All users of the installation by name."""
        return self._page([], query or Query(sort=(("name", False),)), self._fields_of_lists)

    def page_of_site(self, site_id: str, query: Query) -> Page[UserRow]:
        """Users with a role on the site, and the server administrators, who are everywhere."""
        members = select(_MEMBER.user_id).where(_MEMBER.site_id == site_id)
        there = members.union(select(_USER.id).where(_USER.is_server_admin))
        total = self._rows_of(there)
        condition: ColumnElement[bool] = _USER.id.in_(there)
        if total > _FEW:
            is_member = members.where(_MEMBER.user_id == _USER.id).exists()
            condition = _USER.is_server_admin | is_member
        return self._page([condition], query, self._fields_on(site_id), total)

    def page_of_group(self, site_id: str, group_id: str, query: Query) -> Page[UserRow]:
        """The members of a group of a site."""
        member = tables.group_users.c
        members = select(member.user_id).where(member.group_id == group_id)
        total = self._rows_of(members)
        few = _USER.id.in_(members)
        condition = few if total <= _FEW else members.where(member.user_id == _USER.id).exists()
        return self._page([condition], query, self._fields_on(site_id), total)

    def _rows_of(self, found: Select[Any] | CompoundSelect[Any]) -> int:
        statement = select(func.count()).select_from(found.subquery())
        return self._connection.execute(statement).scalar_one()

    def _fields_on(self, site_id: str) -> Mapping[str, Field]:
        """The fields of a user with the role on a site; for a server administrator that role, whatever the site's row says."""
        role = (
            select(_MEMBER.site_role)
            .where(_MEMBER.site_id == site_id, _MEMBER.user_id == _USER.id)
            .scalar_subquery()
        )
        shown: ColumnElement[str] = case(
            (_USER.is_server_admin, literal("ServerAdministrator")), else_=role
        )
        return {**self._fields_of_lists, "site_role": Field(cast(shown, Text))}

    def names(self, user_ids: Iterable[str]) -> dict[str, str]:
        """Names of users by id."""
        named = select(_USER.id, _USER.name)
        return {
            row.id: row.name
            for piece in pieces(user_ids)
            for row in self._connection.execute(named.where(_USER.id.in_(piece)))
        }

    def find_administrator(self) -> UserRow | None:
        """The oldest server administrator, who owns the objects that local commands create."""
        statement = select(self.table).where(_USER.is_server_admin)
        rows = self._all(statement.order_by(_USER.created_at, _USER.id).limit(1))
        return rows[0] if rows else None

    def count_administrators(self) -> int:
        """How many server administrators there are."""
        return self._count(_USER.is_server_admin)

    def site_role(self, site_id: str, user_id: str) -> str | None:
        """The role of a user on a site by the site's row; None without one."""
        statement = select(_MEMBER.site_role).where(
            _MEMBER.site_id == site_id, _MEMBER.user_id == user_id
        )
        return self._connection.execute(statement).scalar_one_or_none()

    def site_roles(self, site_id: str, user_ids: Iterable[str]) -> dict[str, str]:
        """The roles that these users have on a site, by user id; who has none is left out."""
        on_site = select(_MEMBER.user_id, _MEMBER.site_role).where(_MEMBER.site_id == site_id)
        return {
            row.user_id: row.site_role
            for piece in pieces(user_ids)
            for row in self._connection.execute(on_site.where(_MEMBER.user_id.in_(piece)))
        }

    def set_site_role(self, site_id: str, user_id: str, site_role: str) -> None:
        """Give a user a role on a site, in place of the one before."""
        self.remove_from_site(site_id, user_id)
        with self._conflicts({}):
            self._connection.execute(
                insert(tables.site_users).values(
                    site_id=site_id, user_id=user_id, site_role=site_role
                )
            )

    def remove_from_site(self, site_id: str, user_id: str) -> bool:
        """Delete a user's role on a site; False if the user had none."""
        statement = delete(tables.site_users).where(
            _MEMBER.site_id == site_id, _MEMBER.user_id == user_id
        )
        return self._connection.execute(statement).rowcount > 0

    def count_of_site(self, site_id: str) -> int:
        """How many users have a role on the site."""
        statement = select(func.count()).select_from(tables.site_users)
        return self._connection.execute(statement.where(_MEMBER.site_id == site_id)).scalar_one()


class GroupsTable(TableGateway[GroupRow]):
    """The groups of sites, and their members."""

    table = tables.groups
    row_type = GroupRow
    noun = "group"

    def find_by_name(self, site_id: str, name: str) -> GroupRow | None:
        """The group of that name on a site, whatever its case."""
        group = tables.groups.c
        return self._find(group.site_id == site_id, group.name_folded == fold(name))

    def page(self, site_id: str, query: Query | None = None) -> Page[GroupRow]:
        """Groups of a site by name."""
        group = tables.groups.c
        default = Query(sort=(("name", False),))
        return self._page([group.site_id == site_id], query or default, _group_fields())

    def page_of_user(self, site_id: str, user_id: str, query: Query) -> Page[GroupRow]:
        """The groups of a site that a user is in."""
        group, member = tables.groups.c, tables.group_users.c
        of_user = select(member.group_id).where(member.user_id == user_id)
        # not by the index of the site's groups, all of which a database would go through for their order: a user is in few
        on_site = group.site_id.concat("") == site_id
        return self._page([on_site, group.id.in_(of_user)], query, _group_fields())

    def has_user(self, group_id: str, user_id: str) -> bool:
        """Whether a user is a member."""
        member = tables.group_users.c
        statement = select(member.user_id).where(
            member.group_id == group_id, member.user_id == user_id
        )
        return self._connection.execute(statement).first() is not None

    def add_user(self, group_id: str, user_id: str) -> None:
        """Make a user a member.

        Raises:
            ConflictError: The user is a member already, or the user or the group does not exist.
        """
        with self._conflicts({}):
            self._connection.execute(
                insert(tables.group_users).values(group_id=group_id, user_id=user_id)
            )

    def remove_user(self, group_id: str, user_id: str) -> bool:
        """End a membership; False if the user was no member."""
        member = tables.group_users.c
        statement = delete(tables.group_users).where(
            member.group_id == group_id, member.user_id == user_id
        )
        return self._connection.execute(statement).rowcount > 0


def _group_fields() -> dict[str, Field]:
    group, member = tables.groups.c, tables.group_users.c
    count = (
        select(func.count())
        .select_from(tables.group_users)
        .where(member.group_id == group.id)
        .scalar_subquery()
    )
    return {
        "name": folded(group.name_folded),
        "luid": Field(group.id),
        "created_at": Field(group.created_at),
        "user_count": Field(count, number),
        "domain_name": fixed("local"),
        "domain_nickname": fixed("local"),
        "is_local": fixed(True),
        "minimum_site_role": UNKNOWN,
    }
