"""The projects of a site, which form a tree and hold its content."""

from collections.abc import Sequence
from dataclasses import dataclass

from strongroom.access import names, permissions
from strongroom.access.permissions import Action, Resource, Subject
from strongroom.clock import Clock, format_utc
from strongroom.errors import NotFoundError, StateError, UsageError
from strongroom.eventlog.base import EventLog
from strongroom.ids import new_id
from strongroom.repository.folding import fold
from strongroom.repository.rows import ContentRow, Page, ProjectRow, Query
from strongroom.repository.unit_of_work import Repository, Transaction
from strongroom.services.directory import removals
from strongroom.services.directory.ownership import (
    MAX_PROJECT_DEPTH,
    owner_for,
    project_path,
    project_resource,
)
from strongroom.services.directory.sign_in import role_of
from strongroom.services.directory.sites import DEFAULT_PROJECT, PROJECT_PERMISSIONS

CONTENT_PERMISSIONS = (
    PROJECT_PERMISSIONS,
    "LockedToProject",
    "LockedToProjectWithoutNested",
)


@dataclass(frozen=True)
class ProjectChanges:
    """The values of a project that a client asks for; None leaves a field as it is, or for a new project at its default.

    Attributes:
        parent_id: The project above; empty text for the top.
    """

    name: str | None = None
    parent_id: str | None = None
    description: str | None = None
    content_permissions: str | None = None
    owner_id: str | None = None


class ProjectsService:
    """The use cases of projects."""

    def __init__(self, repository: Repository, event_log: EventLog, clock: Clock) -> None:
        self._repository = repository
        self._event_log = event_log
        self._clock = clock

    def page(self, subject: Subject, site_id: str, query: Query | None = None) -> Page[ProjectRow]:
        """The projects of a site.

        Raises:
            PermissionDeniedError: The subject is not of that site.
        """
        permissions.check(subject, Action.LIST_PROJECTS, Resource(site_id))
        with self._repository.reading() as tx:
            return tx.projects.page(site_id, query)

    def get(self, subject: Subject, site_id: str, project_id: str) -> ProjectRow:
        """A project of the site.

        Raises:
            PermissionDeniedError: The subject is not of that site.
            NotFoundError: The site has no such project.
        """
        permissions.check(subject, Action.LIST_PROJECTS, Resource(site_id))
        with self._repository.reading() as tx:
            return project_of_site(tx, site_id, project_id)

    def create(
        self, subject: Subject, site_id: str, name: str, changes: ProjectChanges | None = None
    ) -> ProjectRow:
        """Create a project; at the top this is for site administrators.

        Raises:
            PermissionDeniedError: The subject may not create a project there.
            NotFoundError: The site has no such parent project.
            UsageError: A name or value is not allowed.
            ConflictError: The name is taken below that parent.
        """
        wanted = changes or ProjectChanges()
        now = format_utc(self._clock.now())
        with self._repository.transaction() as tx:
            above = self._allowed_parent(tx, subject, site_id, wanted.parent_id or None)
            return tx.projects.insert(
                ProjectRow(
                    id=new_id(),
                    site_id=site_id,
                    name=names.canonical(name, "project"),
                    parent_id=None if above is None else above.id,
                    description=names.description(wanted.description or ""),
                    owner_id=_owner(tx, subject, site_id, wanted.owner_id),
                    content_permissions=_permissions(wanted.content_permissions),
                    created_at=now,
                    updated_at=now,
                )
            )

    def update(
        self, subject: Subject, site_id: str, project_id: str, changes: ProjectChanges
    ) -> ProjectRow:
        """Change a project or move it.

        Raises:
            PermissionDeniedError: The subject may not change the project, or not move it there.
            NotFoundError: The site has no such project, parent or owner.
            UsageError: A name or value is not allowed, or the project would lie below itself.
            ConflictError: The name is taken below that parent.
            StateError: The Default project cannot be renamed or moved.
        """
        with self._repository.transaction() as tx:
            project = project_of_site(tx, site_id, project_id)
            permissions.check(subject, Action.MANAGE_PROJECT, project_resource(tx, project))
            columns = self._columns(tx, subject, project, changes)
            columns["updated_at"] = format_utc(self._clock.now())
            return tx.projects.update(project.id, **columns)

    def delete(self, subject: Subject, site_id: str, project_id: str) -> Sequence[str]:
        """Delete a project with the projects below it and all their content.

        Returns:
            The storage keys of that content, for which intents to delete the files were written.

        Raises:
            PermissionDeniedError: The subject may not delete the project.
            NotFoundError: The site has no such project.
            StateError: The Default project cannot be deleted.
        """
        with self._repository.transaction() as tx:
            project = project_of_site(tx, site_id, project_id)
            permissions.check(subject, Action.MANAGE_PROJECT, project_resource(tx, project))
            if _is_default(project):
                raise StateError("the Default project cannot be deleted")
            content = _content_below(tx, project)
            tx.projects.delete(project.id)
            noted = removals.note(tx, removals.files_of(content), format_utc(self._clock.now()))
            self._event_log.append(removals.events_of(subject.actor, content))
        return noted

    def _allowed_parent(
        self, tx: Transaction, subject: Subject, site_id: str, parent_id: str | None
    ) -> ProjectRow | None:
        if parent_id is None:
            permissions.check(subject, Action.CREATE_PROJECT, Resource(tx.sites.get(site_id).id))
            return None
        above = project_of_site(tx, site_id, parent_id)
        permissions.check(subject, Action.CREATE_PROJECT, project_resource(tx, above))
        if len(project_path(tx, above.id)) >= MAX_PROJECT_DEPTH:
            raise UsageError(f"projects can be nested {MAX_PROJECT_DEPTH} deep")
        return above

    def _columns(
        self, tx: Transaction, subject: Subject, project: ProjectRow, changes: ProjectChanges
    ) -> dict[str, object]:
        columns: dict[str, object] = {}
        if changes.name is not None:
            columns["name"] = names.canonical(changes.name, "project")
        if changes.description is not None:
            columns["description"] = names.description(changes.description)
        if changes.content_permissions is not None:
            columns["content_permissions"] = _permissions(changes.content_permissions)
        if changes.owner_id is not None:
            columns["owner_id"] = _owner(tx, subject, project.site_id, changes.owner_id)
        if changes.parent_id is not None and (changes.parent_id or None) != project.parent_id:
            columns["parent_id"] = self._new_parent(tx, subject, project, changes.parent_id or None)
        renamed = fold(str(columns.get("name", project.name))) != fold(project.name)
        if _is_default(project) and (renamed or "parent_id" in columns):
            raise StateError("the Default project keeps its name and place")
        return columns

    def _new_parent(
        self, tx: Transaction, subject: Subject, project: ProjectRow, parent_id: str | None
    ) -> str | None:
        above = self._allowed_parent(tx, subject, project.site_id, parent_id)
        if above is None:
            return None
        if any(one.id == project.id for one in project_path(tx, above.id)):
            raise UsageError(f"the project {project.name!r} cannot lie below itself")
        return above.id


def project_of_site(tx: Transaction, site_id: str, project_id: str) -> ProjectRow:
    """A project of that site.

    Raises:
        NotFoundError: The site has no such project.
    """
    project = tx.projects.find(project_id)
    if project is None or project.site_id != site_id:
        raise NotFoundError(
            f"there is no project {project_id[:64]!r} on this site", about="project"
        )
    return project


def _is_default(project: ProjectRow) -> bool:
    return project.parent_id is None and fold(project.name) == fold(DEFAULT_PROJECT)


def _content_below(tx: Transaction, project: ProjectRow) -> list[ContentRow]:
    content: list[ContentRow] = []
    waiting = [project]
    while waiting:
        one = waiting.pop()
        content += tx.contents.list_of_project(one.id)
        waiting += tx.projects.children(one.id)
    return content


def _permissions(text: str | None) -> str:
    for known in CONTENT_PERMISSIONS:
        if text is None or known.casefold() == text.casefold():
            return known
    hint = f"one of {', '.join(CONTENT_PERMISSIONS)}"
    raise UsageError(f"unknown content permissions {text!r}", hint=hint)


def _owner(tx: Transaction, subject: Subject, site_id: str, owner_id: str | None) -> str:
    """The id of the named owner, who must be a user of the site; without a name, as `owner_for`."""
    if owner_id:
        user = tx.users.find(owner_id)
        if user is None or role_of(tx, user, site_id) is None:
            raise NotFoundError(f"there is no user {owner_id[:64]!r} on this site", about="user")
        return user.id
    return owner_for(tx, subject)
