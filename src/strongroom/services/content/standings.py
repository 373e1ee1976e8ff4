"""Answers what each user of a site may do with an item or a project, in the words of the public API.

Nothing is stored and nothing decided here. Each capability stands for one action, and `access.permissions` is asked
about it for each user, so the answer cannot differ from what the server allows; for the same reason clients cannot
change it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from strongroom.access import permissions
from strongroom.access.permissions import UNLICENSED, Action, Resource, Subject
from strongroom.extracts.model import ContentKind
from strongroom.repository.rows import ProjectRow, Query, UserRow
from strongroom.repository.unit_of_work import Repository, Transaction
from strongroom.services.content.items import Named, find_content, named
from strongroom.services.directory.ownership import content_resource, project_resource
from strongroom.services.directory.projects import project_of_site
from strongroom.services.directory.sign_in import ACTIVE, Identity

_OF_CONTENT: Mapping[str, Action] = {
    "Read": Action.LIST_CONTENT,
    "ExportXml": Action.DOWNLOAD_CONTENT,  # the public API's word for downloading the file
    "Write": Action.UPDATE_CONTENT,
    "ChangeHierarchy": Action.UPDATE_CONTENT,  # moving it to another project
    "Delete": Action.DELETE_CONTENT,
}
_OF_PROJECT: Mapping[str, Action] = {
    "Read": Action.LIST_PROJECTS,
    "Write": Action.PUBLISH,
    "ProjectLeader": Action.MANAGE_PROJECT,
}


_PIECE = 500
"""How many users are read at once; a site may have many more."""
_BY_NAME = (("name", False),)


class Within(Enum):
    """The objects in a project to which a question about capabilities refers."""

    PROJECT = "the project itself"
    CONTENT = "an item in it that somebody else owns"
    NOTHING = "what none holds here: nobody may do anything, so nobody is asked about"


_ACTIONS: Mapping[Within, Mapping[str, Action]] = {
    Within.PROJECT: _OF_PROJECT,
    Within.CONTENT: _OF_CONTENT,
    Within.NOTHING: {},
}


@dataclass(frozen=True)
class Window:
    """A window on the site's users, sorted by name.

    Attributes:
        offset: How many users precede the window.
        limit: How many users the window has at most; None for all.
    """

    offset: int = 0
    limit: int | None = None


EVERYBODY = Window()


@dataclass(frozen=True)
class UserStanding:
    """A user and the capabilities that the user has."""

    user_id: str
    capabilities: Sequence[str]


@dataclass(frozen=True)
class Standings:
    """The capabilities of the users in a window.

    Attributes:
        users: The users of the window that have at least one capability.
        total: How many users the site has, in the window or not.
    """

    users: Sequence[UserStanding]
    total: int


class StandingsService:
    """Answers users who may change the item or project; to others the list of users is not shown."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    def of_content(
        self, identity: Identity, kind: ContentKind, content_id: str, window: Window = EVERYBODY
    ) -> tuple[Named, Standings]:
        """The capabilities of the site's users on an item.

        Raises:
            PermissionDeniedError: The user may not change the item.
            NotFoundError: The site has no such item.
        """
        with self._repository.reading() as tx:
            row = find_content(tx, identity, kind, content_id)
            resource = content_resource(tx, row)
            permissions.check(identity.subject, Action.UPDATE_CONTENT, resource)
            return named(tx, [row])[0], _standings(tx, identity, resource, _OF_CONTENT, window)

    def in_project(
        self, identity: Identity, project_id: str, what: Within, window: Window = EVERYBODY
    ) -> tuple[ProjectRow, Standings]:
        """The capabilities of the site's users on a project, or on items in it.

        Raises:
            PermissionDeniedError: The user may not change the project.
            NotFoundError: The site has no such project.
        """
        with self._repository.reading() as tx:
            project = project_of_site(tx, identity.site.id, project_id)
            resource = project_resource(tx, project)
            permissions.check(identity.subject, Action.MANAGE_PROJECT, resource)
            actions = _ACTIONS[what]
            if not actions:
                return project, Standings((), 0)
            return project, _standings(tx, identity, resource, actions, window)


def _standings(
    tx: Transaction,
    identity: Identity,
    resource: Resource,
    actions: Mapping[str, Action],
    window: Window,
) -> Standings:
    """The capabilities of the users in a window; the policy is asked once per kind of user, since a site has few kinds."""
    site = identity.site
    owners = {resource.owner_id, *resource.project_owner_ids}
    known: dict[Subject, Sequence[str]] = {}
    found: list[UserStanding] = []
    for user, role in _users(tx, site.id, window):
        if site.state != ACTIVE and not user.is_server_admin:
            continue  # only server administrators can sign in to a suspended site
        subject = Subject(
            actor="",
            # the policy sees no difference between users of one role who own neither item nor project
            user_id=user.id if user.id in owners else "",
            is_server_admin=user.is_server_admin,
            site_id=site.id,
            site_role=role,
        )
        if subject not in known:
            known[subject] = _capabilities(subject, resource, actions)
        if known[subject]:
            found.append(UserStanding(user.id, known[subject]))
    return Standings(found, tx.users.page_of_site(site.id, Query(limit=0)).total)


def _users(tx: Transaction, site_id: str, window: Window) -> Iterator[tuple[UserRow, str]]:
    """The users of a window with their roles, read piece by piece, so that a large site's rows are never all in memory."""
    done = 0
    while window.limit is None or done < window.limit:
        size = _PIECE if window.limit is None else min(_PIECE, window.limit - done)
        query = Query(sort=_BY_NAME, offset=window.offset + done, limit=size)
        rows = tx.users.page_of_site(site_id, query).rows
        roles = tx.users.site_roles(site_id, [user.id for user in rows])
        yield from ((user, roles.get(user.id, UNLICENSED)) for user in rows)
        done += len(rows)
        if len(rows) < size:
            return


def _capabilities(
    subject: Subject, resource: Resource, actions: Mapping[str, Action]
) -> Sequence[str]:
    return tuple(
        word
        for word, action in actions.items()
        if permissions.is_allowed(subject, action, resource)
    )
