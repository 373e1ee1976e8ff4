"""Projects and content as permissions see them: whose they are, and whose the projects above are."""

from strongroom.access.permissions import Resource, Subject
from strongroom.errors import StateError
from strongroom.repository.rows import ContentRow, ProjectRow
from strongroom.repository.unit_of_work import Transaction

MAX_PROJECT_DEPTH = 100  # bounds the walk upwards; deeper trees cannot be made


def project_resource(tx: Transaction, project: ProjectRow) -> Resource:
    """A project: its owner and the owners of those above it count."""
    return Resource(project.site_id, "", project_owners(tx, project.id))


def content_resource(tx: Transaction, content: ContentRow) -> Resource:
    """Published content: its owner, and the owners of its project and those above it, count."""
    return Resource(content.site_id, content.owner_id, project_owners(tx, content.project_id))


def project_owners(tx: Transaction, project_id: str | None) -> frozenset[str]:
    """The owners of a project and of those above it."""
    return frozenset(project.owner_id for project in project_path(tx, project_id))


def project_path(tx: Transaction, project_id: str | None) -> list[ProjectRow]:
    """A project and those above it, upwards; empty if there is none of that id."""
    path: list[ProjectRow] = []
    while project_id is not None and len(path) < MAX_PROJECT_DEPTH:
        project = tx.projects.find(project_id)
        if project is None:
            break
        path.append(project)
        project_id = project.parent_id
    return path


def owner_for(tx: Transaction, subject: Subject) -> str:
    """Who shall own what the subject makes: itself, or for local commands the first administrator.

    Raises:
        StateError: A local command made it, and there is no administrator.
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
