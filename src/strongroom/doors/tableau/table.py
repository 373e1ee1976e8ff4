"""Every route of the API."""

from strongroom.doors.tableau import (
    connections,
    content,
    data_keys,
    groups,
    jobs,
    others,
    projects,
    publish,
    server_info,
    session,
    sites,
    standings,
    tags,
    users,
)
from strongroom.doors.tableau.routing import Route

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
    *connections.ROUTES,
    *tags.ROUTES,
    *standings.ROUTES,
    *data_keys.ROUTES,
    *others.ROUTES,
)
