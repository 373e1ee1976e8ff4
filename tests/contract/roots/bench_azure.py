"""Azure Key Vault: the unmodified SDK against the vault and the managed identity of `tests.key_vault`."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import pytest
from typing_extensions import override

from strongroom.clock import SystemClock
from strongroom.roots import azure
from strongroom.roots.base import RootProvider
from strongroom.roots.settings import RootSettings
from tests import key_vault
from tests.contract.roots.harness import RootBench, Told
from tests.fault_server import Fault
from tests.key_vault import KeyVault

KEY, OTHER = "rmk-root", "another"


class AzureBench(RootBench):
    """A vault with two keys."""

    form = "indirect"
    faults = frozenset(Fault) - {Fault.PENDING_DELETION}
    told: ClassVar[Told] = {
        Fault.REFUSED: ("system-assigned managed identity", "ForbiddenByPolicy", "in the vault"),
        Fault.DISABLED: ("disabled", "enable"),
        Fault.EXPIRED: ("token", "clock"),
        Fault.THROTTLED: ("429", "throttling"),
    }

    def __init__(self, vault: KeyVault) -> None:
        assert vault.front is not None
        self.vault, self.front = vault, vault.front
        vault.new_version(KEY)
        vault.new_version(OTHER)
        ca_file = str(vault.ca_file)
        self._settings = azure.settings(KEY, vault.url, ca_file=ca_file)
        self._foreign = azure.settings(OTHER, vault.url, ca_file=ca_file)

    @property
    @override
    def settings(self) -> RootSettings:
        return self._settings

    @property
    @override
    def foreign_settings(self) -> RootSettings:
        return self._foreign

    @property
    @override
    def environment(self) -> Mapping[str, str]:
        assert self.vault.identity is not None
        return {"AZURE_POD_IDENTITY_AUTHORITY_HOST": self.vault.identity.url}

    @override
    def quicken(self, patch: pytest.MonkeyPatch) -> None:
        patch.setattr(azure, "READ_S", 0.5)
        patch.setattr(azure, "_PAUSE_S", 0.01)

    @override
    def root(self, settings: RootSettings | None = None) -> RootProvider:
        return azure.build(settings or self._settings, SystemClock())

    @contextmanager
    @override
    def broken(self, fault: Fault) -> Iterator[None]:
        vault = self.vault
        if fault is Fault.REFUSED:
            vault.allowed = frozenset()
            try:
                yield
            finally:
                vault.allowed = key_vault.PERMISSIONS
        elif fault is Fault.DISABLED:
            _enable(vault, on=False)
            try:
                yield
            finally:
                _enable(vault, on=True)
        elif fault is Fault.MISSING:
            versions = vault.keys.pop(KEY)
            try:
                yield
            finally:
                vault.keys[KEY] = versions
        else:
            with self.front.broken(fault):
                yield


def _enable(vault: KeyVault, *, on: bool) -> None:
    for version in vault.keys[KEY]:
        version.enabled = on


@contextmanager
def start(folder: Path) -> Iterator[AzureBench]:
    """The vault."""
    with key_vault.running(folder) as vault:
        yield AzureBench(vault)
