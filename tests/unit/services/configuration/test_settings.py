"""Settings out of one node and into another, over real keystores, coordinators and event logs (C-12 … C-19; P10, Q-09)."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from strongroom.config import document as config_document
from strongroom.config import versions
from strongroom.config.import_rules import Outcome
from strongroom.coordination.base import Versioned
from strongroom.crypto import age
from strongroom.crypto.age import OpenWith, SealTo
from strongroom.errors import FormatError, StorageError, UsageError
from strongroom.node.opening import Node
from strongroom.secrets import enc
from strongroom.services.configuration.settings import Imported, ImportOptions
from tests.support.small_node import copy_small_node, create_small_node

ACTOR = "os:anna"
PLAIN = SealTo()
SMTP = "svcmonitor.notification.smtp.password"
ALL = ImportOptions()
NOTHING = ImportOptions(configuration=False, topology=False)


@pytest.fixture
def node(pristine: Path, tmp_path: Path) -> Iterator[Node]:
    made = copy_small_node(pristine, tmp_path / "one")
    yield made
    made.close()


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Node]:
    """Another installation."""
    made = create_small_node(tmp_path / "two")
    yield made
    made.close()


def exported(node: Node, **options: bool) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        node.settings.export(ACTOR, "a file", PLAIN, **options).text.reveal()
    )
    return found


def imported(
    node: Node,
    keys: Mapping[str, object],
    options: ImportOptions = ALL,
    **parts: object,
) -> Imported:
    text = json.dumps({"configKeys": keys, **parts}).encode()
    return node.settings.import_(text, options, actor=ACTOR, source="a pipe")


def outcomes(found: Imported) -> dict[str, str]:
    return {one.key: one.outcome.value for one in found.verdicts}


def pending(node: Node) -> Versioned | None:
    return node.coordinator.get(versions.PENDING)


def logged(node: Node) -> list[tuple[str, dict[str, Any]]]:
    return [(str(one["id"]), dict(one["details"])) for one in node.events.read()]  # type: ignore[call-overload]


def set_and_apply(node: Node, key: str, value: str, *, force: bool = False) -> None:
    node.configuration.set(key, value, actor=ACTOR, force=force)
    node.configuration.apply(actor=ACTOR)


# ---- out -----------------------------------------------------------------------------------------


def test_an_export_has_every_applied_value_in_the_clear(node: Node) -> None:
    """C-14; what is pending is not in it."""
    set_and_apply(node, "gateway.timeout", "900")
    node.configuration.set("gateway.timeout", "901", actor=ACTOR)
    keys = exported(node)["configKeys"]
    assert keys["gateway.timeout"] == "900"
    assert (
        keys["redis.password"] == node.configuration.open_secret("redis.password").reveal().decode()
    )
    assert not any(value.startswith("ENC(") for value in keys.values())
    missing = node.configuration.document().values.keys() - keys.keys()
    assert missing == {"kms.persistent_store", "asset.keys"}


def test_an_export_holds_no_key_of_the_hierarchy(node: Node) -> None:
    """Q-09: neither keystore nor configuration keys nor the KMS store, whatever the options."""
    text = node.settings.export(ACTOR, "a file", PLAIN).text.reveal()
    values = node.configuration.document().values
    assert b"kms." not in text
    assert b"asset.keys" not in text
    assert values["kms.persistent_store"].encode() not in text
    assert node.keystore.password_file.read_bytes().strip() not in text


def test_each_secret_leaves_an_event_before_the_text_is_there(node: Node) -> None:
    """P16, issue part F: who, which, why."""
    found = node.settings.export(ACTOR, "/mnt/out.json", PLAIN)
    events = logged(node)
    assert [event for event, _ in events] == ["SECRET_REVEALED"] * found.secrets + [
        "EXPORT_PLAINTEXT"
    ]
    assert events[0][1]["reason"] == "settings export to /mnt/out.json"
    assert events[-1][1] == {"target": "/mnt/out.json", "keys": found.keys}


def test_no_event_no_export(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: object) -> None:
        raise StorageError("the event log cannot be written")

    monkeypatch.setattr(node.events, "append", full)
    with pytest.raises(StorageError):
        node.settings.export(ACTOR, "a file", PLAIN)


def test_an_export_without_secrets_opens_none(node: Node) -> None:
    """P7."""
    set_and_apply(node, "gateway.timeout", "900")
    before = len(logged(node))
    assert exported(node, with_secrets=False)["configKeys"] == {"gateway.timeout": "900"}
    assert logged(node)[before:] == [("EXPORT_WITHOUT_SECRETS", {"target": "a file", "keys": 1})]


def test_a_sealed_export_opens_for_its_recipients_only(node: Node) -> None:
    """P7."""
    one, two = age.new_identity(), age.new_identity()
    to = SealTo((one.recipient, two.recipient))
    sealed = node.settings.export(ACTOR, "a file", to).text.reveal()
    texts = {age.open_sealed(sealed, OpenWith((each,))).reveal() for each in (one, two)}
    (text,) = texts
    assert "redis.password" in json.loads(text)["configKeys"]
    event, details = logged(node)[-1]
    assert event == "EXPORT_SEALED"
    assert details["recipients"] == f"{one.recipient} {two.recipient}"


# ---- in ------------------------------------------------------------------------------------------


def test_an_import_is_one_pending_transaction(node: Node) -> None:
    """C-19: pending, not in force; events by name, never a value."""
    found = imported(node, {"gateway.timeout": "900", SMTP: "of the import"})
    assert outcomes(found) == {"gateway.timeout": "accepted", SMTP: "accepted"}
    assert found.pending is not None
    assert [change.key for change in found.pending.changes] == ["gateway.timeout", SMTP]
    assert node.configuration.effective("gateway.timeout") == "7200"
    events = logged(node)
    assert [event for event, _ in events] == ["SECRET_ENCRYPTED", "IMPORT"]
    assert events[-1][1] == {"source": "a pipe", "keys": 2, "names": f"gateway.timeout {SMTP}"}
    assert b"of the import" not in node.paths.events.read_bytes()
    node.configuration.apply(actor=ACTOR)
    assert node.configuration.open_secret(SMTP).reveal() == b"of the import"


def test_an_import_joins_what_is_pending(node: Node) -> None:
    """Its keys win, the others stay, and the report counts them."""
    node.configuration.set("gateway.timeout", "1", actor=ACTOR)
    node.configuration.set("service.jmx_enabled", "true", actor=ACTOR)
    found = imported(node, {"gateway.timeout": "900"})
    assert found.kept == 1
    node.configuration.apply(actor=ACTOR)
    assert node.configuration.effective("gateway.timeout") == "900"
    assert node.configuration.effective("service.jmx_enabled") == "true"


def test_importing_again_changes_nothing(node: Node) -> None:
    """Applied or pending, plain or secret: the same value is no change."""
    keys = {"gateway.timeout": "900", SMTP: "of the import"}
    imported(node, keys)
    before = pending(node)
    again = imported(node, keys)
    assert set(outcomes(again).values()) == {"unchanged"}
    assert again.pending is None
    assert pending(node) == before
    node.configuration.apply(actor=ACTOR)
    assert imported(node, keys).pending is None
    assert pending(node) is None


def test_a_pending_reset_is_a_difference(node: Node) -> None:
    set_and_apply(node, "gateway.timeout", "900")
    node.configuration.reset("gateway.timeout", actor=ACTOR)
    assert outcomes(imported(node, {"gateway.timeout": "900"})) == {"gateway.timeout": "accepted"}


def test_nothing_to_import(node: Node) -> None:
    found = imported(node, {})
    assert (found.verdicts, found.pending) == ((), None)
    assert pending(node) is None
    assert logged(node) == []


def test_the_whole_way_to_another_installation(node: Node, other: Node) -> None:
    """C-12: all secrets and settings arrive; keys set by force need force again."""
    set_and_apply(node, SMTP, "ours")
    set_and_apply(node, "made.up.password", "forced", force=True)
    text = node.settings.export(ACTOR, "a file", PLAIN).text.reveal()
    refused = other.settings.import_(text, ImportOptions(), actor=ACTOR, source="a file")
    assert [one.key for one in refused.of(Outcome.REFUSED)] == ["made.up.password"]
    assert pending(other) is None
    other.settings.import_(text, ImportOptions(force=True), actor=ACTOR, source="a file")
    other.configuration.apply(actor=ACTOR)
    assert exported(other) == exported(node)


def test_only_one_part(node: Node) -> None:
    """`--config-only`, `--topology-only`."""
    foreign: dict[str, object] = {"nodes": {"node7": {"services": {}}}}
    keys = {"gateway.timeout": "900"}
    both = imported(node, keys, topologyVersion=foreign)
    assert outcomes(both) == {"gateway.timeout": "accepted", "topologyVersion": "refused"}
    assert pending(node) is None
    only = imported(node, keys, ImportOptions(configuration=False), topologyVersion=foreign)
    assert outcomes(only) == {"topologyVersion": "refused"}
    found = imported(node, keys, ImportOptions(topology=False), topologyVersion=foreign)
    assert outcomes(found) == {"gateway.timeout": "accepted"}
    assert found.pending is not None


def test_our_own_topology_is_unchanged(node: Node) -> None:
    topology = exported(node)["topologyVersion"]
    found = imported(node, {}, topologyVersion=topology)
    assert outcomes(found) == {"topologyVersion": "unchanged"}
    assert outcomes(imported(node, {}, topologyVersion={})) == {}


@pytest.mark.parametrize(
    ("entity", "outcome"),
    [
        ({"identityStore": {"_type": "identityStoreType", "type": "local"}}, "unchanged"),
        ({"identityStore": {"_type": "identityStoreType", "type": "activedirectory"}}, "refused"),
        ({"gatewaySettings": {"_type": "gatewaySettingsType", "port": 80}}, "refused"),
    ],
    ids=["local", "directory", "gateway"],
)
def test_entities(node: Node, entity: dict[str, object], outcome: str) -> None:
    found = imported(node, {}, configEntities=entity)
    assert list(outcomes(found).values()) == [outcome]


# ---- refused -------------------------------------------------------------------------------------

REFUSALS: dict[str, tuple[dict[str, object], str]] = {
    "unknown": ({"gateway.timeuot": "1"}, "nobody knows it; did you mean 'gateway.timeout'"),
    "no name": ({"../etc": "1"}, "no key's name"),
    "hierarchy": ({"kms.persistent_store": "x"}, "key management alone"),
    "asset keys": ({"asset.keys": "x"}, "key management alone"),
    "obsolete": ({"maestro.servicepassword": ""}, "obsolete"),
    "number": ({"gateway.timeout": 900}, "its value is a number"),
    "truth": ({"service.jmx_enabled": True}, "its value is true or false"),
    "null": ({"gateway.timeout": None}, "its value is null"),
    "object": ({"gateway.timeout": {}}, "its value is an object"),
    "list": ({"gateway.timeout": []}, "its value is a list"),
    "surrogate": ({SMTP: "\ud800"}, "no text in UTF-8"),
    "wrong type": ({"gateway.timeout": "soon"}, "it should be a whole number"),
    "too long": (
        {"backgrounder.timeout_tasks": "x" * (64 << 10 | 1)},
        "it should be a text of at most",
    ),
    "long secret": ({SMTP: "x" * (enc.MAX_VALUE_BYTES + 1)}, "longer than 4194304 bytes"),
    "ENC, ordinary": ({"gateway.timeout": "ENC(AAAA)"}, "it is an ordinary key"),
    "ENC, damaged": ({SMTP: "ENC(AAAA"}, "damaged"),
}


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node with something pending; no refusal changes it."""
    made = create_small_node(tmp_path_factory.mktemp("kept"))
    made.configuration.set("service.jmx_enabled", "true", actor=ACTOR)
    yield made
    made.close()


@pytest.mark.parametrize(("keys", "why"), REFUSALS.values(), ids=REFUSALS.keys())
def test_one_refused_key_refuses_all(kept: Node, keys: dict[str, object], why: str) -> None:
    """P10, format/settings.md §4.1, §4.2: said why, and nothing is staged."""
    state, told = pending(kept), logged(kept)
    found = imported(kept, {"backgrounder.querylimit": "900"} | keys)
    (refused,) = found.of(Outcome.REFUSED)
    assert refused.key in keys
    assert why in refused.why
    assert found.pending is None
    assert pending(kept) == state
    assert logged(kept) == told


def test_no_reason_quotes_a_value(node: Node) -> None:
    found = imported(node, {"gateway.timeout": "hunter2", SMTP: "ENC(hunter2)", "x": "hunter2"})
    assert len(found.of(Outcome.REFUSED)) == 3
    assert "hunter2" not in repr(found)


def test_encrypted_texts_of_this_installation_are_taken(node: Node) -> None:
    """From an old tabsvc.yml: they are opened and encrypted anew, or unchanged."""
    set_and_apply(node, SMTP, "first")
    first = node.configuration.document().values[SMTP]
    assert outcomes(imported(node, {SMTP: first})) == {SMTP: "unchanged"}
    set_and_apply(node, SMTP, "second")
    assert outcomes(imported(node, {SMTP: first})) == {SMTP: "accepted"}
    node.configuration.apply(actor=ACTOR)
    assert node.configuration.open_secret(SMTP).reveal() == b"first"


def test_encrypted_texts_of_others_are_refused(node: Node, other: Node) -> None:
    """P10, 3.5: they could never be decrypted, forced or not."""
    foreign = other.configuration.document()
    moved = node.configuration.document().values["redis.password"]
    keys = {"redis.password": foreign.values["redis.password"], SMTP: moved}
    for force in (False, True):
        found = imported(node, keys, ImportOptions(force=force))
        words = {one.key: one.why for one in found.of(Outcome.REFUSED)}
        assert foreign.configuration_key_id in words["redis.password"]
        assert "does not open as this key's value" in words[SMTP]
    assert pending(node) is None


def test_force_takes_harmless_keys_only(node: Node) -> None:
    """§4.3: the known harm of --force-keys."""
    force = ImportOptions(force=True)
    assert outcomes(imported(node, {"made.up": "1", "made.up.password": "2"}, force)) == {
        "made.up": "accepted",
        "made.up.password": "accepted",
    }
    harmful = {
        "maestro.servicepassword": "1",
        "kms.made_up": "1",
        "kms.roots": "1",
        "made.up.secret": "ENC(AAAA)",
        "other_secret": "ENC(AAAA)",
    }
    before = pending(node)
    assert set(outcomes(imported(node, harmful, force)).values()) == {"refused"}
    assert pending(node) == before
    node.configuration.apply(actor=ACTOR)
    assert node.configuration.open_secret("made.up.password").reveal() == b"2"


def test_a_secret_that_does_not_open_is_cured(node: Node) -> None:
    """The knowledge base's case from the other side: an import replaces what cannot be decrypted."""
    stolen = node.configuration.document().values["jdbc.password"]
    node.configuration.compare_and_put(lambda old: old.with_values({SMTP: stolen}))
    assert outcomes(imported(node, {SMTP: "new"})) == {SMTP: "accepted"}


def test_more_than_can_be_pending(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be read back is not written (pending-changes.md §2.1)."""
    monkeypatch.setattr(config_document, "MAX_DOCUMENT_BYTES", 30_000)
    with pytest.raises(UsageError, match="the pending transaction would have more than 30000"):
        imported(node, {SMTP: "x" * 30_000})
    assert pending(node) is None


def test_many_names_are_told_in_several_events(node: Node) -> None:
    """An event has a longest line."""
    names = {f"k{number:04}.{'x' * 200}": "1" for number in range(100)}
    imported(node, names, ImportOptions(force=True))
    told = [details for event, details in logged(node) if event == "IMPORT"]
    assert len(told) == 3
    assert " ".join(str(details["names"]) for details in told).split() == sorted(names)


def test_no_suggestions_for_hundreds_of_unknown_keys(node: Node) -> None:
    """They would take seconds, while others wait for the configuration."""
    found = imported(node, {f"gateway.timeout{number}": "1" for number in range(201)})
    assert {one.why for one in found.verdicts} == {"nobody knows it"}


def test_what_cannot_be_told_is_not_staged(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Issue part F: no import without its event."""

    def full(_: object) -> None:
        raise StorageError("the event log cannot be written")

    monkeypatch.setattr(node.events, "append", full)
    with pytest.raises(StorageError):
        imported(node, {SMTP: "x"})
    assert pending(node) is None


def test_a_damaged_text_changes_nothing(node: Node) -> None:
    with pytest.raises(FormatError):
        node.settings.import_(b"{", NOTHING, actor=ACTOR, source="a pipe")
    assert pending(node) is None
