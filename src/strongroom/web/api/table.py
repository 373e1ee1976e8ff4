"""Every route of the API."""

from strongroom.web.api import (
    content,
    groups,
    jobs,
    projects,
    publish,
    server_info,
    session,
    sites,
    users,
)
from strongroom.web.api.routing import Route

ROUTES: tuple[Route, ...] = (
    *server_info.ROUTES,
    *session.ROUTES,
    *sites.ROUTES,
    *users.ROUTES,
    *groups.ROUTES,
    *projects.ROUTES,
    *content.ROUTES,
    *publish.ROUTES,
    *jobs.ROUTES,
)
