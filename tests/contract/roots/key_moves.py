"""For every kind of root: its key moves, or is reached in another way, and the old way is gone (findings K3)."""

import base64
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from strongroom.roots import aws, azure, gcp, openbao, pkcs11, tpm
from strongroom.roots.settings import RootSettings
from tests.contract.roots import provider_azure, provider_gcp, provider_pkcs11
from tests.contract.roots.harness import RootLab
from tests.support import fault_server
from tests.support.fault_server import Fault, Request, Response

KEY_ID = "mrk-1234abcd12ab34cd56ef1234567890ab"
ARNS = {
    region: f"arn:aws:kms:{region}:867530990073:key/{KEY_ID}"
    for region in ("us-west-2", "eu-west-1")
}


@dataclass(frozen=True)
class Move:
    """A key before and after.

    Attributes:
        before: The way that a node is set to.
        after: The same key by another way.
        other: Another key, at the new place.
        leave: From then on the old way is gone.
    """

    before: RootSettings
    after: RootSettings
    other: RootSettings | None
    leave: Callable[[], None]


class MultiRegion:
    """One AWS KMS key with a replica in another Region: each opens what the other made (fake: emulators have none)."""

    def __init__(self) -> None:
        self.material = os.urandom(32)
        self.others = os.urandom(32)
        self.down: set[str] = set()

    def answer(self, request: Request) -> Response:
        sent = json.loads(request.body)
        region = request.headers["Authorization"].split("/")[2]
        arn = str(sent["KeyId"])
        if region in self.down:
            return _aws(500, {"__type": "KMSInternalException"})
        if arn.split(":")[3] != region:
            return _aws(400, {"__type": "NotFoundException"})
        cipher = AESGCM(self.material if arn in ARNS.values() else self.others)
        context = json.dumps(sent.get("EncryptionContext", {}), sort_keys=True).encode()
        if request.headers["X-Amz-Target"].endswith("GenerateDataKey"):
            key, nonce = os.urandom(32), os.urandom(12)
            blob = nonce + cipher.encrypt(nonce, key, context)
            told = {"Plaintext": _b64(key), "CiphertextBlob": _b64(blob)}
            return _aws(200, {"KeyId": arn, **told})
        blob = base64.b64decode(sent.get("CiphertextBlob", ""))
        try:
            key = cipher.decrypt(blob[:12], blob[12:], context)
        except (InvalidTag, ValueError):
            return _aws(400, {"__type": "InvalidCiphertextException"})
        return _aws(200, {"KeyId": arn, "Plaintext": _b64(key)})


def _aws(status: int, value: Mapping[str, str]) -> Response:
    headers = {"Content-Type": "application/x-amz-json-1.1"}
    return Response(status, json.dumps(value).encode(), headers)


def _b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


@contextmanager
def replica(lab: Any, _: Path, patch: pytest.MonkeyPatch) -> Iterator[Move]:
    """AWS: a multi-Region key is reached by its replica while the first Region is down."""
    del lab
    cloud = MultiRegion()
    with fault_server.running(cloud.answer) as server:
        patch.setenv("AWS_ENDPOINT_URL_KMS", server.url)
        patch.setenv("AWS_MAX_ATTEMPTS", "1")
        before, after = (aws.settings(arn, region) for region, arn in ARNS.items())
        other = aws.settings(ARNS["eu-west-1"].replace("mrk-1", "mrk-2"), "eu-west-1")
        yield Move(before, after, other, lambda: cloud.down.add("us-west-2"))


@contextmanager
def forwarder(lab: Any, _: Path, patch: pytest.MonkeyPatch) -> Iterator[Move]:
    """OpenBao: a real one, behind another port and another name."""
    del patch
    backend = fault_server.forward_to(lab.server.url)
    with ExitStack() as stack:
        second = stack.enter_context(fault_server.running(backend, lab.authority))
        address = second.url.replace("127.0.0.1", "localhost")

        def moved(settings: RootSettings) -> RootSettings:
            return openbao.settings(
                address,
                settings.options["key"],
                secret_id=settings.secrets["secret_id"],
                role_id=settings.options["role_id"],
                ca_file=settings.options["ca_file"],
            )

        yield Move(
            lab.settings,
            moved(lab.settings),
            moved(lab.foreign_settings),
            lambda: stack.enter_context(lab.front.broken(Fault.UNREACHABLE)),
        )


@contextmanager
def other_vault(lab: Any, _: Path, patch: pytest.MonkeyPatch) -> Iterator[Move]:
    """Azure: the vault has another name, and its key keeps its versions, as after a restore of it."""
    vault, first = lab.vault, lab.vault.front
    authority = first._authority
    with ExitStack() as stack:
        second = stack.enter_context(fault_server.running(vault.answer, authority))
        ca_file = str(vault.ca_file)

        def leave() -> None:
            stack.enter_context(first.broken(Fault.UNREACHABLE))
            patch.setattr(vault, "front", second)

        after = azure.settings(provider_azure.KEY, second.url, ca_file=ca_file)
        other = azure.settings(provider_azure.OTHER, second.url, ca_file=ca_file)
        yield Move(lab.settings, after, other, leave)


@contextmanager
def project_number(lab: Any, _: Path, patch: pytest.MonkeyPatch) -> Iterator[Move]:
    """Google: a project has a name and a number."""

    def numbered(name: str) -> str:
        return name.replace("projects/tests/", "projects/123456789/")

    names = {numbered(name): key for name, key in lab.kms.keys.items()}
    patch.setattr(lab.kms, "keys", {**lab.kms.keys, **names})
    after, other = (
        gcp.settings(numbered(name), credentials=lab.account, endpoint=lab.front.url)
        for name in (provider_gcp.KEY, provider_gcp.OTHER)
    )
    yield Move(lab.settings, after, other, lambda: patch.setattr(lab.kms, "keys", names))


@contextmanager
def renamed_key(lab: Any, folder: Path, patch: pytest.MonkeyPatch) -> Iterator[Move]:
    """PKCS#11: the vendor's library lies elsewhere, and the key has another label."""
    del patch
    module = folder / "libvendor.so"
    module.symlink_to(provider_pkcs11.MODULE)
    undo = ExitStack()

    def leave() -> None:
        rename = provider_pkcs11._renaming
        lab.operate(rename(provider_pkcs11.KEY, "moved"))
        undo.callback(lab.operate, rename("moved", provider_pkcs11.KEY))

    with undo:
        pin = lab.settings.secrets["pin"]
        after, other = (
            pkcs11.settings(str(provider_pkcs11.MODULE), provider_pkcs11.TOKEN, label, pin=pin)
            for label in ("moved", provider_pkcs11.OTHER)
        )
        yield Move(lab.settings, after, other, leave)


@contextmanager
def other_device(lab: Any, folder: Path, patch: pytest.MonkeyPatch) -> Iterator[Move]:
    """TPM: the same one by another TCTI."""
    del patch
    undo = ExitStack()
    socket, link = lab.socket.resolve(), Path(os.path.relpath(folder / "t"))
    link.symlink_to(socket)
    link.with_name("t.ctrl").symlink_to(f"{socket}.ctrl")

    def leave() -> None:
        away = socket.with_name("b")
        socket.rename(away)
        link.unlink()
        link.symlink_to(away)
        undo.callback(away.rename, socket)

    with undo:
        yield Move(lab.settings, tpm.settings(f"swtpm:path={link}"), lab.foreign_settings, leave)


Moving = Callable[[RootLab, Path, pytest.MonkeyPatch], AbstractContextManager[Move]]
#: Name of a lab → how its key moves. Every kind of root that is asked has one.
MOVES: dict[str, Moving] = {
    "aws-moto": replica,
    "openbao": forwarder,
    "azure": other_vault,
    "gcp": project_number,
    "pkcs11": renamed_key,
    "tpm": other_device,
}


def respelled(settings: RootSettings) -> RootSettings:
    """As a node has it that was set up before addresses had one spelling."""
    shouted = settings.root_key_id.replace("https://localhost", "https://LOCALHOST")
    return replace(settings, root_key_id=shouted)
