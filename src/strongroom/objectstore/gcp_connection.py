"""With what right Google Cloud Storage is asked: the application default credentials, by Google's library."""

import threading
from collections.abc import Mapping
from typing import Any, Final

from strongroom import foreign_words
from strongroom.errors import StorageError
from strongroom.objectstore import web
from strongroom.objectstore.address import Address
from strongroom.objectstore.base import unanswered
from strongroom.objectstore.web import Request
from strongroom.roots import outbound
from strongroom.system.extras import needed

_SCOPES: Final = ("https://www.googleapis.com/auth/devstorage.read_write",)
_URL: Final = "https://storage.googleapis.com"


def url(address: Address) -> str:
    """Scheme, host and port of the service."""
    return address.option("endpoint") or _URL


class Connection:
    """The right of this machine, or of the service account that its environment names; threads share it."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._lock = threading.Lock()
        self._credentials: Any = None
        self._request: Any = None

    def session(self) -> Any:
        """A session for requests.

        Raises:
            StorageError: A library is missing.
        """
        with needed(
            "an object store in Google Cloud needs google-auth and requests", "gcp", StorageError
        ):
            import google.auth  # noqa: F401  a missing library is told here

            return web.session()

    def headers(self, request: Request) -> Mapping[str, str]:
        """The authorization of a request, by a token that the library renews before it ends.

        Raises:
            UnansweredError: The server that gives tokens does not answer.
            StorageError: There are no credentials.
        """
        from google.auth.exceptions import GoogleAuthError

        told: dict[str, str] = {}
        try:
            with self._lock:
                found = self._found()
                where = f"{url(self._address)}{request.path}"
                found.before_request(self._request, request.method, where, told)
        except (GoogleAuthError, ValueError, OSError, LookupError, TypeError) as error:
            raise self._refusal(error) from foreign_words.cause(error, *self.secrets())
        return {name.lower(): value for name, value in told.items()}

    def renew(self) -> bool:
        """Forget credentials and token; they are read anew."""
        with self._lock:
            known, self._credentials = self._credentials, None
        return known is not None

    def secrets(self) -> tuple[foreign_words.Secret, ...]:
        """The token, and proxies' passwords."""
        return (getattr(self._credentials, "token", None), *outbound.secrets())

    # ---- inside ----------------------------------------------------------------------------------

    def _found(self) -> Any:
        import google.auth
        from google.auth.transport.requests import Request as TokenRequest

        if self._credentials is None:
            self._request = TokenRequest(outbound.session())
            self._credentials, _ = google.auth.default(scopes=_SCOPES, request=self._request)
        return self._credentials

    def _refusal(self, error: Exception) -> StorageError:
        said = foreign_words.of(error, *self.secrets())
        if getattr(error, "retryable", False):
            return unanswered(self._address, f"gets no token: {said}")
        return StorageError(
            f"there are no credentials for the object store {self._address.shown}: {said}",
            hint="attach a service account to the machine, or name its key's file in GOOGLE_APPLICATION_CREDENTIALS"
            " in the environment of 'strongroom serve' and of the command",
        )
