"""Object stores for tests: moto, which answers at once, and SeaweedFS, a real one."""

import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.config import Config
from typing_extensions import override

from strongroom.objectstore import registry
from strongroom.objectstore.base import Bucket
from tests.support import emulators
from tests.support.emulators import BIN, Aws, answers, free_port, process

BUCKET = "extracts-of-tests"
#: When `Between.told` is called: before the store gets a request, and when the store has answered it.
BEFORE, BEHIND = "before", "behind"


class HasUrl(Protocol):
    """A server of any kind."""

    @property
    def url(self) -> str:
        """Its address."""
        ...


REGION = "us-east-1"


def seaweedfs_line(folder: Path) -> tuple[list[str | Path], str]:
    """The command of a SeaweedFS whose files and settings are in a folder, and its URL; signatures are checked."""
    store = Aws("")
    identity = {
        "name": "tests",
        "credentials": [{"accessKey": store.access_key, "secretKey": store.secret_key}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    ports = {name: free_port() for name in ("master", "volume", "filer", "s3")}
    command: list[str | Path] = [BIN / "weed", "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
    command += [f"-dir={folder}", "-s3", f"-s3.config={folder / 's3.json'}", "-s3.iam=false"]
    command += ["-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false"]
    command += ["-master.volumeSizeLimitMB=64", "-volume.max=50"]
    for name, port in ports.items():
        command += [f"-{name}.port={port}", f"-{name}.port.grpc={free_port()}"]
    return command, f"http://127.0.0.1:{ports['s3']}"


@contextmanager
def seaweedfs(folder: Path) -> Iterator[Aws]:
    """SeaweedFS: all of its servers in one process; signatures are checked. It is killed: it takes 15 s to end otherwise."""
    command, url = seaweedfs_line(folder)
    with process(command, folder, lambda: answers(f"{url}/healthz")) as server:
        yield Aws(url)
        server.kill()


SERVERS = {"moto": emulators.moto, "SeaweedFS": seaweedfs}


def client(server: Aws) -> Any:
    """A client of the tests' own."""
    return boto3.client(
        "s3",
        endpoint_url=server.url,
        region_name=REGION,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
        config=Config(s3={"addressing_style": "path"}, proxies={}),
    )


@contextmanager
def running(kind: str, folder: Path) -> Iterator[Aws]:
    """A server with an empty bucket."""
    with SERVERS[kind](folder) as server:
        client(server).create_bucket(Bucket=BUCKET)
        yield server


def environment(server: Aws) -> dict[str, str]:
    """The credentials of a server, as an operator gives them to a process."""
    return {
        "AWS_ACCESS_KEY_ID": server.access_key,
        "AWS_SECRET_ACCESS_KEY": server.secret_key,
    }


def credentials(server: Aws, patch: pytest.MonkeyPatch) -> None:
    """Give this process the credentials of a server, as an operator does."""
    for name, value in environment(server).items():
        patch.setenv(name, value)
    patch.delenv("AWS_SESSION_TOKEN", raising=False)


def bucket(url: str, prefix: str) -> Bucket:
    """The objects below a prefix of the tests' bucket."""
    text = f"s3://{BUCKET}/{prefix}?region={REGION}&endpoint={url}"
    return registry.bucket(registry.parse(text))


@dataclass
class Fault:
    """What the next requests of a method for names with a text in them meet.

    Attributes:
        method: The method.
        part: A text that their names contain.
        times: How many of them.
        answer_lost: Whether the store gets the request, and the client no answer.
        status: The answer instead of the store's; 0 for the store's own.
        code: The code in that answer.
    """

    method: str
    part: str
    times: int = 1
    answer_lost: bool = False
    status: int = 0
    code: str = ""


@dataclass
class Between:
    """A server between a store and its client, which answers by faults, leaves out headers, and counts.

    Attributes:
        url: Its address.
        faults: What is still to be met, in any order.
        dies_after: How many requests more are answered; all later ones are refused.
        left_out: Tells of a header, by its name in lower case and its value, whether the store does not get it.
        asked: Method and path of each request, in their order.
        told: Called with the number of each request, from 1: before the store gets it, and when the store has answered.
        signed_anew: Gives right headers to a request of which some were left out, for a store that checks signatures.
    """

    url: str
    faults: list[Fault] = field(default_factory=list)
    dies_after: int | None = None
    left_out: Callable[[str, str], bool] | None = None
    asked: list[tuple[str, str]] = field(default_factory=list)
    told: Callable[[int, str], None] = lambda _number, _when: None
    signed_anew: Callable[[str, str, dict[str, str], bytes], dict[str, str]] | None = None

    def onward(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> dict[str, str]:
        """The headers with which a request goes on to the store."""
        if self.left_out is None:
            return headers
        kept = {k: v for k, v in headers.items() if not self.left_out(k.lower(), v)}
        return self.signed_anew(method, path, kept, body) if self.signed_anew else kept

    def fault_of(self, method: str, path: str) -> Fault | None:
        """The fault that a request meets, which is then met once less."""
        if self.dies_after is not None:
            if not self.dies_after:
                return Fault(method, path, status=403, code="AccessDenied")
            self.dies_after -= 1
        for fault in self.faults:
            if fault.times and fault.method == method and fault.part in path:
                fault.times -= 1
                return fault
        return None


@contextmanager
def between(server: HasUrl) -> Iterator[Between]:
    """Stand between a store and its client; one that signs the host's name must not check signatures."""
    target = urlsplit(server.url).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one(self) -> None:
            length = int(self.headers.get("content-length", 0))
            body = self.rfile.read(length) if length else b""
            stands.asked.append((self.command, self.path))
            number = len(stands.asked)
            stands.told(number, BEFORE)
            fault = stands.fault_of(self.command, self.path)
            if fault and fault.status:
                said = f"<Error><Code>{fault.code}</Code></Error>" if fault.code else ""
                self._answer(fault.status, [("ETag", '"none"')], said.encode())
                return
            headers = stands.onward(self.command, self.path, dict(self.headers.items()), body)
            onward = http.client.HTTPConnection(target, timeout=30)
            try:
                onward.request(self.command, self.path, body, headers)
                answer = onward.getresponse()
                data = answer.read()
            finally:
                onward.close()
            stands.told(number, BEHIND)
            if fault and fault.answer_lost:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            self._answer(answer.status, answer.getheaders(), data)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_one  # noqa: N815 names of the library

        def _answer(self, status: int, headers: list[tuple[str, str]], data: bytes) -> None:
            self.send_response_only(status)
            skipped = {"transfer-encoding", "connection"} | (
                {"content-length"} if self.command != "HEAD" else set()
            )
            for name, value in headers:
                if name.lower() not in skipped:
                    self.send_header(name, value)
            if self.command != "HEAD":
                self.send_header("content-length", str(len(data)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        @override
        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        stands = Between(f"http://127.0.0.1:{listening.server_port}")
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield stands
        finally:
            listening.shutdown()
            thread.join()
