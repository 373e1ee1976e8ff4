"""How S3 is asked: a client of boto3 that takes credentials as the AWS root does, and nothing else of the environment."""

import threading
from typing import Any

from strongroom import foreign_words
from strongroom.errors import StateError, StorageError
from strongroom.objectstore.address import Address
from strongroom.objectstore.base import CONNECT_S, READ_S, REQUESTS_AT_ONCE
from strongroom.objectstore.s3_reading import Reading
from strongroom.roots import boto_session, outbound
from strongroom.system.extras import needed


class Connection:
    """The client of one store; threads share it."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._lock = threading.Lock()
        self._client: Any = None
        self._credentials: Any = None
        self._reading: Reading | None = None

    def client(self) -> Any:
        """The client; made again as long as there are no credentials: a role may be attached later.

        Raises:
            StorageError: The library is missing.
        """
        with self._lock:
            if self._client is None or self._credentials is None:
                self._connect()
            return self._client

    @property
    def reading(self) -> Reading:
        """The reads, by the client and its credentials, once `client` has made them."""
        if self._reading is None:
            raise StateError("an object store is read by its client")
        return self._reading

    def words(self, error: BaseException) -> str:
        """The words of the library's error, with the credentials masked."""
        return foreign_words.of(error, *boto_session.secrets(self._credentials))

    def cause(self, error: BaseException) -> foreign_words.ForeignError:
        """The exception to raise ours from."""
        return foreign_words.cause(error, *boto_session.secrets(self._credentials))

    def _connect(self) -> None:
        with needed("an object store needs boto3", "s3", StorageError):
            import boto3  # noqa: F401  a missing library is told here
        import logging

        from botocore.config import Config

        # below this level the SDK logs every step
        logging.getLogger("botocore").setLevel(logging.WARNING)
        session = boto_session.of_region(self.address.option("region"))
        self._credentials = session.get_credentials()
        self._client = session.client(
            "s3",
            endpoint_url=self.address.option("endpoint") or None,
            config=Config(
                # a repeated conditional write takes its own success for another's: `S3Bucket` repeats what may be repeated
                retries={"mode": "standard", "total_max_attempts": 1},
                connect_timeout=CONNECT_S,
                read_timeout=READ_S,
                max_pool_connections=REQUESTS_AT_ONCE,
                ignore_configured_endpoint_urls=True,
                # an empty mapping means no proxy; with None boto3 would take the proxy of the environment
                proxies=outbound.proxies_for(self._url),
                s3={"addressing_style": "path" if self.address.option("endpoint") else "auto"},
            ),
        )
        self._reading = Reading(self._client, self._credentials, self.address.container)

    @property
    def _url(self) -> str:
        region = self.address.option("region")
        ending = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
        return self.address.option("endpoint") or f"https://s3.{region}.{ending}"
