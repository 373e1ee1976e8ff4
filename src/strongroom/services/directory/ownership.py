"""The owners by which permissions on projects and content are decided: their own, and those of the projects above."""

from strongroom.access.permissions import Resource, Subject
from strongroom.errors import StateError
from strongroom.repository.rows import ContentRow, ProjectRow
from strongroom.repository.unit_of_work import Transaction

MAX_PROJECT_DEPTH = 100  # bounds the walk upwards; deeper trees cannot be made


def project_resource(tx: Transaction, project: ProjectRow) -> Resource:
    """A project as permissions see it: its owner counts, and the owners of the projects above it."""
    return Resource(project.site_id, "", project_owners(tx, project.id))


def content_resource(tx: Transaction, content: ContentRow) -> Resource:
    """Published content as permissions see it: its owner counts, and the owners of its project and those above that."""
    return Resource(content.site_id, content.owner_id, project_owners(tx, content.project_id))


def project_owners(tx: Transaction, project_id: str | None) -> frozenset[str]:
    """The owners of a project and of the projects above it."""
    return frozenset(project.owner_id for project in project_path(tx, project_id))


def project_path(tx: Transaction, project_id: str | None) -> list[ProjectRow]:
    """A project and the projects above it, upwards; empty if no project has that id."""
    path: list[ProjectRow] = []
    while project_id is not None and len(path) < MAX_PROJECT_DEPTH:
        project = tx.projects.find(project_id)
        if project is None:
            break
        path.append(project)
        project_id = project.parent_id
    return path


def owner_for(tx: Transaction, subject: Subject) -> str:
    """The user who shall own what the subject creates: the subject, or for local commands the oldest administrator.

    Raises:
        StateError: The subject is a local command, and the server has no administrator.
    """
    if subject.user_id:
        return subject.user_id
    administrator = tx.users.find_administrator()
    if administrator is None:
        raise StateError(
            "there is no server administrator",
            hint="create one with 'strongroom users create NAME --server-admin'",
        )
    return administrator.id
