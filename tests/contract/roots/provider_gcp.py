"""Google Cloud KMS: the unmodified client, by REST over TLS, against `tests.support.cloud_kms`."""

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import ClassVar

import pytest
from typing_extensions import override

from strongroom.clock import SystemClock
from strongroom.crypto.secret import SecretBytes
from strongroom.roots import gcp
from strongroom.roots.base import RootProvider
from strongroom.roots.settings import RootSettings
from tests.contract.roots.harness import FrontedLab, Told, before
from tests.support import cloud_kms
from tests.support.cloud_kms import ACCOUNT, CloudKms, error
from tests.support.fault_server import Fault, FaultServer
from tests.support.tls import Authority

RING = "projects/tests/locations/europe-west4/keyRings/strongroom/cryptoKeys"
KEY, OTHER = f"{RING}/rmk-root", f"{RING}/another"
ANSWERS = {
    Fault.SERVER_ERROR: error(500, "INTERNAL", "Internal error encountered."),
    Fault.THROTTLED: error(429, "RESOURCE_EXHAUSTED", "Quota exceeded."),
    Fault.EXPIRED: error(401, "UNAUTHENTICATED", "invalid authentication credentials"),
}


class GcpLab(FrontedLab):
    """Two symmetric keys."""

    told: ClassVar[Told] = {
        Fault.REFUSED: (ACCOUNT, gcp.ROLE, "cryptoKeyVersions.useTo"),
        Fault.DISABLED: ("disabled", "enable it"),
        Fault.PENDING_DELETION: ("destroyed", "restore"),
        Fault.EXPIRED: (ACCOUNT, "clock"),
        Fault.THROTTLED: ("429", "quota"),
        Fault.MISSING: ("no such key",),
        Fault.WRONG_REGION: ("no such key", "location"),
    }

    def __init__(self, kms: CloudKms, front: FaultServer, authority: Authority) -> None:
        self.kms, self.front, self.authority = kms, front, authority
        self.account = SecretBytes(cloud_kms.service_account(f"{front.url}/token"))
        for name in (KEY, OTHER):
            kms.keys[name] = os.urandom(32)
        self.settings, self.foreign_settings = (
            gcp.settings(name, credentials=self.account, endpoint=front.url)
            for name in (KEY, OTHER)
        )

    @property
    @override
    def environment(self) -> Mapping[str, str]:
        return {
            "REQUESTS_CA_BUNDLE": str(self.authority.ca_file),
            "GOOGLE_APPLICATION_CREDENTIALS": "/nonexistent/credentials.json",
        }

    @override
    def await_answers(self, seconds: float, patch: pytest.MonkeyPatch) -> None:
        patch.setattr(gcp, "TIMEOUT_S", seconds)

    @override
    def root(self, settings: RootSettings | None = None) -> RootProvider:
        return gcp.build(settings or self.settings, SystemClock())

    @override
    def break_it(self, fault: Fault, undo: ExitStack) -> None:
        kms = self.kms
        undo.callback(self._repair, dict(kms.keys))
        match fault:
            case Fault.REFUSED:
                kms.allowed = frozenset()
            case Fault.DISABLED:
                kms.state = "DISABLED"
            case Fault.PENDING_DELETION:
                kms.state = "DESTROY_SCHEDULED"
            case Fault.MISSING | Fault.WRONG_REGION:
                # the location is a part of the key's name
                del kms.keys[KEY]
            case _:
                super().break_it(fault, undo)

    def _repair(self, keys: dict[str, bytes]) -> None:
        self.kms.keys, self.kms.state = keys, "ENABLED"
        self.kms.allowed = frozenset({"encrypt", "decrypt"})


@contextmanager
def start(folder: Path) -> Iterator[GcpLab]:
    """Cloud KMS of the tests."""
    kms = CloudKms()
    with before(kms.answer, folder, ANSWERS) as (front, authority):
        yield GcpLab(kms, front, authority)
