"""The two calls of Google Cloud KMS that we need, with states, permissions and checksums; no emulator exists."""

import base64
import json
import os
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from strongroom.system.crc32c import crc32c
from tests.support.fault_server import Request, Response

ACCOUNT = "strongroom-node@tests.iam.gserviceaccount.com"
_PATH = re.compile(r"/v1/(?P<key>projects/.+/cryptoKeys/[^/:]+):(?P<action>encrypt|decrypt)")


def error(code: int, status: str, message: str) -> Response:
    """An error as Google's REST API words it."""
    body = {"error": {"code": code, "message": message, "status": status}}
    return Response(code, json.dumps(body).encode(), {"Content-Type": "application/json"})


def service_account(token_uri: str) -> bytes:
    """JSON of a service account's key."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    told = {
        "type": "service_account",
        "project_id": "tests",
        "private_key_id": "1",
        "private_key": pem.decode(),
        "client_email": ACCOUNT,
        "token_uri": token_uri,
    }
    return json.dumps(told).encode()


@dataclass
class CloudKms:
    """Symmetric keys by name, all of them in their first version.

    Attributes:
        keys: Name → material.
        state: Of every version.
        allowed: What the caller may do.
        damage: Changes the data of an answer after its checksum was made.
    """

    keys: dict[str, bytes] = field(default_factory=dict)
    state: str = "ENABLED"
    allowed: frozenset[str] = frozenset({"encrypt", "decrypt"})
    damage: bool = False

    def answer(self, request: Request) -> Response:
        """Answer a request."""
        match = _PATH.fullmatch(urlsplit(request.path).path)
        if match is None:
            return error(404, "NOT_FOUND", f"no such method: {request.path}")
        if not request.headers.get("Authorization", "").startswith("Bearer ey"):
            return error(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.")
        action, key = match["action"], match["key"]
        if action not in self.allowed:
            verb = f"cloudkms.cryptoKeyVersions.useTo{action.capitalize()}"
            return error(403, "PERMISSION_DENIED", f"Permission '{verb}' denied on '{key}'.")
        if key not in self.keys:
            return error(404, "NOT_FOUND", f"CryptoKey {key} not found.")
        if self.state != "ENABLED":
            message = f"{key}/cryptoKeyVersions/1 is not enabled, current state is: {self.state}."
            return error(400, "FAILED_PRECONDITION", message)
        return self._work(action, key, json.loads(request.body))

    def _work(self, action: str, key: str, asked: dict[str, Any]) -> Response:
        source, result = "plaintext", "ciphertext"
        if action == "decrypt":
            source, result = result, source
        data = base64.b64decode(asked[source])
        aad = base64.b64decode(asked["additionalAuthenticatedData"])
        sums = int(asked[f"{source}Crc32c"]), int(asked["additionalAuthenticatedDataCrc32c"])
        if sums != (crc32c(data), crc32c(aad)):
            return error(400, "INVALID_ARGUMENT", "The checksum did not match the data.")
        cipher = AESGCM(self.keys[key])
        if action == "encrypt":
            nonce = os.urandom(12)
            made = nonce + cipher.encrypt(nonce, data, aad)
        else:
            try:
                made = cipher.decrypt(data[:12], data[12:], aad)
            except (InvalidTag, ValueError):
                message = "Decryption failed: verify that 'name' refers to the correct CryptoKey."
                return error(400, "INVALID_ARGUMENT", message)
        told = {f"{result}Crc32c": str(crc32c(made)), "protectionLevel": 1}
        if self.damage:
            made = made[:-1] + bytes([made[-1] ^ 1])
        told[result] = base64.b64encode(made).decode()
        if action == "encrypt":
            told |= {
                "name": f"{key}/cryptoKeyVersions/1",
                "verifiedPlaintextCrc32c": True,
                "verifiedAdditionalAuthenticatedDataCrc32c": True,
            }
        return Response(200, json.dumps(told).encode(), {"Content-Type": "application/json"})
