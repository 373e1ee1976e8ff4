"""The lanes of one web service, and which route goes through which."""

from strongroom.doors.http.lanes import Lane, Threads, Turnstile
from strongroom.doors.http.settings import WebSettings
from strongroom.doors.tableau.routing import Route


class Pools:
    """Nothing in one of them waits for anything in another one."""

    def __init__(self, settings: WebSettings) -> None:
        self.gate = Lane("gate", settings.gate)
        self.sign_in = Lane("sign-in", settings.sign_in)
        self.reads = Lane("read", settings.reads)
        self.writes = Lane("write", settings.writes)
        self.uploads = Lane("upload", settings.uploads)
        self.admission = Lane("admission", settings.admission)
        self.downloads = Turnstile(settings.downloads)
        self.pieces = Threads("download", settings.piece_threads)
        self.probes = Threads("probe", 1)

    def lane_of(self, route: Route) -> Lane:
        """The lane of a route that is neither a download nor an upload."""
        if route.hashes:
            return self.sign_in
        return self.reads if route.method == "GET" else self.writes
