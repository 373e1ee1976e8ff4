"""The lanes of one web service, and which route goes through which."""

from contextlib import nullcontext

from strongroom.doors.http.lanes import Lane, Threads, Turnstile, Working
from strongroom.doors.http.settings import WebSettings
from strongroom.doors.tableau.routing import Route


class Pools:
    """Nothing in one of them waits for anything in another one."""

    def __init__(self, settings: WebSettings, working: Working = nullcontext) -> None:
        """Take the bounds.

        Args:
            settings: The bounds.
            working: Returns a block that lasts as long as a thread works for a request; probes work for none.
        """
        self.gate = Lane("gate", settings.gate, working)
        self.sign_in = Lane("sign-in", settings.sign_in, working)
        self.reads = Lane("read", settings.reads, working)
        self.writes = Lane("write", settings.writes, working)
        self.uploads = Lane("upload", settings.uploads, working)
        self.admission = Lane("admission", settings.admission, working)
        self.downloads = Turnstile(settings.downloads)
        self.pieces = Threads("download", settings.piece_threads, working)
        self.probes = Threads("probe", 1)

    def lane_of(self, route: Route) -> Lane:
        """The lane of a route that is neither a download nor an upload."""
        if route.hashes:
            return self.sign_in
        return self.reads if route.method == "GET" else self.writes
