"""Many who sign in with a wrong password, each in a thread, until the standard input ends.

It prints a word when the first was answered, and at the end how many were.
"""

import http.client
import sys
import threading
import time
from urllib.parse import urlsplit

from benchmarks.http_client import API

ATTACKERS = 64
_BODY = (
    '<tsRequest><credentials name="{}" password="wrong">'
    '<site contentUrl="" /></credentials></tsRequest>'
)


class _Guessing:
    def __init__(self, url: str, name: str) -> None:
        self._netloc, self._body = urlsplit(url).netloc, _BODY.format(name)
        self._end, self._lock = threading.Event(), threading.Lock()
        self.answered = 0

    def run(self) -> None:
        """Until the standard input ends."""
        threads = [threading.Thread(target=self._guess) for _ in range(ATTACKERS)]
        for thread in threads:
            thread.start()
        sys.stdin.read()
        self._end.set()
        for thread in threads:
            thread.join()

    def _guess(self) -> None:
        while not self._end.is_set():
            connection = http.client.HTTPConnection(self._netloc, timeout=60)
            try:
                connection.request("POST", f"{API}/auth/signin", self._body)
                connection.getresponse().read()
                with self._lock:
                    self.answered += 1
                    if self.answered == 1:
                        print("guessing", flush=True)
            except (OSError, http.client.HTTPException):
                time.sleep(0.1)  # refused or cut: it comes again
            finally:
                connection.close()


if __name__ == "__main__":
    guessing = _Guessing(sys.argv[1], sys.argv[2])
    guessing.run()
    print(guessing.answered)
