"""A served node and a plain HTTP client for it; the real clients are in tests/interop."""

import asyncio
import http.client
import threading
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlencode
from xml.sax.saxutils import quoteattr

from strongroom.access.permissions import Subject
from strongroom.crypto.secret import SecretBytes
from strongroom.doors.http import server as web_server
from strongroom.doors.http import upkeep
from strongroom.doors.http.gate import Gate
from strongroom.doors.http.protocol import Connections
from strongroom.doors.http.settings import WebSettings
from strongroom.node import controller, opening
from strongroom.node.opening import Node
from strongroom.repository.rows import SiteMode
from strongroom.services.directory.sites import SiteChanges

NAMESPACE = "{http://tableau.com/api}"
BOUNDARY = "b0undary"
ADMIN, PASSWORD = "admin", "correct horse battery"
HYPER = b"Hyper\x08\x00\x00\x01\x00\x02\x00" + b"MARK-OF-PLAINTEXT" * 40_000
LOCAL = Subject.local("os:test")


@dataclass
class Reply:
    """One HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def xml(self) -> ET.Element:
        return ET.fromstring(self.body)

    def find(self, name: str) -> ET.Element:
        found = self.xml.find(f".//{NAMESPACE}{name}")
        assert found is not None, self.body
        return found

    def all(self, name: str) -> list[ET.Element]:
        return self.xml.findall(f".//{NAMESPACE}{name}")

    @property
    def code(self) -> str:
        return self.find("error").get("code", "")


@dataclass
class Client:
    """Signs in and sends requests; one connection for each."""

    port: int
    token: str = ""
    site_id: str = ""
    user_id: str = ""
    version: str = "3.26"
    more: dict[str, str] = field(default_factory=dict)

    def send(
        self,
        method: str,
        path: str,
        body: bytes | str = b"",
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        target = f"/api/{self.version}{path}" + (f"?{urlencode(query)}" if query else "")
        content = body.encode() if isinstance(body, str) else body
        sent = {"x-tableau-auth": self.token} if self.token else {}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, target, content or None, {**sent, **(headers or {})})
            answer = connection.getresponse()
            found = dict(answer.getheaders())
            return Reply(answer.status, found, answer.read())
        finally:
            connection.close()

    def sign_in(self, name: str = ADMIN, password: str = PASSWORD, site: str = "") -> Reply:
        reply = self.send(
            "POST",
            "/auth/signin",
            f"<tsRequest><credentials name={quoteattr(name)} password={quoteattr(password)}>"
            f"<site contentUrl={quoteattr(site)}/></credentials></tsRequest>",
        )
        if reply.status == 200:
            self.token = reply.find("credentials").get("token", "")
            self.site_id = reply.find("site").get("id", "")
            self.user_id = reply.find("user").get("id", "")
        return reply

    def on_site(self, method: str, path: str, *args: object, **more: object) -> Reply:
        return self.send(method, f"/sites/{self.site_id}{path}", *args, **more)  # type: ignore[arg-type]

    def publish(
        self,
        name: str,
        content: bytes = HYPER,
        *,
        kind: str = "datasource",
        file_type: str = "hyper",
        query: Mapping[str, str] | None = None,
        attributes: str = "",
        inner: str = "",
    ) -> Reply:
        payload = (
            f"<tsRequest><{kind} name={quoteattr(name)} {attributes}>{inner}</{kind}></tsRequest>"
        )
        body = multipart(
            ("request_payload", "", payload.encode()),
            (f"tableau_{kind}", f"f.{file_type}", content),
        )
        return self.on_site(
            "POST",
            f"/{kind}s",
            body,
            {f"{kind}Type": file_type, **(query or {})},
            {"content-type": f"multipart/mixed; boundary={BOUNDARY}"},
        )

    def download(self, item_id: str, kind: str = "datasource", **headers: str) -> Reply:
        return self.on_site("GET", f"/{kind}s/{quote(item_id)}/content", headers=headers)


def multipart(*parts: tuple[str, str, bytes]) -> bytes:
    made = b""
    for name, filename, content in parts:
        made += f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"; '.encode()
        made += f'filename="{filename}"\r\nContent-Type: application/octet-stream\r\n\r\n'.encode()
        made += content + b"\r\n"
    return made + f"--{BOUNDARY}--\r\n".encode()


@dataclass
class Served:
    """A node while it is served by a thread of this process."""

    node: Node
    port: int
    loop: asyncio.AbstractEventLoop
    connections: Connections

    def loop_cpu_s(self) -> float:
        """CPU time that the event loop's thread has used."""

        async def used() -> float:
            return time.thread_time()

        return asyncio.run_coroutine_threadsafe(used(), self.loop).result(60)

    def client(self, site: str = "", name: str = ADMIN, password: str = PASSWORD) -> Client:
        client = Client(self.port)
        reply = client.sign_in(name, password, site)
        assert reply.status == 200, reply.body
        return client

    def site(self, name: str, mode: SiteMode) -> Client:
        """A client on a new site of that mode."""
        self.node.sites.create(LOCAL, name, SiteChanges(mode=mode))
        return self.client(name)

    def inside(self, mode: SiteMode) -> Client:
        """The same, without a request: a server that hardly waits may refuse one on a busy machine."""
        site = self.node.sites.create(LOCAL, "Inside", SiteChanges(mode=mode)).name
        token, identity = self.node.auth.sign_in(ADMIN, SecretBytes(PASSWORD.encode()), site)
        return Client(self.port, token, identity.site.id, identity.user.id)

    def user(self, name: str, site: str, role: str) -> Client:
        """A client of a new user with a role on a site."""
        found = self.node.sites.find(site)
        user = self.node.users.create(LOCAL, name, password=SecretBytes(PASSWORD.encode()))
        self.node.users.add_to_site(LOCAL, found.id, user.name, role)
        return self.client(site, name)

    @property
    def stored(self) -> list[Path]:
        """Every file in the file store, hidden ones too."""
        root = self.node.paths.extracts
        return sorted(path for path in root.rglob("*") if path.is_file())

    def nothing_is_left(self) -> bool:
        """No file without a row and no intent."""
        with self.node.repository.reading() as tx:
            known, intents = (
                tx.contents.storage_keys() | tx.uploads.storage_keys(),
                tx.intents.list(),
            )
        root = self.node.paths.extracts
        return {path.relative_to(root).as_posix() for path in self.stored} == known and not intents


@contextmanager
def serve(
    node_dir: Path,
    settings: WebSettings | None = None,
    *,
    upkeep_s: float = 1.0,
    gate: Gate | None = None,
) -> Iterator[Served]:
    """Serve a node until the end of the block; its upkeep comes every `upkeep_s` seconds, beside whatever is asked for."""
    settings = settings or WebSettings()
    node = opening.open_node(str(node_dir))
    ready = threading.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    def on_ready(_: str) -> None:
        loops.append(asyncio.get_running_loop())
        ready.set()

    # the node is closed last: upkeep uses it until its own end
    with (
        closing(node),
        web_server.listen("127.0.0.1", 0) as listener,
        upkeep.kept_up(node, upkeep_s),
        # of a cluster the agent stands, which does not run here
        controller.standing(node, upkeep_s) if node.outside is None else nullcontext(),
    ):
        conduct = web_server.Conduct(gate=gate or Gate())
        server = web_server.build(node, on_ready, settings, conduct=conduct)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            assert ready.wait(60)
            yield Served(node, listener.getsockname()[1], loops[0], settings.connections)
        finally:
            server.should_exit = True
            thread.join(60)
