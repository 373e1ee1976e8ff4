"""A root outside the machine that lives in the test's own process: implements the port, and fails when told."""

from dataclasses import dataclass, field, replace

import pytest

from strongroom.clock import SystemClock
from strongroom.crypto import rng
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import RootUnavailableError, StrongroomError
from strongroom.node import roots as bootstrap_roots
from strongroom.roots.base import Context, RootDescription, WrapRecord
from strongroom.roots.local import LocalRoot
from strongroom.roots.registry import RECIPIENT_KINDS
from strongroom.roots.settings import RootSettings


@dataclass
class Outside:
    """A root outside the machine: one key per name, and a switch for what goes wrong."""

    keys: dict[str, SecretBytes] = field(default_factory=dict)
    failure: StrongroomError | None = None
    calls: int = 0
    left: int = -1
    broken: dict[str, StrongroomError] = field(default_factory=dict)

    def fail(self, settings: RootSettings, failure: StrongroomError) -> None:
        """One root fails from now on, and no other."""
        self.broken[settings.root_key_id] = failure

    def ask(self, settings: RootSettings) -> None:
        self.calls += 1
        if settings.root_key_id in self.broken:
            raise self.broken[settings.root_key_id]
        if self.left == 0:
            raise RootUnavailableError("the line went dead")
        self.left -= 1
        if self.failure is not None:
            raise self.failure

    def stand_in(self, patch: pytest.MonkeyPatch) -> None:
        """Be every root that a node of this process has, but for recipients: they are not outside."""
        real = bootstrap_roots.RootProviders.build

        def build(roots: bootstrap_roots.RootProviders, settings: RootSettings) -> object:
            inside = settings.kind in RECIPIENT_KINDS
            return real(roots, settings) if inside else self.provider(settings)

        patch.setattr(bootstrap_roots.RootProviders, "build", build)

    def provider(self, settings: RootSettings) -> "OutsideRoot":
        key = self.keys.setdefault(settings.root_key_id, rng.new_key())
        return OutsideRoot(
            self, settings, LocalRoot(settings.root_key_id, lambda _: key, SystemClock())
        )


@dataclass
class OutsideRoot:
    outside: Outside
    settings: RootSettings
    inner: LocalRoot

    def generate_data_key(self, context: Context) -> tuple[SecretBytes, WrapRecord]:
        self.outside.ask(self.settings)
        key, record = self.inner.generate_data_key(context)
        return key, replace(record, kind=self.settings.kind)

    def wrap(self, key: SecretBytes, context: Context) -> WrapRecord:
        self.outside.ask(self.settings)
        return replace(self.inner.wrap(key, context), kind=self.settings.kind)

    def unwrap(self, record: WrapRecord) -> SecretBytes:
        self.outside.ask(self.settings)
        return self.inner.unwrap(record)

    def describe(self) -> RootDescription:
        return RootDescription(self.settings.kind, self.settings.root_key_id, {})

    def check(self) -> None:
        self.outside.ask(self.settings)
        self.inner.check()
