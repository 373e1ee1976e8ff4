"""A session belongs to one site: what lies on a site is reached through that site's sessions only."""

from strongroom.doors.tableau.routing import Call
from strongroom.errors import PermissionDeniedError
from strongroom.repository.rows import SiteRow


def own_site(call: Call) -> SiteRow:
    """The site of the path, which must be the one that was signed in to.

    Raises:
        PermissionDeniedError: The path names another site, or a site that does not exist; the message does not tell
            which.
    """
    site = call.identity.site
    if call.path["site"] != site.id:
        raise PermissionDeniedError(
            "the session is of another site", hint="sign in to that site, or switch to it"
        )
    return site
