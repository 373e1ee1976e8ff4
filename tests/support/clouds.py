"""Clouds for a whole node: their servers run in the test, the node's commands and its server find them."""

import base64
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.support import fault_server, key_vault
from tests.support.fault_server import FaultServer, Request, Response
from tests.support.key_vault import KeyVault
from tests.support.servers import TestNode

#: As the seeds have it.
ARN = "arn:aws:kms:us-west-2:867530990073:key/1abc23de-fg45-6hij-7k89-1l0mn1234567"
VAULT_KEY = "strongroom-rmk"


class CmkOfTheSeeds:
    """AWS KMS with one CMK, the seeds' own: emulators do not take an id that is not hexadecimal.

    It has the two actions of A-04, materials that are replaced while old ones still decrypt (7.4), and
    binds the encryption context.
    """

    def __init__(self) -> None:
        self.materials = [os.urandom(32)]

    def refresh(self) -> None:
        """The yearly rotation, today."""
        self.materials.append(os.urandom(32))

    def answer(self, request: Request) -> Response:
        sent = json.loads(request.body)
        action = request.headers["X-Amz-Target"].rpartition(".")[2]
        if sent.get("KeyId") != ARN or "us-west-2/kms" not in request.headers["Authorization"]:
            return _error("NotFoundException")
        context = json.dumps(sent.get("EncryptionContext", {}), sort_keys=True).encode()
        if action == "GenerateDataKey" and sent["KeySpec"] == "AES_256":
            key, nonce = os.urandom(32), os.urandom(12)
            number = len(self.materials) - 1
            sealed = AESGCM(self.materials[-1]).encrypt(nonce, key, context)
            blob = bytes([number]) + nonce + sealed
            return _answer({"KeyId": ARN, "Plaintext": _b64(key), "CiphertextBlob": _b64(blob)})
        if action == "Decrypt":
            blob = base64.b64decode(sent["CiphertextBlob"])
            try:
                key = AESGCM(self.materials[blob[0]]).decrypt(blob[1:13], blob[13:], context)
            except InvalidTag:
                return _error("InvalidCiphertextException")
            return _answer({"KeyId": ARN, "Plaintext": _b64(key)})
        return _error("AccessDeniedException")


def _answer(value: dict[str, str], status: int = 200) -> Response:
    headers = {"Content-Type": "application/x-amz-json-1.1"}
    return Response(status, json.dumps(value).encode(), headers)


def _error(code: str) -> Response:
    return _answer({"__type": code}, 400)


def _b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


@contextmanager
def aws(node: TestNode, cmk: CmkOfTheSeeds | None = None) -> Iterator[FaultServer]:
    """The node's AWS KMS has one CMK until the end of the block."""
    with fault_server.running((cmk or CmkOfTheSeeds()).answer) as server:
        node.environment |= {
            "AWS_ENDPOINT_URL_KMS": server.url,
            "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "of the test",
            "AWS_CONFIG_FILE": "/nonexistent",
            "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        yield server


@contextmanager
def azure(node: TestNode) -> Iterator[KeyVault]:
    """The node's machine has a managed identity, and a vault with one key: `$VAULT`, `$CA_FILE`."""
    with key_vault.running(node.folder) as vault:
        assert vault.identity is not None
        vault.new_version(VAULT_KEY)
        node.environment |= {
            "AZURE_POD_IDENTITY_AUTHORITY_HOST": vault.identity.url,
            "VAULT": vault.url,
            "CA_FILE": str(vault.ca_file),
        }
        yield vault
