"""What may happen between the moment a change of roots is asked for and the moment it has the lock.

Each test lets another command run to its end right there, as it does when both are asked for at once:
the change must build on what is there then, not on what it saw before.
"""

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from typing_extensions import override

from strongroom.coordination.local import LocalCoordinator
from strongroom.crypto.secret import SecretBytes
from strongroom.envelope.header import Placement
from strongroom.errors import (
    ConflictError,
    IntegrityError,
    RootUnavailableError,
    StateError,
    StrongroomError,
)
from strongroom.eventlog.events import key_events
from strongroom.ids import new_id
from strongroom.kms.states import MekState
from strongroom.node import opening
from strongroom.node import roots as bootstrap_roots
from strongroom.node.opening import Node
from strongroom.roots.base import RootProvider
from strongroom.roots.settings import RootSettings
from strongroom.services.keys.keeper import LOCK, PREVIOUS_STORE, ROOTS, StoreKeeper
from strongroom.services.keys.regenerate import RegenerateService
from strongroom.services.keys.stored import ConfiguredStore
from tests.contract.kms.test_regenerate import STEPS
from tests.support.memory_root import Outside
from tests.support.stored_forms import differing_files

HERE = Placement(new_id(), new_id())
BAO = RootSettings(
    "openbao", "https://bao.example/transit/keys/one", {}, {"token": SecretBytes(b"t")}
)
GCP = RootSettings("gcp", "projects/p/cryptoKeys/k", {}, {"credentials": SecretBytes(b"c")})
TPM = RootSettings("tpm", "tpm:device:/dev/tpmrm0")


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Runs something before the next one who asks for the lock of the KMS store gets it."""
    waiting: list[Callable[[], object]] = []
    real = LocalCoordinator.lock

    @contextmanager
    def lock(self: LocalCoordinator, name: str, *, wait_s: float) -> Any:
        if name == LOCK and waiting:
            waiting.pop()()
        with real(self, name, wait_s=wait_s) as lease:
            yield lease

    monkeypatch.setattr(LocalCoordinator, "lock", lock)
    return waiting.append


def restarted(node: Node) -> AbstractContextManager[Node]:
    """As after a start: nothing is remembered."""

    @contextmanager
    def opened() -> Any:
        again = opening.open_node(str(node.paths.root))
        try:
            yield again
        finally:
            again.close()

    return opened()


def test_a_regeneration_before_a_move_home_does_not_take_its_key_away(
    node: Node, outside: Outside, meanwhile: Callable[[Callable[[], object]], None]
) -> None:
    """The move wrapped the RMK by the configuration key that the regeneration had just removed: all extracts were lost."""
    node.modes.set_mode(BAO, "os:tester")
    header, dek = node.envelope_keys.new_envelope(HERE)
    meanwhile(lambda: node.regenerate.run("os:tester", lambda _: None))
    assert node.modes.set_mode(None, "os:tester").done
    with restarted(node) as again:
        assert again.kms_store.status().is_ok
        assert again.envelope_keys.open_envelope(header, HERE).dek == dek


def test_a_regeneration_before_new_credentials_does_not_seal_them_away(
    node: Node, outside: Outside, meanwhile: Callable[[Callable[[], object]], None]
) -> None:
    """`kms.roots` was sealed by the configuration key that the regeneration had just removed."""
    node.modes.set_mode(BAO, "os:tester")
    renewed = RootSettings(BAO.kind, BAO.root_key_id, {}, {"token": SecretBytes(b"another")})
    meanwhile(lambda: node.regenerate.run("os:tester", lambda _: None))
    assert node.modes.set_mode(renewed, "os:tester").done
    with restarted(node) as again:
        assert again.kms_store.root_settings() == (renewed,)
        assert again.kms_store.status().is_ok


@pytest.mark.parametrize("second", ["move", "add"])
def test_a_root_that_is_added_before_a_change_stays_reachable(
    node: Node,
    outside: Outside,
    meanwhile: Callable[[Callable[[], object]], None],
    second: str,
) -> None:
    """The later change put the settings that it had seen before: the added root's credentials were gone."""
    meanwhile(lambda: node.roots.add(GCP, "os:tester"))
    if second == "move":
        node.modes.set_mode(BAO, "os:tester")
    else:
        node.roots.add(BAO, "os:tester")
    assert {root.kind for root in node.kms_store.root_settings()} == {"gcp", "openbao"}
    with restarted(node) as again:
        assert [state.problem for state in again.roots.list() if state.problem] == []


def test_one_root_is_not_added_twice_at_once(
    node: Node, outside: Outside, meanwhile: Callable[[Callable[[], object]], None]
) -> None:
    meanwhile(lambda: node.roots.add(GCP, "os:tester"))
    with pytest.raises(StateError, match="already"):
        node.roots.add(GCP, "os:tester")
    assert [state.kind for state in node.roots.list()] == ["local", "gcp"]


def test_two_moves_at_once_come_one_after_the_other(
    node: Node, outside: Outside, meanwhile: Callable[[Callable[[], object]], None]
) -> None:
    header, dek = node.envelope_keys.new_envelope(HERE)
    meanwhile(lambda: node.modes.set_mode(GCP, "os:tester"))
    assert node.modes.set_mode(BAO, "os:tester").done
    with restarted(node) as again:
        status = again.kms_store.status()
        assert (status.mode, status.is_ok, len(status.meks)) == ("openbao", True, 3)
        assert again.kms_store.root_settings() == (BAO,)
        assert again.envelope_keys.open_envelope(header, HERE).dek == dek


def test_a_setting_applied_during_a_move_stops_it_and_nothing_else(
    node: Node, outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The compare-and-set: neither the setting nor the store is lost."""
    before, real = node.kms_store.current(), StoreKeeper.put

    def put(self: StoreKeeper, *arguments: Any) -> None:
        monkeypatch.setattr(StoreKeeper, "put", real)
        node.configuration.set("gateway.public.port", "8443", actor="os:tester", force=True)
        node.configuration.apply(actor="os:tester")
        real(self, *arguments)

    monkeypatch.setattr(StoreKeeper, "put", put)
    with pytest.raises(StrongroomError, match="version"):
        node.modes.set_mode(BAO, "os:tester")
    assert node.kms_store.current() == before
    assert node.configuration.effective("gateway.public.port") == "8443"
    assert ROOTS not in node.configuration.document().values
    assert node.modes.set_mode(BAO, "os:tester").done


def test_a_store_that_moves_while_it_is_opened_is_opened_where_it_is_then(
    node: Node, outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reader asked for a root whose settings the move had just put away, and failed."""
    node.modes.set_mode(BAO, "os:tester")
    header, dek = node.envelope_keys.new_envelope(HERE)
    real = ConfiguredStore.load

    def load(self: ConfiguredStore) -> tuple[bytes, int]:
        found = real(self)
        monkeypatch.setattr(ConfiguredStore, "load", real)
        node.modes.set_mode(GCP, "os:tester")
        return found

    with restarted(node) as reader:
        monkeypatch.setattr(ConfiguredStore, "load", load)
        assert reader.envelope_keys.open_envelope(header, HERE).dek == dek


def test_a_recovery_root_that_becomes_the_mode_wraps_the_key_once(
    node: Node, outside: Outside
) -> None:
    """It stood in the list twice, and looked like two ways to the keys."""
    node.roots.add(GCP, "os:tester")
    node.roots.add(TPM, "os:tester")
    node.modes.set_mode(GCP, "os:tester")
    assert [(state.kind, state.role) for state in node.roots.list()] == [
        ("gcp", "mode"),
        ("tpm", "recovery"),
    ]


def test_a_root_that_dies_right_after_the_commit_ends_no_service(
    node: Node, outside: Outside
) -> None:
    """The process that moved asked the new root once more for what it had just proved, and read nothing until it answered."""
    header, dek = node.envelope_keys.new_envelope(HERE)
    outside.left = 5  # the check takes two calls, the move and its proof three
    node.modes.set_mode(BAO, "os:tester")
    assert not node.kms_store.status().is_ok
    assert node.envelope_keys.open_envelope(header, HERE).dek == dek
    node.envelope_keys.new_envelope(HERE)


# ---- leaving keys behind -------------------------------------------------------------------------


def test_a_move_to_a_root_that_dies_at_once_loses_nothing_of_before(
    node: Node, outside: Outside
) -> None:
    """The store from before the move was thrown away, though it alone still opened."""
    header, dek = node.envelope_keys.new_envelope(HERE)
    known = {mek.id for mek in node.kms_store.status().meks}
    outside.left = 5  # the check takes two calls, the move and its proof three
    node.modes.set_mode(BAO, "os:tester")
    assert PREVIOUS_STORE in node.configuration.document().values
    with restarted(node) as again:
        left = again.modes.set_mode(None, "os:tester", abandon=True)
        assert left.done
        assert not known & set(left.abandoned)
        assert len(left.abandoned) == 1
        assert again.envelope_keys.open_envelope(header, HERE).dek == dek
        states = [mek.state for mek in again.kms_store.status().meks]
        assert sorted(states) == [
            MekState.DECRYPT_ONLY,
            MekState.ENCRYPT_OR_DECRYPT,
            MekState.UNAVAILABLE,
        ]
        outside.left = -1
        again.roots.adopt("os:tester")
        assert MekState.UNAVAILABLE not in [mek.state for mek in again.kms_store.status().meks]


def test_keys_are_left_behind_once(
    node: Node, outside: Outside, meanwhile: Callable[[Callable[[], object]], None]
) -> None:
    """The second one left the store behind that the first had just made, and that opened."""
    node.modes.set_mode(BAO, "os:tester")
    outside.failure = RootUnavailableError("gone")
    node.kms_cache.forget()
    meanwhile(lambda: node.modes.set_mode(None, "os:tester", abandon=True))
    with pytest.raises(ConflictError, match="by now"):
        node.modes.set_mode(None, "os:tester", abandon=True)
    status = node.kms_store.status()
    assert (status.is_ok, status.mode, len(status.meks)) == (True, "local", 3)


def test_keys_that_are_made_and_left_behind_are_told(node: Node, outside: Outside) -> None:
    """C-23: the log said that the mode had changed, and of no key."""
    node.modes.set_mode(BAO, "os:tester")
    outside.failure = RootUnavailableError("gone")
    node.kms_cache.forget()
    seen = len(list(node.events.read()))
    left = node.modes.set_mode(None, "os:tester", abandon=True).abandoned
    told = [(record["id"], record["details"]) for record in list(node.events.read())[seen:]]
    opened = node.kms_cache.opened()
    for kind, key_id in (("rmk", opened.rmk.id), ("mek", opened.ring.active.id)):
        assert (key_events.KEY_GENERATED, {"kind": kind, "key_id": key_id}) in told
    for mek_id in left:
        lost = {"kind": "mek", "key_id": mek_id, "state": "unavailable"}
        assert (key_events.KEY_CHANGED, lost) in told


def test_a_store_that_was_rolled_back_is_not_left_behind(
    node: Node, outside: Outside, tmp_path: Path
) -> None:
    """R19: the new store's epoch would have become the highest seen, and hidden the rollback."""
    node.modes.set_mode(BAO, "os:tester")
    node.close()
    old = shutil.copytree(node.paths.coordination.parent, tmp_path / "old")
    with restarted(node) as again:
        again.meks.rotate("os:tester")
        again.meks.rotate("os:tester")
    shutil.rmtree(node.paths.coordination.parent)
    shutil.copytree(old, node.paths.coordination.parent)
    outside.failure = RootUnavailableError("gone")
    with restarted(node) as again, pytest.raises(IntegrityError, match="rolled back"):
        again.modes.set_mode(None, "os:tester", abandon=True)


# ---- dry runs ------------------------------------------------------------------------------------


def test_a_dry_run_says_that_the_present_keys_do_not_open(node: Node, outside: Outside) -> None:
    """It said "works", and the move itself then failed."""
    node.modes.set_mode(BAO, "os:tester")
    outside.failure = RootUnavailableError("gone")
    node.kms_cache.forget()
    version = node.configuration.version
    with pytest.raises(StrongroomError, match="cannot be moved"):
        node.modes.set_mode(None, "os:tester", dry_run=True)
    tried = node.modes.set_mode(None, "os:tester", dry_run=True, abandon=True)
    assert not tried.done
    assert "leave 2 MEKs behind" in tried.plan[1]
    assert node.configuration.version == version


def test_a_dry_run_with_other_credentials_tries_them(node: Node, outside: Outside) -> None:
    """It said "already" without asking anybody."""
    node.modes.set_mode(BAO, "os:tester")
    renewed = RootSettings(BAO.kind, BAO.root_key_id, {}, {"token": SecretBytes(b"another")})
    version, calls = node.configuration.version, outside.calls
    tried = node.modes.set_mode(renewed, "os:tester", dry_run=True)
    assert (tried.done, len(tried.plan)) == (False, 1)
    assert outside.calls == calls + 2  # a round trip, and the present wrap
    outside.failure = RootUnavailableError("wrong token")
    with pytest.raises(RootUnavailableError):
        node.modes.set_mode(renewed, "os:tester", dry_run=True)
    assert node.configuration.version == version


# ---- what is put away ----------------------------------------------------------------------------


def test_a_settling_that_was_killed_is_finished_by_the_next_status(
    node: Node, outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The version before, with the old root's wrap and credentials, stayed for good."""
    node.modes.set_mode(BAO, "os:tester")
    configuration = node.configuration
    monkeypatch.setattr(configuration, "forget_previous", lambda: None)
    node.modes.set_mode(None, "os:tester")
    monkeypatch.undo()
    assert node.coordinator.get("config/previous") is not None
    outside.stand_in(monkeypatch)
    assert node.kms_store.prove().is_ok
    assert node.coordinator.get("config/previous") is None
    assert differing_files(configuration) == ()


def test_clients_of_a_root_that_was_left_are_forgotten(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They held the token, in the serving process, until its end."""
    outside = Outside()

    monkeypatch.setattr(bootstrap_roots, "provider", lambda settings, _: outside.provider(settings))
    node.modes.set_mode(BAO, "os:tester")
    node.modes.set_mode(GCP, "os:tester")
    node.kms_cache.forget()
    node.kms_cache.opened()
    held = [root.settings for root in node._providers._built.values()]  # type: ignore[attr-defined]
    assert held == [GCP]


def test_a_client_that_is_made_while_others_are_forgotten_is_not_lost(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A move and a reader at once: the reader forgot what the move had just made, and the move ended with a KeyError."""

    outside, roots = Outside(), node._providers

    class Watched(dict[bytes, RootProvider]):
        @override
        def __setitem__(self, key: bytes, root: RootProvider) -> None:
            super().__setitem__(key, root)
            roots._forget_left(frozenset({b"what another thread sees"}))

    monkeypatch.setattr(bootstrap_roots, "provider", lambda settings, _: outside.provider(settings))
    roots._stored = frozenset({b"what was seen before"})
    roots._built = Watched()
    assert roots.build(BAO).describe().root_key_id == BAO.root_key_id


# ---- in the middle of a regeneration ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "source"),
    [*((step, BAO) for step in STEPS), ("_add_configuration_key", None), ("_replace_values", None)],
)
def test_a_move_between_two_runs_of_a_regeneration(
    node: Node,
    outside: Outside,
    step: str,
    source: RootSettings | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A regeneration that was killed after any step, then a move, then its second run: every key is found where it is."""
    target = None if source else BAO
    node.modes.set_mode(source, "os:tester")
    header, dek = node.envelope_keys.new_envelope(HERE)
    original = getattr(RegenerateService, step)

    class CutError(Exception):
        pass

    def cut(service: RegenerateService, *arguments: object) -> None:
        original(service, *arguments)
        raise CutError

    with monkeypatch.context() as patched:
        patched.setattr(RegenerateService, step, cut)
        with pytest.raises(CutError):
            node.regenerate.run("os:tester", lambda _: None)
    with restarted(node) as moving:
        assert moving.modes.set_mode(target, "os:tester").done
    with restarted(node) as resuming:
        assert resuming.regenerate.run("os:tester", lambda _: None).resumed
    with restarted(node) as again:
        status = again.kms_store.status()
        assert (status.is_ok, status.mode) == (True, target.kind if target else "local")
        assert again.envelope_keys.open_envelope(header, HERE).dek == dek
        assert again.kms_store.root_settings() == ((target,) if target else ())
        keys = again.open_configuration_keys(again.configuration.document().installation_id)
        assert len(keys.records) == 1
