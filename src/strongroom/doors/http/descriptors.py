"""How many connections the limit of open files allows (findings R17)."""

import logging
import resource

from strongroom.doors.http.protocol import Connections

_log = logging.getLogger("strongroom.web")

WISHED = 65_536
LEAST = 1024
"""Below it the server has room for fewer clients than it could serve."""
# lanes' connections to the repository, each with two files, extracts on their way, logs, the control socket
RESERVED = 320
MOST_CONNECTIONS = 2000


def raise_limit() -> int:
    """Raise the limit of this process as far as it may go, and say so if that is little; returns the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wished = WISHED if hard == resource.RLIM_INFINITY else min(WISHED, hard)
    if soft != resource.RLIM_INFINITY and soft < wished:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wished, hard))
        soft = wished
    limit = WISHED if soft == resource.RLIM_INFINITY else soft
    if limit < LEAST:
        _log.warning(
            "at most %d files can be open at once, and so at most %d connections; "
            "raise the limit to %d or more (LimitNOFILE= of the service, ulimit -n)",
            limit,
            connections(limit).most,
            LEAST,
        )
    return limit


def connections(limit: int) -> Connections:
    """As many as leave enough for the files that they ask for."""
    room = limit - RESERVED if limit >= 2 * RESERVED else limit // 4
    most = max(4, min(MOST_CONNECTIONS, room))
    return Connections(most, max(4, most // 4))
