"""The bounds of the web service, which may differ between installations and tests."""

import os
from dataclasses import dataclass, field

from strongroom.doors.http.feed import BodyLimits
from strongroom.doors.http.lanes import LaneLimits
from strongroom.doors.http.outer import Drain
from strongroom.doors.http.protocol import Connections, Patience

KIB = 1024


@dataclass(frozen=True)
class WebSettings:
    """All bounds.

    A lane's threads wait for the disk or for a lock; the repository has a connection for each of them.

    Attributes:
        patience: How long a connection may keep us waiting.
        connections: How many may be open.
        drain: The bounds on reading the rest of a body after an early answer.
        small_body: How fast the body of a request must come.
        upload_body: How fast an upload must come.
        gate: The lane for identifying a session's user, by a query to the repository.
        sign_in: Passwords are hashed there: a core and 19 MiB for each at once.
        reads: Requests that change nothing.
        writes: Requests that wait for the repository's lock.
        downloads: Files that are on their way out.
        uploads: Files that are on their way in.
        admission: Nodes that ask to be let in.
        piece_threads: Threads that decrypt for downloads.
    """

    patience: Patience = field(default_factory=Patience)
    connections: Connections = field(default_factory=Connections)
    drain: Drain = field(default_factory=Drain)
    small_body: BodyLimits = field(
        default_factory=lambda: BodyLimits(idle_s=30.0, least_bytes=0, whole_s=30.0)
    )
    upload_body: BodyLimits = field(
        default_factory=lambda: BodyLimits(idle_s=30.0, least_bytes=64 * KIB)
    )
    gate: LaneLimits = field(default_factory=lambda: LaneLimits(4, 4, 1024, 512))
    sign_in: LaneLimits = field(
        default_factory=lambda: LaneLimits(_cores(), _cores(), 64, 32, wait_s=10.0)
    )
    reads: LaneLimits = field(default_factory=lambda: LaneLimits(8, 6, 1024, 256))
    writes: LaneLimits = field(default_factory=lambda: LaneLimits(8, 6, 1024, 256))
    downloads: LaneLimits = field(default_factory=lambda: LaneLimits(64, 16, 256, 64))
    uploads: LaneLimits = field(default_factory=lambda: LaneLimits(16, 8, 64, 32, wait_s=10.0))
    admission: LaneLimits = field(default_factory=lambda: LaneLimits(1, 1, 8, 4))
    piece_threads: int = 8


def _cores() -> int:
    return max(2, min(4, os.cpu_count() or 1))
