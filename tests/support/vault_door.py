"""A served node with the Vault door, and a client of a few lines: what tests send is what they write."""

import base64
import http.client
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.support.servers import BIN, Process, TestNode, create_node, ready


@dataclass(frozen=True)
class Reply:
    """An answer of the door."""

    status: int
    raw: bytes
    headers: Mapping[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.raw) if self.raw else {}

    @property
    def data(self) -> Any:
        return self.json["data"]


@dataclass
class VaultDoor:
    """The door of a served node."""

    node: TestNode
    url: str
    process: Process
    root: str = ""

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """One call on a connection of its own; `token` is root's unless it is given, empty for none."""
        to = urlsplit(self.url)
        connection = http.client.HTTPConnection(to.hostname or "", to.port, timeout=60)
        sent = dict(headers or {})
        if given := self.root if token is None else token:
            sent["X-Vault-Token"] = given
        raw = body if isinstance(body, bytes | str) else None if body is None else json.dumps(body)
        try:
            connection.request(method, f"/v1/{path}", raw, sent)
            found = connection.getresponse()
            return Reply(found.status, found.read(), dict(found.getheaders()))
        finally:
            connection.close()

    def token(self, *policies: str) -> str:
        """A new token with these policies."""
        body = {"policies": list(policies), "no_parent": True, "no_default_policy": True}
        made = self.call("POST", "auth/token/create", body)
        return str(made.json["auth"]["client_token"])

    def policy(self, name: str, text: str) -> None:
        """Write a policy."""
        assert self.call("PUT", f"sys/policies/acl/{name}", {"policy": text}).status == 204

    def make_token(self, name: str, rules: str, *options: str) -> str:
        """A token of an owner's making, with a policy of its name that has these rules."""
        self.policy(name, rules)
        made = self.node.run("strongroom", "access", "token", "create", "--policy", name, *options)
        return made.last_word

    def told_of(self, name: str) -> list[str]:
        """What the log says was done to a key, secret or role of a name by programs, in order: operations, or `refused`."""
        about = [
            (event["id"], event["details"])
            for event in self.events()
            if str(event["actor"]).startswith("service:")
        ]
        return [
            "refused" if kind == "SERVICE_CALL_REFUSED" else str(one["operation"])
            for kind, one in about
            if f"/{name}" in str(one.get("key") or one.get("path") or one.get("what"))
        ]

    def holders(self, *secrets: str | bytes) -> list[str]:
        """The node's files, and what the server said, that hold one of these."""
        seen = [path for path in self.node.home.rglob("*") if path.is_file()]
        assert len(seen) > 10
        sought = [one.encode() if isinstance(one, str) else one for one in secrets]
        return [
            f"{path}: {one[:8]!r}"
            for path in [*seen, self.node.folder / "serve.err"]
            for one in sought
            if one in path.read_bytes()
        ]

    def events(self) -> list[dict[str, Any]]:
        """All events of the node's log about services."""
        (log,) = (self.node.home / "tabsvc" / "events").glob("*.jsonl")
        records = map(json.loads, log.read_text().splitlines())
        return [one for one in records if str(one["id"]).startswith("SERVICE_")]


@contextmanager
def vault_door(folder: Path) -> Iterator[VaultDoor]:
    """A fresh node, served with the door on a port that the kernel picks, and a root token."""
    node = create_node(folder)
    root = node.run("strongroom", "access", "token", "create", "--policy", "root").last_word
    with served_vault(node) as door:
        door.root = root
        yield door


@contextmanager
def served_vault(node: TestNode, port: int = 0) -> Iterator[VaultDoor]:
    """A node, served with the door on a port; 0 has the kernel pick one."""
    line = [str(BIN / "strongroom"), "serve", "--port", "0", "--vault-port", str(port)]
    line, errors = [*line, "--no-backgrounder"], node.folder / "serve.err"
    with ready(line, errors, node.folder, node.variables(), forks=True) as (process, _):
        assert process.stdout is not None
        second = process.stdout.readline()
        found = re.fullmatch(r"ready vault: (http://127\.0\.0\.1:\d+)\n", second)
        assert found, second + errors.read_text()
        yield VaultDoor(node, found[1], process)


def b64(data: bytes) -> str:
    """Base64, as all bytes are sent."""
    return base64.b64encode(data).decode()
