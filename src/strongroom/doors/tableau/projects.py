"""Projects. The clients find them by name filters and paths, and publishing needs one."""

from strongroom.doors.tableau.errors import Noun
from strongroom.doors.tableau.message import Element, element, required, text_of
from strongroom.doors.tableau.paging import LISTING, page_of, query_of, window_of
from strongroom.doors.tableau.routing import NO_CONTENT, Answer, Call, Route
from strongroom.doors.tableau.scope import own_site
from strongroom.doors.tableau.shape import Shape, as_it_is, read, request
from strongroom.repository.rows import ProjectRow
from strongroom.services.directory.projects import ProjectChanges

_RENAMED = {"parentProjectId": "parent_id"}


def list_projects(call: Call) -> Answer:
    """The projects of the site."""
    site, window = own_site(call), window_of(call.query)
    query = query_of(call.query, window, _RENAMED)
    page = call.services.projects.page(call.identity.subject, site.id, query)
    rows = [_element(project) for project in page.rows]
    return Answer(page_of(call.query, window, page.total, ("projects", "project"), rows))


def get_project(call: Call) -> Answer:
    """A project, by its id."""
    site = own_site(call)
    subject = call.identity.subject
    return Answer([_element(call.services.projects.get(subject, site.id, call.path["project"]))])


def create_project(call: Call) -> Answer:
    """A new project."""
    site = own_site(call)
    sent = required(call.request(), "project")
    project = call.services.projects.create(
        call.identity.subject, site.id, text_of(sent, "name"), _changes(sent)
    )
    return Answer([_element(project)], 201)


def update_project(call: Call) -> Answer:
    """Rename, describe, move, give away."""
    site = own_site(call)
    sent = required(call.request(), "project")
    project = call.services.projects.update(
        call.identity.subject, site.id, call.path["project"], _changes(sent)
    )
    return Answer([_element(project)])


def delete_project(call: Call) -> Answer:
    """With everything in it; the keys of its extracts are gone with their files."""
    site = own_site(call)
    files = call.services.projects.delete(call.identity.subject, site.id, call.path["project"])
    call.services.content.delete_files(files)
    return NO_CONTENT


def _changes(sent: Element) -> ProjectChanges:
    owner = sent.find("owner")
    return ProjectChanges(
        name=sent.get("name"),
        parent_id=sent.get("parentProjectId"),
        description=sent.get("description"),
        content_permissions=sent.get("contentPermissions") or None,
        owner_id=None if owner is None else owner.get("id"),
    )


def _element(project: ProjectRow) -> Element:
    return element(
        "project",
        {
            "id": project.id,
            "name": project.name,
            "description": project.description,
            "parentProjectId": project.parent_id,
            "topLevelProject": project.parent_id is None,
            "contentPermissions": project.content_permissions,
            "createdAt": project.created_at,
            "updatedAt": project.updated_at,
        },
        element("owner", {"id": project.owner_id}),
    )


_PROJECT = request(
    project=Shape(
        read("name", "description", "parentProjectId", "contentPermissions"),
        {"owner": Shape(read("id"))},
    )
)
_SAMPLES = {"publishSamples": as_it_is("it has no samples to publish", "false")}

ROUTES = (
    Route("GET", "/sites/{site}/projects", list_projects, Noun.PROJECT, query=LISTING),
    Route(
        "POST",
        "/sites/{site}/projects",
        create_project,
        Noun.PROJECT,
        takes=_PROJECT,
        query=_SAMPLES,
    ),
    Route("GET", "/sites/{site}/projects/{project}", get_project, Noun.PROJECT),
    Route(
        "PUT",
        "/sites/{site}/projects/{project}",
        update_project,
        Noun.PROJECT,
        takes=_PROJECT,
        query=_SAMPLES,
    ),
    Route("DELETE", "/sites/{site}/projects/{project}", delete_project, Noun.PROJECT),
)
