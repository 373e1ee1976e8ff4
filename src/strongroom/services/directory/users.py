"""Users of the installation, their passwords, and their roles on sites."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from strongroom.access import names, passwords, permissions
from strongroom.access.permissions import (
    SERVER_ADMINISTRATOR,
    SITE_ROLES,
    UNLICENSED,
    Action,
    Resource,
    Subject,
)
from strongroom.clock import Clock, format_utc
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import ConflictError, NotFoundError, StateError, UsageError
from strongroom.eventlog.base import EventLog
from strongroom.eventlog.events import directory_events
from strongroom.ids import new_id
from strongroom.repository.rows import Page, Query, UserRow
from strongroom.repository.unit_of_work import Repository, Transaction
from strongroom.services.directory.sign_in import end_without_entry, role_of
from strongroom.system.plural import counted


@dataclass(frozen=True)
class SiteUser:
    """A user with the role on one site."""

    user: UserRow
    role: str


@dataclass(frozen=True)
class UserChanges:
    """The changes of a user that a client asks for; None leaves a value.

    Attributes:
        role: The role on the site.
        full_name: The user's full name, on all sites.
        password: The user's password, for all sites.
    """

    role: str | None = None
    full_name: str | None = None
    password: SecretBytes | None = field(default=None, repr=False)


class UsersService:
    """The use cases of users."""

    def __init__(self, repository: Repository, event_log: EventLog, clock: Clock) -> None:
        self._repository = repository
        self._event_log = event_log
        self._clock = clock

    def page(self, subject: Subject, query: Query | None = None) -> Page[UserRow]:
        """All users of the installation.

        Raises:
            PermissionDeniedError: The subject is no server administrator.
        """
        permissions.check(subject, Action.MANAGE_USERS)
        with self._repository.reading() as tx:
            return tx.users.page(query)

    def names(self, subject: Subject, user_ids: Iterable[str]) -> Mapping[str, str]:
        """The names of these users, by id.

        Raises:
            PermissionDeniedError: The subject is no server administrator.
        """
        permissions.check(subject, Action.MANAGE_USERS)
        with self._repository.reading() as tx:
            return tx.users.names(user_ids)

    def page_of_site(self, subject: Subject, site_id: str, query: Query) -> Page[SiteUser]:
        """The users of a site with their roles; server administrators are users of every site.

        Raises:
            PermissionDeniedError: The subject is not of that site.
        """
        permissions.check(subject, Action.LIST_USERS, Resource(site_id))
        with self._repository.reading() as tx:
            found = tx.users.page_of_site(site_id, query)
            roles = tx.users.site_roles(site_id, [user.id for user in found.rows])
        rows = [SiteUser(user, _shown_role(user, roles.get(user.id))) for user in found.rows]
        return Page(rows, found.total)

    def get_on_site(self, subject: Subject, site_id: str, user_id: str) -> SiteUser:
        """A user of a site with the role there.

        Raises:
            PermissionDeniedError: The subject is not of that site.
            NotFoundError: The user is not of that site.
        """
        permissions.check(subject, Action.LIST_USERS, Resource(site_id))
        with self._repository.reading() as tx:
            return user_of_site(tx, site_id, user_id)

    def find(self, name: str) -> UserRow:
        """The user of that name, in any case, or id.

        Raises:
            NotFoundError: No user has that name or id.
        """
        with self._repository.reading() as tx:
            return find_user(tx, name)

    def create(
        self,
        subject: Subject,
        name: str,
        *,
        password: SecretBytes | None = None,
        full_name: str = "",
        is_server_admin: bool = False,
    ) -> UserRow:
        """Create a user; without a password the user can sign in with an access token only.

        Raises:
            PermissionDeniedError: The subject is no server administrator.
            UsageError: Name or password is not allowed.
            ConflictError: The name is taken.
        """
        permissions.check(subject, Action.MANAGE_USERS)
        user = new_user(
            name, password, full_name=full_name, is_server_admin=is_server_admin, clock=self._clock
        )
        with self._repository.transaction() as tx:
            tx.users.insert(user)
            self._event_log.append(
                [directory_events.user_created(subject.actor, user.id, user.name)]
            )
        return user

    def add_to_site(self, subject: Subject, site_id: str, name: str, role: str) -> SiteUser:
        """Give the user of that name a role on a site; a missing user is created, without a password.

        Raises:
            PermissionDeniedError: The subject may not manage the site's users.
            UsageError: Name or role is not allowed.
            ConflictError: The user has a role on the site already.
        """
        permissions.check(subject, Action.MANAGE_SITE_USERS, Resource(site_id))
        wanted = parse_role(role)
        with self._repository.transaction() as tx:
            site = tx.sites.get(site_id)
            user = tx.users.find_by_name(name.strip())
            if user is None:
                user = tx.users.insert(new_user(name, None, clock=self._clock))
                self._event_log.append(
                    [directory_events.user_created(subject.actor, user.id, user.name)]
                )
            if tx.users.site_role(site_id, user.id) is not None:
                raise ConflictError(f"the user {user.name!r} is on the site {site.name!r} already")
            self._check_quota(tx, site_id, site.user_quota)
            return self._set_role(tx, subject, site_id, user, wanted)

    def update_on_site(
        self, subject: Subject, site_id: str, user_id: str, changes: UserChanges
    ) -> SiteUser:
        """Change a user of a site, all or nothing; a new password ends the user's sessions.

        Raises:
            PermissionDeniedError: The subject may not manage the site's users. Full name and password are for server
                administrators, since the user has them on other sites as well.
            NotFoundError: The user is not of that site.
            UsageError: Role, name or password is not allowed.
            StateError: The user is the last server administrator.
        """
        permissions.check(subject, Action.MANAGE_SITE_USERS, Resource(site_id))
        wanted = None if changes.role is None else parse_role(changes.role)
        if changes.password is not None:
            permissions.check(subject, Action.MANAGE_USERS)
            passwords.check_new(changes.password)
        stored = None if changes.password is None else passwords.hash_password(changes.password)
        with self._repository.transaction() as tx:
            found = user_of_site(tx, site_id, user_id)
            if changes.full_name is not None and changes.full_name != found.user.full_name:
                permissions.check(subject, Action.MANAGE_USERS)
                form = names.canonical(changes.full_name, "user")
                tx.users.update(found.user.id, full_name=form)
            if stored is not None:
                self._new_password(tx, subject, found.user.id, stored)
            if wanted is not None and wanted != found.role:
                self._new_role(tx, subject, site_id, tx.users.get(found.user.id), wanted)
            return user_of_site(tx, site_id, user_id)

    def give_role(self, subject: Subject, site_id: str, user_id: str, role: str) -> SiteUser:
        """Give a user a role on a site, in the place of a present role or as a first one.

        Raises:
            PermissionDeniedError: The subject is no server administrator.
            NotFoundError: No user has that id.
            UsageError: No role has that name.
            StateError: The user is the last server administrator.
        """
        permissions.check(subject, Action.MANAGE_USERS)
        with self._repository.transaction() as tx:
            user, site = tx.users.get(user_id), tx.sites.get(site_id)
            return self._new_role(tx, subject, site.id, user, parse_role(role))

    def set_password(self, subject: Subject, user_id: str, password: SecretBytes) -> None:
        """Set a user's password, and end the user's sessions and any pause after failures.

        Raises:
            PermissionDeniedError: The subject is no server administrator.
            NotFoundError: No user has that id.
            UsageError: The password is not allowed.
        """
        permissions.check(subject, Action.MANAGE_USERS)
        passwords.check_new(password)
        stored = passwords.hash_password(password)
        with self._repository.transaction() as tx:
            self._new_password(tx, subject, user_id, stored)

    def remove_from_site(
        self, subject: Subject, site_id: str, user_id: str, *, give_to: str = ""
    ) -> None:
        """Remove a user from a site, and end the user's sessions there.

        Args:
            subject: The user who asks.
            site_id: The site.
            user_id: The user to remove.
            give_to: Id of the user who becomes the owner of the removed user's objects; needed if there are any.

        Raises:
            PermissionDeniedError: The subject may not manage the site's users.
            NotFoundError: The user, or the new owner, is not of that site.
            ConflictError: The user owns objects there, and no new owner is named.
            StateError: The user is a server administrator.
        """
        permissions.check(subject, Action.MANAGE_SITE_USERS, Resource(site_id))
        with self._repository.transaction() as tx:
            user = user_of_site(tx, site_id, user_id).user
            if user.is_server_admin:
                raise StateError(
                    f"{user.name!r} is a server administrator and so a user of every site",
                    hint="give it another role first",
                )
            if give_to:
                user_of_site(tx, site_id, give_to)
            self._give_away(tx, user, give_to, site_id)
            tx.users.remove_from_site(site_id, user_id)
            tx.sessions.delete_of_user(user_id, site_id)
            self._log_role(subject, user_id, site_id, "")

    def delete(self, subject: Subject, user_id: str, *, give_to: str = "") -> None:
        """Delete a user everywhere, with its roles, access tokens and sessions.

        Raises:
            PermissionDeniedError: The subject is no server administrator.
            NotFoundError: No user has that id.
            ConflictError: The user owns objects, and no new owner is named.
            StateError: The user is the last server administrator, or the subject.
        """
        permissions.check(subject, Action.MANAGE_USERS)
        with self._repository.transaction() as tx:
            user = tx.users.get(user_id)
            if user_id == subject.user_id:
                raise StateError("nobody can delete itself")
            if user.is_server_admin:
                _check_not_last(tx, user)
            self._give_away(tx, user, give_to)
            tx.users.delete(user_id)
            self._event_log.append(
                [directory_events.user_deleted(subject.actor, user_id, user.name)]
            )

    def _new_password(self, tx: Transaction, subject: Subject, user_id: str, stored: str) -> None:
        tx.users.update(user_id, password_hash=stored, failed_logins=0, locked_until=None)
        tx.sessions.delete_of_user(user_id)
        self._event_log.append([directory_events.password_changed(subject.actor, user_id)])

    def _new_role(
        self, tx: Transaction, subject: Subject, site_id: str, user: UserRow, role: str
    ) -> SiteUser:
        """Replace a user's role; a server administrator who gets a site role is no administrator afterwards."""
        if user.is_server_admin and role != SERVER_ADMINISTRATOR:
            self._set_admin(tx, subject, user, is_server_admin=False)
            user = tx.users.get(user.id)
        return self._set_role(tx, subject, site_id, user, role)

    def _set_role(
        self, tx: Transaction, subject: Subject, site_id: str, user: UserRow, role: str
    ) -> SiteUser:
        if role == SERVER_ADMINISTRATOR:
            if not user.is_server_admin:
                self._set_admin(tx, subject, user, is_server_admin=True)
            return SiteUser(tx.users.get(user.id), role)
        tx.users.set_site_role(site_id, user.id, role)
        end_without_entry(tx, user_id=user.id)
        self._log_role(subject, user.id, site_id, role)
        return SiteUser(user, role_of(tx, user, site_id) or role)

    def _set_admin(
        self, tx: Transaction, subject: Subject, user: UserRow, *, is_server_admin: bool
    ) -> None:
        permissions.check(subject, Action.MANAGE_USERS)
        if not is_server_admin:
            _check_not_last(tx, user)
        tx.users.update(user.id, is_server_admin=is_server_admin)
        if not is_server_admin:
            end_without_entry(tx, user_id=user.id)
        self._log_role(subject, user.id, "", SERVER_ADMINISTRATOR if is_server_admin else "")

    def _check_quota(self, tx: Transaction, site_id: str, quota: int | None) -> None:
        if quota is not None and tx.users.count_of_site(site_id) >= quota:
            raise StateError(f"the site's quota of {counted(quota, 'user')} is used up")

    def _give_away(
        self, tx: Transaction, user: UserRow, give_to: str, site_id: str | None = None
    ) -> None:
        """Make another user the owner of everything that the user owns on a site, or on all."""
        owned = tx.contents.count_owned_by(user.id, site_id)
        owned += tx.projects.count_owned_by(user.id, site_id)
        if not owned:
            return
        if not give_to:
            raise ConflictError(
                f"the user {user.name!r} owns {owned} projects and published items",
                hint="name the user who gets them",
            )
        heir = tx.users.get(give_to)
        if heir.id == user.id:
            raise UsageError("a user cannot get what it owns itself")
        tx.contents.change_owner(user.id, heir.id, site_id)
        tx.projects.change_owner(user.id, heir.id, site_id)

    def _log_role(self, subject: Subject, user_id: str, site_id: str, role: str) -> None:
        event = directory_events.user_role_changed(
            subject.actor, user_id, site_id=site_id, role=role
        )
        self._event_log.append([event])


def new_user(
    name: str,
    password: SecretBytes | None,
    *,
    clock: Clock,
    full_name: str = "",
    is_server_admin: bool = False,
) -> UserRow:
    """The row of a new user, with name and password checked.

    Raises:
        UsageError: Name or password is not allowed.
    """
    form = names.canonical(name, "user")
    if password is not None:
        passwords.check_new(password)
    return UserRow(
        id=new_id(),
        name=form,
        full_name=names.canonical(full_name, "user") if full_name.strip() else form,
        password_hash=None if password is None else passwords.hash_password(password),
        is_server_admin=is_server_admin,
        created_at=format_utc(clock.now()),
    )


def find_user(tx: Transaction, name: str) -> UserRow:
    """The user of that name, in any case, or id.

    Raises:
        NotFoundError: No user has that name or id.
    """
    found = tx.users.find(name) or tx.users.find_by_name(name)
    if found is None:
        known = tx.users.names_near(name, names.LOOKED_AT)
        hint = names.did_you_mean(name, known) or "see 'strongroom users list'"
        raise NotFoundError(f"there is no user {name!r}", hint=hint, about="user")
    return found


def user_of_site(tx: Transaction, site_id: str, user_id: str) -> SiteUser:
    """A user of that site with its role.

    Raises:
        NotFoundError: The user is not of that site.
    """
    user = tx.users.find(user_id)
    role = None if user is None else role_of(tx, user, tx.sites.get(site_id).id)
    if user is None or role is None:
        raise NotFoundError(f"there is no user {user_id[:64]!r} on this site", about="user")
    return SiteUser(user, role)


def _shown_role(user: UserRow, role: str | None) -> str:
    return SERVER_ADMINISTRATOR if user.is_server_admin else role or UNLICENSED


def parse_role(role: str) -> str:
    """The site role of that word, in any case.

    Raises:
        UsageError: No role has that name.
    """
    for known in SITE_ROLES:
        if known.casefold() == role.casefold():
            return known
    hint = f"one of {', '.join(sorted(SITE_ROLES))}"
    raise UsageError(f"unknown site role {role!r}", hint=hint)


def _check_not_last(tx: Transaction, user: UserRow) -> None:
    if tx.users.count_administrators() <= 1:
        raise StateError(
            f"{user.name!r} is the last server administrator", hint="make another one first"
        )
