"""A key vault and a managed identity, as faithful as the root needs them; there is none to install.

HTTPS with a challenge, bearer tokens, versions of keys, states, permissions; RSA-OAEP-256 for real.
The resource of the challenge is `0.0.1:PORT`: the SDK verifies that the vault's host, 127.0.0.1:PORT, is
within that domain, so its check stays on.
"""

import base64
import json
import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.support import fault_server
from tests.support.fault_server import Fault, FaultServer, Request, Response
from tests.support.tls import Authority

PERMISSIONS = frozenset({"get", "wrapKey", "unwrapKey"})
_OAEP = padding.OAEP(mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=None)
_JSON = {"Content-Type": "application/json"}


@dataclass
class Version:
    """One version of a key."""

    id: str
    private: rsa.RSAPrivateKey
    enabled: bool = True
    created: int = field(default_factory=lambda: int(time.time()))


@dataclass
class KeyVault:
    """The state of the vault, and of the identity that asks."""

    keys: dict[str, list[Version]] = field(default_factory=dict)
    allowed: frozenset[str] = PERMISSIONS
    key_type: str = "RSA"
    tokens: set[str] = field(default_factory=set)
    client_ids: list[str] = field(default_factory=list)
    front: FaultServer | None = None
    identity: FaultServer | None = None
    ca_file: Path = Path()

    @property
    def url(self) -> str:
        """The vault's base URL."""
        assert self.front is not None
        return self.front.url

    def new_version(self, name: str) -> str:
        """A new version of a key, made if it is not there; returns the version."""
        made = Version(secrets.token_hex(16), rsa.generate_private_key(65537, 2048))
        self.keys.setdefault(name, []).append(made)
        return made.id

    def issue_token(self, request: Request) -> Response:
        """The managed identity of the machine."""
        query = parse_qs(urlsplit(request.path).query)
        if request.headers.get("Metadata") != "true":
            return Response(400, b'{"error":"bad_request"}', _JSON)
        self.client_ids += query.get("client_id", [""])
        token = secrets.token_urlsafe(24)
        self.tokens.add(token)
        answer = {
            "access_token": token,
            "expires_in": "86399",
            "expires_on": "4102444800",
            "resource": query["resource"][0],
            "token_type": "Bearer",
        }
        return Response(200, json.dumps(answer).encode(), _JSON)

    def answer(self, request: Request) -> Response:
        """The vault."""
        token = (request.headers.get("Authorization") or "").removeprefix("Bearer ")
        if token not in self.tokens:
            resource = f"https://0.0.1:{urlsplit(self.url).port}"
            challenge = (
                f'Bearer authorization="https://login.microsoftonline.com/tenant",'
                f' resource="{resource}"'
            )
            return _error(401, "Unauthorized", headers={"WWW-Authenticate": challenge})
        words = urlsplit(request.path).path.strip("/").split("/")
        if len(words) < 2 or words[0] != "keys" or "api-version=" not in request.path:
            return _error(404, "NotFound")
        name, rest = words[1], words[2:]
        action = "get"
        if rest and rest[-1].lower() in {"wrapkey", "unwrapkey"}:
            action = {"wrapkey": "wrapKey", "unwrapkey": "unwrapKey"}[rest.pop().lower()]
        if action not in self.allowed:
            return _error(403, "Forbidden", "ForbiddenByPolicy")
        versions = self.keys.get(name, [])
        found = [one for one in versions if not rest or one.id == rest[0]]
        if not found:
            return _error(404, "KeyNotFound")
        version = found[-1]
        if not version.enabled:
            return _error(403, "Forbidden", "KeyDisabled")
        return self._operate(name, version, action, request.body)

    def _operate(self, name: str, version: Version, action: str, body: bytes) -> Response:
        kid = f"{self.url}/keys/{name}/{version.id}"
        if action == "get":
            return Response(200, json.dumps(self._bundle(kid, version)).encode(), _JSON)
        sent = json.loads(body)
        if sent["alg"] != "RSA-OAEP-256":
            return _error(400, "BadParameter")
        value = base64.urlsafe_b64decode(sent["value"] + "==")
        try:
            if action == "wrapKey":
                result = version.private.public_key().encrypt(value, _OAEP)
            else:
                result = version.private.decrypt(value, _OAEP)
        except ValueError:
            return _error(400, "BadParameter")
        return Response(200, json.dumps({"kid": kid, "value": _b64(result)}).encode(), _JSON)

    def _bundle(self, kid: str, version: Version) -> dict[str, object]:
        numbers = version.private.public_key().public_numbers()
        jwk = {
            "kid": kid,
            "kty": self.key_type,
            "key_ops": ["wrapKey", "unwrapKey"],
            "n": _b64(numbers.n.to_bytes(256, "big")),
            "e": _b64(numbers.e.to_bytes(3, "big")),
        }
        made = version.created
        attributes = {"enabled": True, "created": made, "updated": made}
        return {"key": jwk, "attributes": attributes}


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _error(
    status: int, code: str, inner: str = "", *, headers: dict[str, str] | None = None
) -> Response:
    error: dict[str, object] = {"code": code, "message": f"made by the test: {inner or code}"}
    if inner:
        error["innererror"] = {"code": inner}
    body = json.dumps({"error": error}).encode()
    return Response(status, body, {**_JSON, **(headers or {})})


ANSWERS = {
    Fault.SERVER_ERROR: _error(503, "ServiceUnavailable"),
    Fault.THROTTLED: _error(429, "Throttled", headers={"Retry-After": "30"}),
    Fault.EXPIRED: _error(401, "Unauthorized"),
}


@contextmanager
def running(folder: Path) -> Iterator[KeyVault]:
    """Vault and managed identity until the end of the block."""
    vault = KeyVault()
    authority = Authority(folder / "tls")
    with ExitStack() as stack:
        vault.ca_file = authority.ca_file
        vault.front = stack.enter_context(fault_server.running(vault.answer, authority, ANSWERS))
        vault.identity = stack.enter_context(fault_server.running(vault.issue_token))
        yield vault
