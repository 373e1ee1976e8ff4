"""What a serving node does for its keys now and then, and whether it is ready: issue of the roots, C and G."""

from dataclasses import dataclass, field

import pytest

from strongroom.crypto import rng
from strongroom.errors import IntegrityError, RootRefusedError, RootUnavailableError
from strongroom.kms.ring_keys import RingKeys
from strongroom.node import roots
from strongroom.node.opening import Node
from strongroom.roots.settings import RootSettings
from tests.support.memory_root import Outside, OutsideRoot

BAO = RootSettings("openbao", "https://bao.example/transit/keys/one")
GCP = RootSettings("gcp", "projects/p/cryptoKeys/k")


@dataclass
class Renewing(OutsideRoot):
    """A root whose credential ends."""

    renewed: list[tuple[str, float]] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)

    def renew_credentials(self, until_next_s: float) -> None:
        if self.settings.kind in self.refused:
            raise RootRefusedError(f"the credential of {self.settings.kind} has ended")
        self.renewed.append((self.settings.kind, until_next_s))


def test_credentials_of_every_root_are_renewed_though_one_fails(
    node: Node, outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    renewed: list[tuple[str, float]] = []
    refused: set[str] = set()

    def build(_: object, settings: RootSettings) -> Renewing:
        plain = outside.provider(settings)
        return Renewing(outside, settings, plain.inner, renewed, refused)

    node.modes.set_mode(BAO, "os:tester")
    node.roots.add(GCP, "os:tester")
    node.kms_store.upkeep(600)  # roots that need none
    monkeypatch.setattr(roots.RootProviders, "build", build)
    node.kms_store.upkeep(600)
    assert sorted(renewed) == [("gcp", 600), ("openbao", 600)]
    renewed.clear()
    refused.add("gcp")
    with pytest.raises(RootRefusedError, match="gcp"):
        node.kms_store.upkeep(600)
    assert renewed == [("openbao", 600)]


def test_ready_is_who_can_do_the_work_with_the_keys_in_memory(node: Node, outside: Outside) -> None:
    """R10: probes are no calls to the root."""
    node.modes.set_mode(BAO, "os:tester")
    node.kms_store.check_ready()
    calls = outside.calls
    outside.failure = RootUnavailableError("gone")
    for _ in range(10):
        node.kms_store.check_ready()
    assert outside.calls == calls
    node.kms_cache.forget()
    with pytest.raises(RootUnavailableError):
        node.kms_store.check_ready()


def test_a_data_key_that_comes_back_as_another_is_not_ready(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RingKeys, "unwrap", lambda *_: rng.new_key())
    with pytest.raises(IntegrityError):
        node.kms_store.check_ready()
