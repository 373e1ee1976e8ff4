"""Projects. The clients find them by name filters and paths, and publishing needs one."""

from strongroom.repository.rows import ProjectRow
from strongroom.services.projects import ProjectChanges
from strongroom.web.api import xml
from strongroom.web.api.errors import Noun
from strongroom.web.api.paging import query_of, window_of
from strongroom.web.api.routing import NO_CONTENT, Answer, Call, Route
from strongroom.web.api.scope import own_site

_RENAMED = {"parentProjectId": "parent_id"}


def list_projects(call: Call) -> Answer:
    """The projects of the site."""
    site, window = own_site(call), window_of(call.query)
    query = query_of(call.query, window, _RENAMED)
    page = call.node.projects.page(call.identity.subject, site.id, query)
    projects = xml.element("projects", {}, *map(_element, page.rows))
    return Answer([window.element(page.total), projects])


def create_project(call: Call) -> Answer:
    """A new project."""
    site = own_site(call)
    sent = xml.required(call.request(), "project")
    project = call.node.projects.create(
        call.identity.subject, site.id, xml.text_of(sent, "name"), _changes(sent)
    )
    return Answer([_element(project)], 201)


def update_project(call: Call) -> Answer:
    """Rename, describe, move, give away."""
    site = own_site(call)
    sent = xml.required(call.request(), "project")
    project = call.node.projects.update(
        call.identity.subject, site.id, call.path["project"], _changes(sent)
    )
    return Answer([_element(project)])


def delete_project(call: Call) -> Answer:
    """With everything in it; the keys of its extracts are gone with their files."""
    site = own_site(call)
    files = call.node.projects.delete(call.identity.subject, site.id, call.path["project"])
    call.node.content.delete_files(files)
    return NO_CONTENT


def _changes(sent: xml.Element) -> ProjectChanges:
    owner = sent.find("owner")
    return ProjectChanges(
        name=sent.get("name"),
        parent_id=sent.get("parentProjectId"),
        description=sent.get("description"),
        content_permissions=sent.get("contentPermissions") or None,
        owner_id=None if owner is None else owner.get("id"),
    )


def _element(project: ProjectRow) -> xml.Element:
    return xml.element(
        "project",
        {
            "id": project.id,
            "name": project.name,
            "description": project.description,
            "parentProjectId": project.parent_id,
            "contentPermissions": project.content_permissions,
            "createdAt": project.created_at,
            "updatedAt": project.updated_at,
        },
        xml.element("owner", {"id": project.owner_id}),
    )


ROUTES = (
    Route("GET", "/sites/{site}/projects", list_projects, Noun.PROJECT),
    Route("POST", "/sites/{site}/projects", create_project, Noun.PROJECT),
    Route("PUT", "/sites/{site}/projects/{project}", update_project, Noun.PROJECT),
    Route("DELETE", "/sites/{site}/projects/{project}", delete_project, Noun.PROJECT),
)
