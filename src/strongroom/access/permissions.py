"""Who may do what: one policy table from actions to standings; pure.

A standing is what somebody is towards the thing in question: server administrator, site
administrator, owner of the content, owner of its project or one above it … Each action names the
standings that may do it. Nothing else decides on permissions; what is not in the table is refused.
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
    """What a subject is towards a thing."""

    SERVER_ADMIN = auto()
    SITE_ADMIN = auto()
    PROJECT_OWNER = auto()  # of the thing's project or of one above it ("project leader" of Q-18)
    OWNER = auto()
    PUBLISHER = auto()
    EXPLORER = auto()
    VIEWER = auto()


class Action(Enum):
    """What can be asked for."""

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
    # a name or address could pass for another site's; state and quotas are limits of the site itself
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
}


@dataclass(frozen=True)
class Subject:
    """Who asks.

    Attributes:
        actor: As events name it: `os:NAME`, `user:NAME` or `system`.
        user_id: Empty for whoever runs commands on the node itself.
        is_server_admin: Server administrators stand above every site.
        site_id: The site that was signed in to; the role counts there only.
        site_role: The role on that site.
    """

    actor: str
    user_id: str = ""
    is_server_admin: bool = False
    site_id: str = ""
    site_role: str = UNLICENSED

    @classmethod
    def local(cls, actor: str) -> "Subject":
        """Whoever owns the data directory may do everything (local authority)."""
        return cls(actor, is_server_admin=True)


@dataclass(frozen=True)
class Resource:
    """What an action is about: its site, its owner, the owners of its project and those above."""

    site_id: str = ""
    owner_id: str = ""
    project_owner_ids: Collection[str] = ()


ANYTHING = Resource()


def standings(subject: Subject, resource: Resource) -> frozenset[Standing]:
    """What the subject is towards the resource; nothing on a site that it is not signed in to."""
    if subject.is_server_admin:
        return frozenset({Standing.SERVER_ADMIN})
    if resource.site_id and resource.site_id != subject.site_id:
        return frozenset()
    by_role = _by_role(subject.site_role)
    if not by_role:
        return frozenset()  # without a licence ownership does not count
    found = set(by_role)
    if subject.user_id and subject.user_id == resource.owner_id:
        found.add(Standing.OWNER)
    if subject.user_id and subject.user_id in resource.project_owner_ids:
        found.add(Standing.PROJECT_OWNER)
    return frozenset(found)


def is_allowed(subject: Subject, action: Action, resource: Resource = ANYTHING) -> bool:
    """Whether the policy lets the subject do it."""
    return not POLICY[action].isdisjoint(standings(subject, resource))


def check(subject: Subject, action: Action, resource: Resource = ANYTHING) -> None:
    """Let pass or refuse.

    Raises:
        PermissionDeniedError: The policy does not let the subject do it.
    """
    if not is_allowed(subject, action, resource):
        raise PermissionDeniedError(
            f"{subject.actor} may not {action.value}",
            hint="ask an administrator of the site or server",
        )


def _by_role(role: str) -> frozenset[Standing]:
    if role == SERVER_ADMINISTRATOR:
        return frozenset()  # the flag of the user decides, never a stored role
    if role in _SITE_ADMINISTRATORS:
        return frozenset({Standing.SITE_ADMIN, Standing.VIEWER})
    if role in _PUBLISHERS:
        return frozenset({Standing.PUBLISHER, Standing.EXPLORER, Standing.VIEWER})
    if role in _EXPLORERS:
        return frozenset({Standing.EXPLORER, Standing.VIEWER})
    return frozenset({Standing.VIEWER}) if role in _VIEWERS else frozenset()
