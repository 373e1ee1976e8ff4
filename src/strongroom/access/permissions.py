"""Decides on permissions, by one table from actions to the standings that may do them; pure.

A standing is the relation of a subject to a resource: server administrator, site administrator, owner of the content,
owner of its project or of one above it, and so on. No other module decides on permissions, and an action that is not in
the table is refused.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum, auto

from strongroom.errors import PermissionDeniedError

SERVER_ADMINISTRATOR = "ServerAdministrator"
UNLICENSED = "Unlicensed"
_SITE_ADMINISTRATORS = frozenset(
    {"SiteAdministrator", "SiteAdministratorCreator", "SiteAdministratorExplorer"}
)
_PUBLISHERS = frozenset({"Creator", "ExplorerCanPublish", "Publisher"})
_EXPLORERS = frozenset({"Explorer", "Interactor"})
_VIEWERS = frozenset({"Viewer", "ViewerWithPublish", "ReadOnly", "Guest"})
SITE_ROLES = (
    _SITE_ADMINISTRATORS
    | _PUBLISHERS
    | _EXPLORERS
    | _VIEWERS
    | {SERVER_ADMINISTRATOR, UNLICENSED, "UnlicensedWithPublish"}
)


class Standing(Enum):
    """The relations of a subject to a resource."""

    SERVER_ADMIN = auto()
    SITE_ADMIN = auto()
    PROJECT_OWNER = auto()  # of the thing's project or of one above it ("project leader" of Q-18)
    OWNER = auto()
    PUBLISHER = auto()
    EXPLORER = auto()
    VIEWER = auto()


class Action(Enum):
    """The actions on which the policy decides."""

    LIST_ALL_SITES = "list all sites"
    CREATE_SITE = "create sites"
    UPDATE_SITE = "change the site"
    LIMIT_SITE = "change the site's name, address, state or quotas"
    SET_SITE_MODE = "set the site's encryption mode"
    DELETE_SITE = "delete the site"
    ENCRYPT_SITE = "encrypt, decrypt or re-encrypt the site's extracts"
    LIST_USERS = "list users"
    MANAGE_SITE_USERS = "manage the site's users"
    MANAGE_USERS = "manage users of the installation"
    MANAGE_TOKENS = "manage this user's access tokens"
    LIST_GROUPS = "list groups"
    MANAGE_GROUPS = "manage groups"
    LIST_PROJECTS = "list projects"
    CREATE_PROJECT = "create projects here"
    MANAGE_PROJECT = "change or delete this project"
    PUBLISH = "publish"
    LIST_CONTENT = "list content"
    DOWNLOAD_CONTENT = "download content"
    UPDATE_CONTENT = "change this content"
    DELETE_CONTENT = "delete this content"
    CHANGE_OWNER = "give this content to another user"
    TOGGLE_ENCRYPTION = "decide on the encryption of this extract"
    REFRESH_CONTENT = "refresh this extract"
    LIST_JOBS = "list jobs"
    SEE_JOB = "see this job"
    CANCEL_JOB = "cancel this job"
    USE_DATA_KEYS = "have data keys of files"


_SERVER = frozenset({Standing.SERVER_ADMIN})
_SITE = _SERVER | {Standing.SITE_ADMIN}
_OWNERS = _SITE | {Standing.PROJECT_OWNER, Standing.OWNER}
_PUBLISHING = _SITE | {Standing.PUBLISHER}
_EXPLORING = _PUBLISHING | {Standing.EXPLORER, Standing.OWNER, Standing.PROJECT_OWNER}
_EVERYBODY = frozenset(Standing)

POLICY: Mapping[Action, frozenset[Standing]] = {
    Action.LIST_ALL_SITES: _SERVER,
    Action.CREATE_SITE: _SERVER,
    Action.UPDATE_SITE: _SITE,
    # a site's administrator must not give it the name or address of another site, nor lift the site's own limits
    Action.LIMIT_SITE: _SERVER,
    Action.SET_SITE_MODE: _SERVER,  # E-01
    Action.DELETE_SITE: _SERVER,
    Action.ENCRYPT_SITE: _SERVER,  # E-14
    Action.LIST_USERS: _EVERYBODY,
    Action.MANAGE_SITE_USERS: _SITE,
    Action.MANAGE_USERS: _SERVER,
    Action.MANAGE_TOKENS: _SERVER | {Standing.OWNER},
    Action.LIST_GROUPS: _EVERYBODY,
    Action.MANAGE_GROUPS: _SITE,
    Action.LIST_PROJECTS: _EVERYBODY,
    Action.CREATE_PROJECT: _SITE | {Standing.PROJECT_OWNER},
    Action.MANAGE_PROJECT: _SITE | {Standing.PROJECT_OWNER},
    Action.PUBLISH: _PUBLISHING,
    Action.LIST_CONTENT: _EVERYBODY,
    Action.DOWNLOAD_CONTENT: _EXPLORING,
    Action.UPDATE_CONTENT: _OWNERS,
    Action.DELETE_CONTENT: _OWNERS,
    Action.CHANGE_OWNER: _OWNERS,
    Action.TOGGLE_ENCRYPTION: _OWNERS,
    Action.REFRESH_CONTENT: _OWNERS,
    Action.LIST_JOBS: _SITE,
    Action.SEE_JOB: _SITE | {Standing.OWNER},
    Action.CANCEL_JOB: _SITE | {Standing.OWNER},
    Action.USE_DATA_KEYS: _SERVER,  # standalone files belong to no site: nobody else may open one
}


@dataclass(frozen=True)
class Subject:
    """The user or local command that asks for an action.

    Attributes:
        actor: The name in events: `os:NAME`, `user:NAME` or `system`.
        user_id: Id of the user; empty for commands on the node itself.
        is_server_admin: Whether the user is a server administrator, whose rights hold on every site.
        site_id: The site of the session; the role holds there only.
        site_role: The role on that site.
    """

    actor: str
    user_id: str = ""
    is_server_admin: bool = False
    site_id: str = ""
    site_role: str = UNLICENSED

    @classmethod
    def local(cls, actor: str) -> "Subject":
        """The subject of a local command: the owner of the data directory may do everything."""
        return cls(actor, is_server_admin=True)


@dataclass(frozen=True)
class Resource:
    """The object of an action: its site, its owner, and the owners of its project and the projects above."""

    site_id: str = ""
    owner_id: str = ""
    project_owner_ids: Collection[str] = ()


ANYTHING = Resource()


def standings(subject: Subject, resource: Resource) -> frozenset[Standing]:
    """The standings of a subject towards a resource; empty on another site than that of the session."""
    if subject.is_server_admin:
        return frozenset({Standing.SERVER_ADMIN})
    if resource.site_id and resource.site_id != subject.site_id:
        return frozenset()
    by_role = _by_role(subject.site_role)
    if not by_role:
        return frozenset()  # an unlicensed user has no rights, even on content that the user owns
    found = set(by_role)
    if subject.user_id and subject.user_id == resource.owner_id:
        found.add(Standing.OWNER)
    if subject.user_id and subject.user_id in resource.project_owner_ids:
        found.add(Standing.PROJECT_OWNER)
    return frozenset(found)


def is_allowed(subject: Subject, action: Action, resource: Resource = ANYTHING) -> bool:
    """Whether the policy allows the subject to do the action on the resource."""
    return not POLICY[action].isdisjoint(standings(subject, resource))


def check(subject: Subject, action: Action, resource: Resource = ANYTHING) -> None:
    """Raise unless the policy allows the subject to do the action on the resource.

    Raises:
        PermissionDeniedError: The policy does not allow the action.
    """
    if not is_allowed(subject, action, resource):
        raise PermissionDeniedError(
            f"{subject.actor} may not {action.value}",
            hint="ask an administrator of the site or server",
        )


def _by_role(role: str) -> frozenset[Standing]:
    if role == SERVER_ADMINISTRATOR:
        # a role of that name in a row gives no rights: only the user's flag makes an administrator
        return frozenset()
    if role in _SITE_ADMINISTRATORS:
        return frozenset({Standing.SITE_ADMIN, Standing.VIEWER})
    if role in _PUBLISHERS:
        return frozenset({Standing.PUBLISHER, Standing.EXPLORER, Standing.VIEWER})
    if role in _EXPLORERS:
        return frozenset({Standing.EXPLORER, Standing.VIEWER})
    return frozenset({Standing.VIEWER}) if role in _VIEWERS else frozenset()
