"""The configuration service over a real keystore, coordinator and event log: C-07, C-19, C-24, P11, P16, Q-13, Q-14."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom import ids
from strongroom.clock import SystemClock
from strongroom.config import reseal, versions, yaml_files
from strongroom.config.document import ConfigDocument
from strongroom.coordination.base import Change
from strongroom.crypto import rng
from strongroom.errors import (
    ConflictError,
    FormatError,
    IntegrityError,
    NotFoundError,
    PermissionDeniedError,
    StateError,
    StorageError,
    StrongroomError,
    UsageError,
)
from strongroom.node.opening import Node
from strongroom.runtime.paths import DataPaths
from strongroom.secrets import committed, enc
from strongroom.services.configuration.service import LOCK, ConfigurationService
from tests.support.small_node import ALIAS, STORE, copy_small_node
from tests.support.stored_forms import differing_files

ACTOR = "os:anna"
HIERARCHY = ["kms.persistent_store", "kms.previous_store", "asset.keys"]


@pytest.fixture
def node(pristine: Path, tmp_path: Path) -> Iterator[Node]:
    made = copy_small_node(pristine, tmp_path)
    yield made
    made.close()


@pytest.fixture
def service(node: Node) -> ConfigurationService:
    return node.configuration


def second(node: Node) -> ConfigurationService:
    """Another process's view of the same node."""
    other = Node(DataPaths(node.paths.root), SystemClock())
    node._closing.callback(other.close)
    return other.configuration


def logged(node: Node) -> list[tuple[object, object, object]]:
    return [(one["id"], one["actor"], one["details"]) for one in node.events.read()]


# ---- reading -------------------------------------------------------------------------------------


def test_get_a_secret_leaves_an_event(node: Node, service: ConfigurationService) -> None:
    """C-25, P16: who, what, why; never the value."""
    value = service.get("pgsql.readonly_password", actor=ACTOR, reason="ticket 7")
    assert value == service.open_secret("pgsql.readonly_password").reveal().decode()
    details = {"parameter": "pgsql.readonly_password", "reason": "ticket 7"}
    assert logged(node) == [("SECRET_REVEALED", ACTOR, details)]
    assert value is not None
    assert value.encode() not in node.paths.events.read_bytes()


def test_no_event_no_value(
    node: Node, service: ConfigurationService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event is written first: if it cannot be, nothing is shown."""

    def full(_: object) -> None:
        raise StorageError("the event log cannot be written")

    monkeypatch.setattr(node.events, "append", full)
    with pytest.raises(StorageError):
        service.get("redis.password", actor=ACTOR)


def test_unset_default_set_and_unknown_are_told_apart(service: ConfigurationService) -> None:
    """P11."""
    assert service.get("ssl.key.passphrase", actor=ACTOR) is None
    assert service.get("backgrounder.timeout_tasks", actor=ACTOR) is None
    assert service.get("gateway.timeout", actor=ACTOR) == "7200"
    with pytest.raises(NotFoundError, match=r"^Unknown key"):
        service.get("Gateway.timeout", actor=ACTOR)
    assert service.state("ssl.key.passphrase") == "unset"
    assert service.state("gateway.timeout") == "default"
    assert service.state("redis.password") == "set"
    with pytest.raises(NotFoundError):
        service.state("Gateway.timeout")


@pytest.mark.parametrize(
    "name", ["kms.persistent_store", "asset.keys", "indexandsearchserver.ssl.root.key.file_bytes"]
)
def test_key_material_only_if_asked_for(
    node: Node, service: ConfigurationService, name: str
) -> None:
    """Q-13."""
    with pytest.raises(PermissionDeniedError, match="key material"):
        service.get(name, actor=ACTOR)
    assert logged(node) == []
    value = service.get(name, actor=ACTOR, reveal_key_material=True)
    assert value
    assert [event for event, _, _ in logged(node)] == ["SECRET_REVEALED"]


def test_program_s_own_reads_leave_no_event(node: Node, service: ConfigurationService) -> None:
    assert service.open_secret("kms.persistent_store").reveal() == STORE
    assert service.effective("gateway.timeout") == "7200"
    assert logged(node) == []
    with pytest.raises(NotFoundError, match="not set"):
        service.open_secret("ssl.key.passphrase")
    with pytest.raises(UsageError):
        service.effective("redis.password")


def test_a_value_that_is_not_text(service: ConfigurationService) -> None:
    text = service.seal_secret("asset.keys", b"\xff")
    service.compare_and_put(lambda document: document.with_values({"asset.keys": text}))
    with pytest.raises(FormatError, match="not text"):
        service.get("asset.keys", actor=ACTOR, reveal_key_material=True)


def test_a_value_moved_to_another_parameter(service: ConfigurationService) -> None:
    """Q-10."""
    stolen = service.document().values["jdbc.password"]
    service.compare_and_put(lambda document: document.with_values({"redis.password": stolen}))
    with pytest.raises(IntegrityError):
        service.get("redis.password", actor=ACTOR)


def test_lists_show_no_secret(node: Node, service: ConfigurationService) -> None:
    """Q-14."""
    rows = {row.key: row for row in service.list()}
    assert rows["redis.password"].value == "********"
    assert rows["redis.password"].secret
    assert rows["ssl.key.passphrase"].value is None
    assert rows["gateway.timeout"].value == "7200"
    assert rows["vizqlserver.log.level"].dynamic
    assert sum(row.state == "set" for row in rows.values()) == 19
    assert logged(node) == []


def test_no_configuration(tmp_path: Path) -> None:
    node = Node(DataPaths(tmp_path), SystemClock())
    node.create_coordinator()
    with pytest.raises(StateError, match="no configuration"):
        node.configuration.document()
    node.close()


# ---- pending changes -----------------------------------------------------------------------------


def test_the_same_bytes_before_and_after_promotion(
    node: Node, service: ConfigurationService
) -> None:
    """C-07: the still encrypted secret is promoted; no plaintext in the coordination service."""
    service.set("redis.password", "hunter2-canary", actor=ACTOR)
    entry = node.coordinator.get(versions.PENDING)
    assert entry is not None
    loaded = service._pending.load(service.document())
    assert loaded is not None
    before = loaded.pending.changes["redis.password"]
    assert before is not None
    assert before.encode() not in entry.value
    service.apply(actor=ACTOR)
    assert service.document().values["redis.password"] == before
    assert node.coordinator.get(versions.PENDING) is None
    for path in node.paths.root.rglob("*"):
        if path.is_file():
            assert b"hunter2-canary" not in path.read_bytes()
    for folder in node.paths.config.iterdir():
        assert f"redis.password: {before}\n" in (folder / "workgroup.yml").read_text()


def test_pending_values_are_not_applied_values(service: ConfigurationService) -> None:
    """C-19."""
    service.set("gateway.timeout", "100", actor=ACTOR)
    assert service.get("gateway.timeout", actor=ACTOR) == "7200"
    assert service.version == 1
    service.apply(actor=ACTOR)
    assert service.get("gateway.timeout", actor=ACTOR) == "100"
    assert service.version == 2


def test_view(service: ConfigurationService) -> None:
    """Q-14."""
    assert service.pending() is None
    service.set("vizqlserver.log.level", "debug", actor=ACTOR)
    view = service.set("redis.password", "x", actor=ACTOR)
    assert view == service.pending()
    assert [(one.key, one.value, one.needs_restart) for one in view.changes] == [
        ("redis.password", "********", True),
        ("vizqlserver.log.level", "debug", False),
    ]
    assert view.needs_restart
    assert view.base_version == 1


def test_events_of_a_change(node: Node, service: ConfigurationService) -> None:
    """C-23 (c)."""
    service.set("redis.password", "x", actor=ACTOR)
    service.set("gateway.timeout", "1", actor=ACTOR)
    service.apply(actor=ACTOR)
    key_id = service.document().configuration_key_id
    assert logged(node) == [
        ("SECRET_ENCRYPTED", ACTOR, {"parameter": "redis.password", "key_id": key_id}),
        ("CONFIGURATION_APPLIED", ACTOR, {"version": 2, "keys": 2, "secrets": "redis.password"}),
    ]


def test_reset(service: ConfigurationService) -> None:
    service.set("gateway.timeout", "100", actor=ACTOR)
    service.apply(actor=ACTOR)
    service.reset("gateway.timeout", actor=ACTOR)
    service.apply(actor=ACTOR)
    assert service.state("gateway.timeout") == "default"


@pytest.mark.parametrize("name", HIERARCHY)
def test_the_key_hierarchy_is_nobody_s(service: ConfigurationService, name: str) -> None:
    """format/configuration.md §2.2; force does not help."""
    with pytest.raises(PermissionDeniedError):
        service.set(name, "x", actor=ACTOR, force=True)
    with pytest.raises(PermissionDeniedError):
        service.reset(name, actor=ACTOR)
    assert service.pending() is None


def test_unknown_keys_by_force(service: ConfigurationService) -> None:
    with pytest.raises(NotFoundError):
        service.set("my.password", "x", actor=ACTOR)
    with pytest.raises(NotFoundError):
        service.reset("my.password", actor=ACTOR)
    service.set("my.password", "x", actor=ACTOR, force=True)
    service.set("my.setting", "y", actor=ACTOR, force=True)
    service.apply(actor=ACTOR)
    assert enc.is_enc(service.document().values["my.password"])
    assert service.get("my.password", actor=ACTOR) == "x"
    assert service.get("my.setting", actor=ACTOR) == "y"
    service.reset("my.setting", actor=ACTOR)
    service.apply(actor=ACTOR)
    with pytest.raises(NotFoundError):
        service.get("my.setting", actor=ACTOR)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("gateway.timeout", "soon"),
        ("basefilepath.log_archive", "ENC(AAAA)"),
        ("redis.password", "\udcff"),
        ("bad name", "x"),
    ],
)
def test_bad_values(service: ConfigurationService, key: str, value: str) -> None:
    with pytest.raises(UsageError):
        service.set(key, value, actor=ACTOR, force=True)
    assert service.pending() is None


def test_a_secret_may_look_like_anything(service: ConfigurationService) -> None:
    for value in ("ENC(AAAA)", "", "a\nb\n", "\u00e4\0"):
        service.set("redis.password", value, actor=ACTOR)
        service.apply(actor=ACTOR)
        assert service.get("redis.password", actor=ACTOR) == value


def test_discard(node: Node, service: ConfigurationService) -> None:
    assert not service.discard()
    service.set("gateway.timeout", "100", actor=ACTOR)
    assert service.discard()
    assert service.pending() is None
    assert service.apply(actor=ACTOR) is None
    # format/pending-changes.md §4.4: also what does not open
    node.coordinator.put({versions.PENDING: Change(b"damaged", 0)})
    with pytest.raises(FormatError):
        service.pending()
    with pytest.raises(FormatError):
        service.apply(actor=ACTOR)
    assert service.discard()


def test_only_what_was_shown_is_applied(node: Node, service: ConfigurationService) -> None:
    shown = service.set("gateway.timeout", "100", actor=ACTOR)
    second(node).set("redis.password", "x", actor=ACTOR)
    with pytest.raises(ConflictError, match="not those that were shown"):
        service.apply(actor=ACTOR, revision=shown.revision)
    assert service.version == 1


@pytest.mark.parametrize("second_value", ["200", "100"], ids=["another", "the same"])
def test_what_replaced_the_shown_changes_is_not_applied(
    node: Node, service: ConfigurationService, second_value: str
) -> None:
    """format/pending-changes.md §4.5: after a discard the entry's version begins at 1 again."""
    shown = service.set("gateway.timeout", "100", actor=ACTOR)
    assert service.pending() == shown
    other = second(node)
    other.discard()
    staged = other.set("gateway.timeout", second_value, actor=ACTOR)
    with pytest.raises(ConflictError, match="not those that were shown"):
        service.apply(actor=ACTOR, revision=shown.revision)
    assert service.version == 2, "the discard raised the floor of transactions"
    assert service.pending() == staged
    assert service.apply(actor=ACTOR, revision=staged.revision) is not None
    assert service.get("gateway.timeout", actor=ACTOR) == second_value


def test_restart_is_asked_for_only_if_needed(node: Node, service: ConfigurationService) -> None:
    """C-20, format/configuration.md §2.3."""
    service.set("vizqlserver.log.level", "debug", actor=ACTOR)
    service.apply(actor=ACTOR)
    assert node.coordinator.get(versions.RESTART) is None
    for expected in (b"3", b"4"):
        service.set("gateway.timeout", expected.decode(), actor=ACTOR)
        service.apply(actor=ACTOR)
        entry = node.coordinator.get(versions.RESTART)
        assert entry is not None
        assert entry.value == expected


def test_a_promotion_takes_a_changed_base(node: Node, service: ConfigurationService) -> None:
    """format/pending-changes.md §4.1: the key management worked in between."""
    service.set("gateway.timeout", "100", actor=ACTOR)
    text = service.seal_secret("kms.persistent_store", b"new")
    service.compare_and_put(lambda old: old.with_values({"kms.persistent_store": text}))
    assert service.apply(actor=ACTOR) is not None
    assert service.open_secret("kms.persistent_store").reveal() == b"new"
    assert service.get("gateway.timeout", actor=ACTOR) == "100"
    previous = versions.load_previous(node.coordinator)
    assert previous is not None
    assert previous.version == 2
    assert "gateway.timeout" not in previous.values


def test_projection_fails_after_the_commit(
    service: ConfigurationService, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.set("gateway.timeout", "100", actor=ACTOR)

    def full(*_: object) -> None:
        raise StorageError("no space")

    with monkeypatch.context() as patch:
        patch.setattr(yaml_files, "project", full)
        with pytest.raises(StorageError) as caught:
            service.apply(actor=ACTOR)
    assert "are applied" in caught.value.hint
    assert service.get("gateway.timeout", actor=ACTOR) == "100"
    assert len(service.project()) == 12


# ---- several at once -----------------------------------------------------------------------------


def test_a_held_lock(node: Node, service: ConfigurationService) -> None:
    """Another process in the middle of a change: named, and nothing is lost."""
    service.set("gateway.timeout", "1", actor=ACTOR)
    with (
        node.coordinator.lock(LOCK, wait_s=0),
        pytest.raises(ConflictError, match="configuration is locked by os:"),
    ):
        second(node).apply(actor=ACTOR, wait_s=0)
    assert second(node).apply(actor=ACTOR, wait_s=0) is not None


def test_two_set_at_once(node: Node, service: ConfigurationService) -> None:
    """No change is lost."""
    names = [f"my.key{n}" for n in range(24)]

    def work(mine: ConfigurationService, part: list[str]) -> None:
        for name in part:
            mine.set(name, "x", actor=ACTOR, force=True)

    workers = [
        threading.Thread(target=work, args=(service, names[:12])),
        threading.Thread(target=work, args=(second(node), names[12:])),
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    view = service.pending()
    assert view is not None
    assert {change.key for change in view.changes} == set(names)


def test_compare_and_put_tries_again(node: Node, service: ConfigurationService) -> None:
    other = second(node)
    calls: list[int] = []

    def mutate(document: ConfigDocument) -> ConfigDocument:
        if not calls:
            other.compare_and_put(lambda old: old.with_values({"a.b": "other"}))
        calls.append(document.version)
        return document.with_values({"c.d": "mine"})

    after = service.compare_and_put(mutate)
    assert calls == [1, 2]
    assert after.version == 3
    assert {"a.b", "c.d"} <= after.values.keys()


def test_compare_and_put_of_one_version(node: Node, service: ConfigurationService) -> None:
    other = second(node)
    with pytest.raises(ConflictError):
        service.compare_and_put(lambda old: old, expected_version=7)

    def mutate(document: ConfigDocument) -> ConfigDocument:
        other.compare_and_put(lambda old: old)
        return document

    with pytest.raises(ConflictError):
        service.compare_and_put(mutate, expected_version=1)
    assert service.version == 2


def test_compare_and_put_with_other_entries(node: Node, service: ConfigurationService) -> None:
    service.compare_and_put(lambda old: old, also=lambda _: {"journal": Change(b"1", 0)})
    entry = node.coordinator.get("journal")
    assert entry is not None
    with pytest.raises(ConflictError):
        service.compare_and_put(lambda old: old, also=lambda _: {"journal": Change(b"2", 0)})
    assert service.version == 2


def test_plaintext_never_gets_in(service: ConfigurationService) -> None:
    with pytest.raises(StateError, match="must be encrypted"):
        service.compare_and_put(lambda old: old.with_values({"redis.password": "plain"}))
    with pytest.raises(StateError, match="must not be encrypted"):
        service.compare_and_put(lambda old: old.with_values({"gateway.timeout": "ENC(AAAA)"}))
    assert service.version == 1


def test_create(service: ConfigurationService) -> None:
    """Again the same: fine; another one: refused."""
    present = service.document()
    service.create(present)
    with pytest.raises(ConflictError):
        service.create(present.with_values({"a.b": "c"}))


# ---- the key management --------------------------------------------------------------------------


def test_a_new_configuration_key(node: Node, service: ConfigurationService) -> None:
    """C-24 as the key management will do it, with a change pending under the old key."""
    service.set("oauth.google.client_secret", "from the administrator", actor=ACTOR)
    service.apply(actor=ACTOR)
    service.set("ssl.key.passphrase", "pending", actor=ACTOR)
    old_id = service.document().configuration_key_id
    new_key, new_id = rng.new_key(), ids.new_id()
    keys, now = node.open_configuration_keys(service.document().installation_id), node.clock.now()
    keys.add_next(keys.wrapping.new_record(new_key, key_id=new_id, created_at=now, alias=ALIAS))
    service.compare_and_put(
        lambda document: reseal.reseal_all(
            document, service.open_key, new_key, new_id, {"redis.password": b"renewed"}
        )
    )
    assert service.configuration_keys_in_use() == {old_id, new_id}
    assert service.get("oauth.google.client_secret", actor=ACTOR) == "from the administrator"
    assert second(node).get("redis.password", actor=ACTOR) == "renewed"

    service.forget_previous()
    service.forget_previous()
    assert service.configuration_keys_in_use() == {old_id, new_id}, "the pending change needs it"
    service.apply(actor=ACTOR)
    assert service.get("ssl.key.passphrase", actor=ACTOR) == "pending"
    service.set("ssl.key.passphrase", "again", actor=ACTOR)
    service.apply(actor=ACTOR)
    service.forget_previous()
    assert service.configuration_keys_in_use() == {new_id}


def test_seal_under_a_named_key(service: ConfigurationService) -> None:
    key_id = service.document().configuration_key_id
    assert committed.key_id_of(service.seal_secret("asset.keys", b"x", key_id)) == key_id
    with pytest.raises(StrongroomError):
        service.seal_secret("asset.keys", b"x", ids.new_id())


def test_differing_files(node: Node, service: ConfigurationService) -> None:
    assert differing_files(service) == ()
    service.compare_and_put(lambda old: old.with_values({"a.b": "c"}))
    assert len(differing_files(service)) == len(service.project()) == 12
    assert differing_files(service) == ()
    assert all(
        yaml_files.parse((folder / "tabsvc.yml").read_bytes())["a.b"] == "c"
        for folder in node.paths.config.iterdir()
    )
