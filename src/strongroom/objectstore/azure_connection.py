"""With what right Azure's blobs are asked: the machine's managed identity, or an account's key in the environment.

The signature by a key is that of the service's documentation ("Authorize with Shared Key", since version 2009-09-19).
"""

import base64
import binascii
import hashlib
import hmac
import os
import threading
from collections.abc import Mapping
from email.utils import formatdate
from typing import Any, Final
from urllib.parse import urlsplit

from strongroom import foreign_words
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import StorageError
from strongroom.objectstore import web
from strongroom.objectstore.address import Address
from strongroom.objectstore.web import Request
from strongroom.roots import managed_identity, outbound
from strongroom.system.extras import needed

VERSION: Final = "2019-07-07"
"""The version of the service's interface: old enough for Azure Stack, with all that is asked here."""
KEY: Final = "AZURE_STORAGE_KEY"
"""The variable with the key of the account, by the name that Azure's own command line reads."""
_SCOPE: Final = "https://storage.azure.com/.default"
#: The headers whose values are signed by their places.
_SIGNED: Final = (
    "content-encoding",
    "content-language",
    "content-length",
    "content-md5",
    "content-type",
    "date",
    "if-modified-since",
    "if-match",
    "if-none-match",
    "if-unmodified-since",
    "range",
)


def url(address: Address) -> str:
    """Scheme, host and port of the account's server."""
    account = address.container.partition("/")[0]
    return address.option("endpoint") or f"https://{account}.blob.core.windows.net"


def root(address: Address) -> str:
    """The beginning of all paths: a server that has not its account's name has the account in its paths."""
    account = address.container.partition("/")[0]
    host = urlsplit(url(address)).hostname or ""
    return "" if host.startswith(f"{account}.") else f"/{account}"


class Connection:
    """The right of one account; threads share it.

    The key in the environment of this process has precedence. Without one the machine's identity is asked for a token,
    which the SDK keeps until it ends; a token is sent over TLS only.
    """

    def __init__(self, address: Address) -> None:
        self._account = address.container.partition("/")[0]
        self._client_id = address.option("client_id")
        self._shown = address.shown
        self._is_safe = url(address).startswith("https://")
        self._lock = threading.Lock()
        self._credential: Any = None
        self._token = ""

    def session(self) -> Any:
        """A session for requests.

        Raises:
            StorageError: A library is missing.
        """
        with needed("an object store in Azure needs azure-identity", "azure", StorageError):
            import azure.identity  # noqa: F401  a missing library is told here

            return web.session()

    def headers(self, request: Request) -> Mapping[str, str]:
        """Version, time and authorization of a request.

        Raises:
            StorageError: There is neither a key nor an identity, or the key is none.
        """
        own = {
            "x-ms-version": VERSION,
            "x-ms-date": formatdate(usegmt=True),
        }
        key = self._key()
        if key is None:
            return {**own, "authorization": f"Bearer {self._bearer()}"}
        whole = request._replace(headers={**request.headers, **own})
        return {
            **own,
            "authorization": f"SharedKey {self._account}:{signature(self._account, key, whole)}",
        }

    def renew(self) -> bool:
        """Forget the token; a key is not replaced by asking again."""
        with self._lock:
            known, self._credential = self._credential, None
        return known is not None

    def secrets(self) -> tuple[foreign_words.Secret, ...]:
        """The key, the token, and proxies' passwords."""
        return (self._text(), self._token, *outbound.secrets())

    # ---- inside ----------------------------------------------------------------------------------

    def _text(self) -> str:
        return os.environ.get(KEY, "")  # noqa: TID251 read when it is asked, as the SDKs of stores do

    def _key(self) -> SecretBytes | None:
        told = self._text()
        if not told:
            return None
        try:
            return SecretBytes(base64.b64decode(told, validate=True))
        except (binascii.Error, ValueError):
            raise StorageError(
                f"{KEY} in the environment of {outbound.whose()} is no key of a storage account",
                hint="it is base64 as Azure shows it; its value is not shown here",
            ) from None

    def _bearer(self) -> str:
        if not self._is_safe:
            raise StorageError(
                f"there are no credentials for the object store {self._shown}: no token is sent over plain http",
                hint=f"set {KEY}, or name an endpoint that begins with https://",
            )
        from azure.core.exceptions import AzureError

        with self._lock:
            if self._credential is None:
                self._credential = managed_identity.credential(self._client_id)
            credential = self._credential
        try:
            self._token = str(credential.get_token(_SCOPE).token)
        except (AzureError, ValueError, OSError, LookupError, TypeError, AttributeError) as error:
            said = foreign_words.of(error, *self.secrets())
            raise self._without_credentials(said) from foreign_words.cause(error, *self.secrets())
        return self._token

    def _without_credentials(self, said: str) -> StorageError:
        return StorageError(
            f"there are no credentials for the object store {self._shown}: {said}",
            hint="give the machine a managed identity with the role 'Storage Blob Data Contributor', or set"
            f" {KEY} in the environment of 'strongroom serve' and of the command",
        )


def signature(account: str, key: SecretBytes, request: Request) -> str:
    """The signature of a request by the key of an account, in base64.

    Args:
        account: The name of the account.
        key: The key, not encoded.
        request: The request with all headers that are signed, without the length of its body.
    """
    told = {**request.headers, "content-length": str(len(request.data) or "")}
    own = sorted(name for name in told if name.startswith("x-ms-"))
    lines = [request.method, *(told.get(name, "") for name in _SIGNED)]
    lines += [f"{name}:{told[name]}" for name in own]
    lines.append(f"/{account}{request.path}")
    lines += [f"{name.lower()}:{request.query[name]}" for name in sorted(request.query)]
    signed = hmac.new(key.reveal(), "\n".join(lines).encode(), hashlib.sha256)
    return base64.b64encode(signed.digest()).decode()
