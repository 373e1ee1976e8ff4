"""Groups of a site's users."""

from collections.abc import Sequence

from strongroom.access import names, permissions
from strongroom.access.permissions import Action, Resource, Subject
from strongroom.clock import Clock, format_utc
from strongroom.errors import ConflictError, NotFoundError, UsageError
from strongroom.ids import new_id
from strongroom.repository.rows import GroupRow, Page, Query
from strongroom.repository.unit_of_work import Repository, Transaction
from strongroom.services.directory.sign_in import role_of
from strongroom.services.directory.users import SiteUser, user_of_site

MAX_USERS_AT_ONCE = 1000  # within one transaction


class GroupsService:
    """The use cases of groups."""

    def __init__(self, repository: Repository, clock: Clock) -> None:
        self._repository = repository
        self._clock = clock

    def page(self, subject: Subject, site_id: str, query: Query | None = None) -> Page[GroupRow]:
        """The groups of a site.

        Raises:
            PermissionDeniedError: The subject is not of that site.
        """
        permissions.check(subject, Action.LIST_GROUPS, Resource(site_id))
        with self._repository.reading() as tx:
            return tx.groups.page(site_id, query)

    def create(self, subject: Subject, site_id: str, name: str) -> GroupRow:
        """Create a group.

        Raises:
            PermissionDeniedError: The subject may not manage the site's groups.
            UsageError: The name is not allowed.
            ConflictError: The name is taken.
        """
        permissions.check(subject, Action.MANAGE_GROUPS, Resource(site_id))
        form = names.canonical(name, "group")
        with self._repository.transaction() as tx:
            site = tx.sites.get(site_id)
            now = format_utc(self._clock.now())
            return tx.groups.insert(GroupRow(new_id(), site.id, form, now))

    def rename(self, subject: Subject, site_id: str, group_id: str, name: str) -> GroupRow:
        """Give a group another name.

        Raises:
            PermissionDeniedError: The subject may not manage the site's groups.
            NotFoundError: The site has no such group.
            UsageError: The name is not allowed.
            ConflictError: The name is taken.
        """
        permissions.check(subject, Action.MANAGE_GROUPS, Resource(site_id))
        with self._repository.transaction() as tx:
            group = _group_of_site(tx, site_id, group_id)
            return tx.groups.update(group.id, name=names.canonical(name, "group"))

    def delete(self, subject: Subject, site_id: str, group_id: str) -> None:
        """Delete a group; its members stay users.

        Raises:
            PermissionDeniedError: The subject may not manage the site's groups.
            NotFoundError: The site has no such group.
        """
        permissions.check(subject, Action.MANAGE_GROUPS, Resource(site_id))
        with self._repository.transaction() as tx:
            tx.groups.delete(_group_of_site(tx, site_id, group_id).id)

    def members(
        self, subject: Subject, site_id: str, group_id: str, query: Query
    ) -> Page[SiteUser]:
        """The members of a group, with their roles on the site.

        Raises:
            PermissionDeniedError: The subject is not of that site.
            NotFoundError: The site has no such group.
        """
        permissions.check(subject, Action.LIST_GROUPS, Resource(site_id))
        with self._repository.reading() as tx:
            group = _group_of_site(tx, site_id, group_id)
            found = tx.users.page_of_group(site_id, group.id, query)
            rows = [SiteUser(user, role_of(tx, user, site_id) or "") for user in found.rows]
        return Page(rows, found.total)

    def page_of_user(
        self, subject: Subject, site_id: str, user_id: str, query: Query
    ) -> Page[GroupRow]:
        """The groups of the site that a user is in.

        Raises:
            PermissionDeniedError: The subject is not of that site.
            NotFoundError: The user is not of that site.
        """
        permissions.check(subject, Action.LIST_GROUPS, Resource(site_id))
        with self._repository.reading() as tx:
            user = user_of_site(tx, site_id, user_id).user
            return tx.groups.page_of_user(site_id, user.id, query)

    def add_users(
        self, subject: Subject, site_id: str, group_id: str, user_ids: Sequence[str]
    ) -> list[SiteUser]:
        """Make users of the site members, all or none.

        Raises:
            PermissionDeniedError: The subject may not manage the site's groups.
            NotFoundError: The site has no such group or user.
            ConflictError: A user is a member already.
            UsageError: The list of users is empty or too long.
        """
        permissions.check(subject, Action.MANAGE_GROUPS, Resource(site_id))
        _check_many(user_ids)
        with self._repository.transaction() as tx:
            group = _group_of_site(tx, site_id, group_id)
            return [self._add(tx, group, user_of_site(tx, site_id, one)) for one in user_ids]

    def remove_users(
        self, subject: Subject, site_id: str, group_id: str, user_ids: Sequence[str]
    ) -> None:
        """End memberships, all or none.

        Raises:
            PermissionDeniedError: The subject may not manage the site's groups.
            NotFoundError: The site has no such group, or a user is no member.
            UsageError: The list of users is empty or too long.
        """
        permissions.check(subject, Action.MANAGE_GROUPS, Resource(site_id))
        _check_many(user_ids)
        with self._repository.transaction() as tx:
            group = _group_of_site(tx, site_id, group_id)
            for user_id in user_ids:
                if not tx.groups.remove_user(group.id, user_id):
                    raise NotFoundError(
                        f"there is no user {user_id[:64]!r} in the group {group.name!r}",
                        about="user",
                    )

    def _add(self, tx: Transaction, group: GroupRow, member: SiteUser) -> SiteUser:
        if tx.groups.has_user(group.id, member.user.id):
            raise ConflictError(f"{member.user.name!r} is in the group {group.name!r} already")
        tx.groups.add_user(group.id, member.user.id)
        return member


def _check_many(user_ids: Sequence[str]) -> None:
    if not 0 < len(user_ids) <= MAX_USERS_AT_ONCE:
        raise UsageError(f"between 1 and {MAX_USERS_AT_ONCE} users are named at once")


def _group_of_site(tx: Transaction, site_id: str, group_id: str) -> GroupRow:
    group = tx.groups.find(group_id)
    if group is None or group.site_id != site_id:
        raise NotFoundError(f"there is no group {group_id[:64]!r} on this site", about="group")
    return group
