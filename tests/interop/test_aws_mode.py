"""AWS mode as the seeds have it, end to end: the verbatim command, tabcmd, the logs, the refresh of the CMK."""

import base64
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from strongroom import bootstrap
from tests import fault_server
from tests.fault_server import FaultServer, Request, Response
from tests.servers import TestNode, create_node, serving

pytestmark = pytest.mark.interop

ARN = "arn:aws:kms:us-west-2:867530990073:key/1abc23de-fg45-6hij-7k89-1l0mn1234567"
HYPER = b"Hyper\x08\x00\x00\x01\x00\x02\x00" + b"PLAINTEXT-OF-AN-EXTRACT" * 1000
JOB_LIMIT_S = 60


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


@pytest.fixture(scope="module")
def cmk() -> CmkOfTheSeeds:
    return CmkOfTheSeeds()


@pytest.fixture(scope="module")
def kms(cmk: CmkOfTheSeeds) -> Iterator[FaultServer]:
    with fault_server.running(cmk.answer) as server:
        yield server


@pytest.fixture(scope="module")
def node(kms: FaultServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestNode]:
    made = create_node(tmp_path_factory.mktemp("aws-mode"))
    made.environment |= {
        "AWS_ENDPOINT_URL_KMS": kms.url,
        "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "of the test",
        "AWS_CONFIG_FILE": "/nonexistent",
        "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    with serving(made):
        yield made


def log_of(node: TestNode, service: str) -> str:
    return "".join(
        path.read_text() for path in sorted((node.home / "tabsvc" / "logs").glob(f"{service}_*"))
    )


@contextmanager
def opened(node: TestNode) -> Iterator[bootstrap.Node]:
    inside = bootstrap.open_node(str(node.home))
    try:
        yield inside
    finally:
        inside.close()


def wait_for_jobs(node: TestNode) -> None:
    end = time.monotonic() + JOB_LIMIT_S
    with opened(node) as inside:
        while any(
            job.finished_at is None for job in inside.jobs.list(inside.sites.find("Default").id)
        ):
            assert time.monotonic() < end
            time.sleep(0.2)


def test_the_whole_procedure_of_the_seeds(
    node: TestNode, kms: FaultServer, cmk: CmkOfTheSeeds, tmp_path: Path
) -> None:
    """A-10, A-13, A-15 to A-17, A-21 to A-23; acceptance 1 and 5; the server runs all the while."""
    extract = tmp_path / "sales.hyper"
    extract.write_bytes(HYPER)
    words = ("--aws-region", "us-west-2", "--key-arn", ARN)
    node.run("tsm", "security", "kms", "set-mode", "aws", *words)
    shown = node.run("tsm", "security", "kms", "status").out
    assert f"Mode: AWS\nCMK ARN: {ARN}\nAWS region: us-west-2\n" in shown
    node.run("strongroom", "sites", "set-mode", "Default", "enforced")
    node.login()
    node.tabcmd("publish", extract)
    node.tabcmd("get", "/datasources/sales.tdsx", "-f", tmp_path / "back.tdsx")
    assert (tmp_path / "back.hyper").read_bytes() == HYPER
    first = node.run("tsm", "security", "kms", "status", "--json").json

    cmk.refresh()
    assert node.run("tsm", "security", "kms", "status").out.startswith("Status: OK")
    node.run("tsm", "security", "regenerate-internal-tokens")
    assert node.tabcmd("reencryptextracts", "Default", check=False).code in {0, 2}
    wait_for_jobs(node)

    second = node.run("tsm", "security", "kms", "status", "--json").json
    assert second["rmk"]["id"] != first["rmk"]["id"]
    active = second["meks"][-1]["id"]
    usage = node.run("tsm", "security", "kms", "usage", "--json").json
    assert usage["active"] == active
    assert {mek for mek, use in usage["meks"].items() if use["extracts"]} == {active}
    node.tabcmd("get", "/datasources/sales.tdsx", "-f", tmp_path / "again.tdsx")
    assert (tmp_path / "again.hyper").read_bytes() == HYPER

    for service, rmk_id in (
        ("vizqlserver", first["rmk"]["id"]),
        ("backgrounder", second["rmk"]["id"]),
    ):
        text = log_of(node, service)
        opened_by = f"Decrypted the RMK with ID {rmk_id} using the CMK with ARN {ARN}"
        assert f"AwsKmsEncryptionEnvelopeAccessor: {opened_by}" in text
        assert f"AwsKmsEncryptionEnvelope: Using RMK with ID {rmk_id} to decrypt KMS store" in text
    assert set(kms.calls) == {"GenerateDataKey", "Decrypt"}
