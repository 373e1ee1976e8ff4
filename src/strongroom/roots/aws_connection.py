"""How AWS is asked: boto3's default chain of credentials, and clients that learn no more of the environment than they may."""

import os
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from strongroom import foreign_words
from strongroom.roots import addresses, boto_session, outbound

ATTEMPTS = 4
CONNECT_S = 3
READ_S = 5
#: The one variable that names another endpoint than the region's: of this service, and of no other.
ENDPOINT = "AWS_ENDPOINT_URL_KMS"
_EXAMPLE = "https://vpce-1a2b.kms.eu-west-1.vpce.amazonaws.com"


#: Where credentials come from that nobody renews: variables, and files that are read once.
_BY_HAND = ("env", "shared-credentials-file", "config-file")


class Connection(Protocol):
    """A client of AWS KMS, and whose credentials it signs with."""

    def client(self) -> Any:
        """The client of boto3."""
        ...

    def renew(self) -> None:
        """Forget client and credentials: the next client reads the credentials anew."""
        ...

    def identity(self) -> str:
        """The owner of the credentials, in words; sends no request, so the text is empty before the first call."""
        ...

    def secrets(self) -> tuple[foreign_words.Secret, ...]:
        """The texts that no message may show: the secret key and session token of the last call, proxies' passwords."""
        ...

    def way(self) -> Mapping[str, str]:
        """A custom endpoint and a proxy on the way to AWS, for the status; empty if requests go straight to AWS."""
        ...

    def ends_at(self) -> datetime | None:
        """When the credentials of the last call end, if nothing renews them; the least time there is if they do not say."""
        ...


class DefaultChain:
    """The connection by boto3's default chain: environment, files, container, instance role (Q-22)."""

    def __init__(self, region: str) -> None:
        self._region = region
        self._lock = threading.Lock()
        self._client: Any = None
        self._credentials: Any = None
        self._identity = ""

    def client(self) -> Any:
        """The client; made again as long as there are no credentials: a role may be attached later."""
        with self._lock:
            if self._client is None or self._credentials is None:
                self._connect()
            if self._credentials is not None:
                self._identity = _identity(self._credentials)
            return self._client

    def renew(self) -> None:
        """Forget client and credentials."""
        with self._lock:
            self._client = None

    def identity(self) -> str:
        """Where the credentials of the last call came from, and their public id."""
        return self._identity

    def secrets(self) -> tuple[foreign_words.Secret, ...]:
        """Secret key and session token, as they are now in memory; nobody is asked for new ones."""
        return boto_session.secrets(self._credentials)

    def ends_at(self) -> datetime | None:
        """The end of session credentials that were set by hand: those of a role, a profile's or a process are renewed."""
        known = getattr(self._credentials, "__dict__", {})
        is_session = bool(known.get("token") or known.get("_token"))
        if not is_session or getattr(self._credentials, "method", "") not in _BY_HAND:
            return None
        told = known.get("_expiry_time")
        return told if isinstance(told, datetime) else datetime.min.replace(tzinfo=UTC)

    def way(self) -> Mapping[str, str]:
        """The endpoint of the environment, and the proxy."""
        told = {"endpoint": self._endpoint} if self._endpoint else {}
        return {**told, **outbound.shown_proxy(self._url)}

    @property
    def _url(self) -> str:
        ending = "amazonaws.com.cn" if self._region.startswith("cn-") else "amazonaws.com"
        return self._endpoint or f"https://kms.{self._region}.{ending}"

    @property
    def _endpoint(self) -> str:
        named = os.environ.get(ENDPOINT, "")  # noqa: TID251 the chain's own way, read when it is
        if not named:
            return ""
        return addresses.parse(
            named,
            what=f"AWS KMS ({ENDPOINT} in the environment of {outbound.whose()})",
            example=_EXAMPLE,
        )

    def _connect(self) -> None:
        from botocore.config import Config

        session = boto_session.of_region(self._region)
        self._credentials = session.get_credentials()
        self._client = session.client(
            "kms",
            endpoint_url=self._endpoint or None,
            config=Config(
                retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
                connect_timeout=CONNECT_S,
                read_timeout=READ_S,
                # AWS_ENDPOINT_URL and profiles may name stand-ins of other services
                ignore_configured_endpoint_urls=True,
                # an empty mapping means no proxy; with None boto3 would take the proxy of the environment
                proxies=outbound.proxies_for(self._url),
            ),
        )


def _identity(credentials: Any) -> str:
    role = "instance role" if credentials.method == "iam-role" else credentials.method
    return f"{role}, access key {credentials.get_frozen_credentials().access_key}"
