"""Azure Key Vault: the unmodified SDK against the vault and the managed identity of `tests.support.key_vault`."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import ClassVar

import pytest
from typing_extensions import override

from strongroom.clock import SystemClock
from strongroom.roots import azure, managed_identity
from strongroom.roots.base import RootProvider
from strongroom.roots.settings import RootSettings
from tests.contract.roots.harness import FrontedLab, Told, Unfit
from tests.support import key_vault
from tests.support.fault_server import Fault
from tests.support.key_vault import KeyVault

KEY, OTHER = "rmk-root", "another"


class AzureLab(FrontedLab):
    """A vault with two keys."""

    form = "indirect"
    unfit: ClassVar[Unfit] = {
        Fault.WRONG_REGION: "the URL names one vault: there is no region that could be wrong",
    }
    told: ClassVar[Told] = {
        Fault.REFUSED: ("system-assigned managed identity", "ForbiddenByPolicy", "in the vault"),
        Fault.DISABLED: ("disabled", "enable"),
        Fault.EXPIRED: ("token", "clock"),
        Fault.THROTTLED: ("429", "throttling"),
        Fault.PENDING_DELETION: ("no such key",),
    }

    def __init__(self, vault: KeyVault) -> None:
        assert vault.front is not None
        self.vault, self.front = vault, vault.front
        vault.new_version(KEY)
        vault.new_version(OTHER)
        ca_file = str(vault.ca_file)
        self.settings = azure.settings(KEY, vault.url, ca_file=ca_file)
        self.foreign_settings = azure.settings(OTHER, vault.url, ca_file=ca_file)

    @property
    @override
    def environment(self) -> Mapping[str, str]:
        assert self.vault.identity is not None
        return {"AZURE_POD_IDENTITY_AUTHORITY_HOST": self.vault.identity.url}

    @override
    def quicken(self, patch: pytest.MonkeyPatch) -> None:
        patch.setattr(azure, "_PAUSE_S", 0.01)

    @override
    def await_answers(self, seconds: float, patch: pytest.MonkeyPatch) -> None:
        patch.setattr(managed_identity, "READ_S", seconds)

    @override
    def root(self, settings: RootSettings | None = None) -> RootProvider:
        return azure.build(settings or self.settings, SystemClock())

    @override
    def break_it(self, fault: Fault, undo: ExitStack) -> None:
        vault = self.vault
        match fault:
            case Fault.REFUSED:
                vault.allowed = frozenset()
                undo.callback(setattr, vault, "allowed", key_vault.PERMISSIONS)
            case Fault.DISABLED:
                _enable(vault, on=False)
                undo.callback(_enable, vault, on=True)
            case Fault.MISSING | Fault.PENDING_DELETION:
                # a vault that keeps what was deleted answers for it as if it were gone
                undo.callback(vault.keys.__setitem__, KEY, vault.keys.pop(KEY))
            case _:
                super().break_it(fault, undo)


def _enable(vault: KeyVault, *, on: bool) -> None:
    for version in vault.keys[KEY]:
        version.enabled = on


@contextmanager
def start(folder: Path) -> Iterator[AzureLab]:
    """The vault."""
    with key_vault.running(folder) as vault:
        yield AzureLab(vault)
