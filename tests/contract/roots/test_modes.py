"""KMS modes on a real node, against the emulators: A-04, A-10, A-13, A-16, A-20 to A-23, Q-05, Q-20, R11, R12."""

import base64
import json
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from strongroom.cli import dispatch
from strongroom.clock import format_utc
from strongroom.envelope.header import Placement
from strongroom.errors import RootError, StrongroomError
from strongroom.extracts.stored import StoredFile
from strongroom.ids import new_id
from strongroom.kms.status import InMemory, KmsStatus
from strongroom.node import opening
from strongroom.node.opening import Node
from strongroom.runtime import service_logs
from strongroom.runtime.processes import SERVICES
from strongroom.services.keys.keeper import PREVIOUS_STORE, ROOTS
from tests.contract.roots.harness import RootLab
from tests.contract.roots.provider_aws import MinistackLab, MotoLab
from tests.contract.roots.provider_azure import KEY, AzureLab
from tests.support.fault_server import Fault, Response

HERE = Placement(new_id(), new_id())
TWO_CALLS = {"GenerateDataKey", "Decrypt"}
ministack = pytest.mark.parametrize("lab", ["aws-ministack"], indirect=True)
moto = pytest.mark.parametrize("lab", ["aws-moto"], indirect=True)
azure = pytest.mark.parametrize("lab", ["azure"], indirect=True)
EXTERNAL = pytest.mark.parametrize("lab", ["aws-ministack", "azure"], indirect=True)


def write(node: Node, content: bytes) -> StoredFile:
    writer = node.vault.create(HERE, encrypted=True)
    writer.write(content)
    return writer.commit()


def read(node: Node, stored: StoredFile) -> bytes:
    with node.vault.open(stored, HERE) as reader:
        return b"".join(reader.iterate(0, reader.size))


def tsm(node: Node, *words: str) -> int:
    return dispatch.main("tsm", [*words, "--data-dir", str(node.paths.root)])


@pytest.fixture
def logs(node: Node) -> Iterator[Callable[[str], str]]:
    """What is in a service's log."""
    loggers = [logging.getLogger(name) for name in (*SERVICES, None)]
    before = [(one.level, list(one.handlers), one.propagate) for one in loggers]
    service_logs.configure(node.paths, "vizportal")
    yield lambda service: node.paths.service_log(service).read_text()
    for logger, (level, handlers, propagate) in zip(loggers, before, strict=True):
        for handler in set(logger.handlers) - set(handlers):
            handler.close()
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)


@ministack
def test_two_actions_are_all_it_ever_needs(lab: MinistackLab, node: Node) -> None:
    """A-04: the policy allows these two; moving in, status, rotation, regeneration and moving out work."""
    lab.front.calls.clear()
    stored = write(node, b"before")
    assert node.modes.set_mode(lab.settings, "os:tester").done
    assert node.kms_store.status().is_ok
    node.meks.rotate("os:tester")
    node.regenerate.run("os:tester", lambda _: None)
    assert read(node, stored) == b"before"
    assert node.modes.set_mode(None, "os:tester").after == "local"
    assert read(node, stored) == b"before"
    assert set(lab.front.calls) == TWO_CALLS
    # the full status tries one more, which is refused and does not matter (7.1)
    assert node.kms_store.prove().is_ok


@ministack
def test_the_rmk_is_the_data_key_of_exactly_one_call(lab: MinistackLab, node: Node) -> None:
    """A-07: at the emulator; the round trips of preflights make keys that are thrown away."""
    made: list[bytes] = []

    def note(call: str, answer: Response) -> None:
        if call == "GenerateDataKey":
            made.append(base64.b64decode(json.loads(answer.body)["Plaintext"]))

    lab.front.on_answer = note
    try:
        node.modes.set_mode(lab.settings, "os:tester")
        moved = node.kms_cache.opened().rmk.material.reveal()
        assert made.count(moved) == 1
        made.clear()
        change = node.meks.rotate("os:tester")
    finally:
        lab.front.on_answer = None
    assert made == [change.rmk.material.reveal()] == [node.kms_cache.opened().rmk.material.reveal()]
    assert change.store.wraps[0].form == "direct"


@moto
def test_status_shows_when_the_cmk_was_renewed_where_it_may_know(
    lab: MotoLab, node: Node, capsys: pytest.CaptureFixture[str]
) -> None:
    """F, 7.4: that the RMK is older than the material is hygiene, and is told."""
    node.modes.set_mode(lab.foreign_settings, "os:tester")
    lab.admin("kms").rotate_key_on_demand(KeyId=lab.key_ids[1])
    shown = tsm_json(node, capsys)
    (root,) = shown["roots"]
    assert root["rotated_at"] == shown["root"]["rotated_at"] > "2020"
    assert root["latency_ms"] > 0
    assert root["identity"].startswith("env, access key ")


def tsm_json(node: Node, capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    """The status that scripts read; it is green."""
    capsys.readouterr()
    assert tsm(node, "security", "kms", "status", "--json", *words) == 0
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    return told


@ministack
def test_the_last_result_is_shown_without_asking_and_not_for_longer_than_the_limit(
    lab: MinistackLab, node: Node, capsys: pytest.CaptureFixture[str]
) -> None:
    """F: it is never taken for the present, and goes red with age or with a change of the store."""
    node.modes.set_mode(lab.settings, "os:tester")
    live = tsm_json(node, capsys)
    assert live["roots"][0]["rotated_at"] == ""  # the policy allows two actions
    with lab.broken(Fault.DISABLED):
        lab.front.calls.clear()
        last = tsm_json(node, capsys, "--cached")
        assert lab.front.calls == []
        assert (last["cached"], last["proved_at"]) == (True, live["proved_at"])
        assert tsm(node, "security", "kms", "status") == 1
        assert tsm(node, "security", "kms", "status", "--cached") == 1
    assert "is disabled" in capsys.readouterr().out
    assert tsm(node, "security", "kms", "status") == 0
    node.configuration.set("kms.rmk.keep_seconds", "0", actor="os:tester")
    node.configuration.apply(actor="os:tester")
    time.sleep(1.1)  # times are whole seconds
    assert tsm(node, "security", "kms", "status", "--cached") == 1
    assert "it says nothing of now" in capsys.readouterr().out
    assert tsm(node, "security", "kms", "status") == 0


@ministack
def test_status_shows_the_cmk_and_goes_red_at_once(
    lab: MinistackLab, node: Node, capsys: pytest.CaptureFixture[str]
) -> None:
    """A-13, section 10, M7."""
    arn, region = lab.settings.root_key_id, lab.settings.options["region"]
    words = ("security", "kms", "set-mode", "aws", "--key-arn", f' "{arn}" ', "--aws-region")
    assert tsm(node, *words, region, "--dry-run") == 0
    assert "make a new RMK under aws" in capsys.readouterr().out
    assert node.kms_store.status().mode == "local"
    assert tsm(node, *words, region) == 0
    assert arn in capsys.readouterr().out
    assert tsm(node, *words, region) == 0
    assert "already" in capsys.readouterr().out
    assert tsm(node, "security", "kms", "status") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:4] == ["Status: OK", "Mode: AWS", f"CMK ARN: {arn}", f"AWS region: {region}"]
    assert lines[4].startswith("Identity: env, access key ")
    for fault, said in ((Fault.DISABLED, "is disabled"), (Fault.REFUSED, "user/strongroom-node")):
        with lab.broken(fault):
            assert tsm(node, "security", "kms", "status") == 1
        shown = capsys.readouterr().out
        assert shown.startswith("Status: ERROR\nProblem: ")
        assert said in shown
    assert tsm(node, "security", "kms", "status") == 0


@azure
def test_status_shows_the_vault(
    lab: AzureLab, node: Node, capsys: pytest.CaptureFixture[str]
) -> None:
    """Section 5."""
    url, ca_file = lab.vault.url, str(lab.vault.ca_file)
    words = ("security", "kms", "set-mode", "azure", "--key-name", KEY, "--vault-baseurl", url)
    assert tsm(node, *words, "--client-id", "id-of-the-node", "--ca-file", ca_file) == 0
    assert "id-of-the-node" in lab.vault.client_ids
    capsys.readouterr()
    assert tsm(node, "security", "kms", "status") == 0
    version = lab.vault.keys[KEY][-1].id
    assert capsys.readouterr().out.splitlines()[:6] == [
        "Status: OK",
        "Mode: Azure Key Vault",
        f"Vault: {url}",
        f"Key name: {KEY}",
        f"Key ID: {url}/keys/{KEY}/{version}",
        "Identity: managed identity id-of-the-node",
    ]
    made = datetime.fromtimestamp(lab.vault.keys[KEY][-1].created, UTC)
    assert node.kms_store.prove().root["rotated_at"] == format_utc(made)


@azure
def test_a_new_version_of_the_key_needs_nothing_and_the_old_one_stays_needed(
    lab: AzureLab, node: Node
) -> None:
    """Section 5: the versioned id is stored; rotation moves to the newest version."""
    node.modes.set_mode(lab.settings, "os:tester")
    stored = write(node, b"under the first version")
    old = lab.vault.keys[KEY][-1]
    new = lab.vault.new_version(KEY)
    assert node.kms_store.status().root_key_id.endswith(old.id)
    node.meks.rotate("os:tester")
    assert node.kms_store.status().root_key_id.endswith(new)
    old.enabled = False
    node.kms_cache.forget()
    assert read(node, stored) == b"under the first version"
    old.enabled = True


@EXTERNAL
def test_the_logs_have_the_sentences_of_the_seeds(
    lab: RootLab, node: Node, logs: Callable[[str], str]
) -> None:
    """A-16, A-17 and their like for Azure: of the reader and of the backgrounder."""
    node.modes.set_mode(lab.settings, "os:tester")
    status = node.kms_store.status()
    names, key = {
        "aws": ("AwsKmsEncryptionEnvelope", "CMK with ARN"),
        "azure": ("AzureKeyVaultEnvelope", "key with ID"),
    }[lab.settings.kind]
    for service in ("vizqlserver", "backgrounder"):
        node.key_log = service
        node.kms_cache.forget()
        node.kms_cache.opened()
        text = logs(service)
        using = f"using the {key} {status.root_key_id}"
        assert f" {names}Accessor: Decrypted the RMK with ID {status.rmk_id} {using}\n" in text
        assert f" {names}: Using RMK with ID {status.rmk_id} to decrypt KMS store\n" in text


@moto
def test_new_material_of_the_cmk_needs_nothing_and_a_regeneration_uses_it(
    lab: MotoLab, node: Node
) -> None:
    """A-21, A-22, A-23, 7.4."""
    node.modes.set_mode(lab.settings, "os:tester")
    stored = write(node, b"content")
    before = node.kms_store.status()
    lab.admin("kms").rotate_key_on_demand(KeyId=lab.key_ids[0])
    again = opening.open_node(str(node.paths.root))
    assert again.kms_store.status().is_ok
    assert read(again, stored) == b"content"
    again.regenerate.run("os:tester", lambda _: None)
    after = again.kms_store.status()
    assert after.rmk_id != before.rmk_id
    assert [mek.state.value for mek in after.meks][-2:] == ["decrypt-only", "encrypt or decrypt"]
    moved = again.vault.reencrypt(stored, HERE)
    assert again.vault.mek_ids(moved.storage_key) == {after.meks[-1].id}
    assert read(again, moved) == b"content"
    again.close()


def test_a_chain_of_moves_leaves_every_extract_readable(
    labs: Callable[[str], RootLab], node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Q-20: local, aws, azure, aws elsewhere, local; nobody restarts, a second process follows."""
    chain = [labs(name) for name in ("aws-ministack", "azure")]
    for lab in chain:
        for name, value in lab.environment.items():
            monkeypatch.setenv(name, value)
    other = opening.open_node(str(node.paths.root))
    written = {write(node, b"local"): b"local"}
    rmks = {node.kms_store.status().rmk_id}
    roots = [one.settings for one in chain] + [chain[0].foreign_settings, None]
    for number, settings in enumerate(roots):
        change = node.modes.set_mode(settings, "os:tester")
        assert change.done
        content = f"after move {number}".encode()
        written[write(other, content)] = content
        assert all(read(other, stored) == content for stored, content in written.items())
        assert all(read(node, stored) == content for stored, content in written.items())
        status = node.kms_store.status()
        assert (status.is_ok, status.mode) == (True, settings.kind if settings else "local")
        rmks.add(status.rmk_id)
        # what belonged to the root that was left is gone (issue: "only then the old wrap dropped")
        assert [root.kind for root in node.kms_store.root_settings()] == (
            [settings.kind] if settings else []
        )
    assert len(rmks) == len(node.kms_store.status().meks) == 5
    assert ROOTS not in node.configuration.document().values
    other.close()


@pytest.mark.parametrize(
    ("lab", "fault"),
    [("aws-ministack", Fault.SERVER_ERROR), ("azure", Fault.RESET)],
    indirect=["lab"],
)
def test_a_new_root_that_fails_at_any_step_leaves_all_as_before(
    lab: MinistackLab | AzureLab, node: Node, fault: Fault
) -> None:
    """A-10, A-20: fail at the first call, the second, … until the move succeeds."""
    stored = write(node, b"content")
    before, document = lasting(node), node.configuration.document()
    late = 0
    for good in range(40):
        moved, trouble = _try_to_move(node, lab, fault, good)
        if moved and not trouble:
            break
        assert trouble
        if not moved:
            assert node.configuration.document() == document
            assert lasting(node) == before
        else:
            late += 1  # committed; the root failed while the new store was proved once more
            assert PREVIOUS_STORE in node.configuration.document().values
            assert node.kms_store.prove().is_ok
            assert PREVIOUS_STORE not in node.configuration.document().values
        assert read(node, stored) == b"content"
        if moved:
            node.modes.set_mode(None, "os:tester")
            before, document = lasting(node), node.configuration.document()
    else:
        pytest.fail("the move never succeeded")
    assert good > 3
    assert late <= 8
    assert node.kms_store.status().is_ok
    assert read(node, stored) == b"content"


def lasting(node: Node) -> KmsStatus:
    """The status without what every proof finds anew."""
    return replace(node.kms_store.status(), roots=(), proved_at="", memory=InMemory())


def _try_to_move(
    node: Node, lab: MinistackLab | AzureLab, fault: Fault, good: int
) -> tuple[bool, bool]:
    """Whether the mode is another now, and whether the move told of an error."""
    trouble = False
    with lab.front.broken(fault, after=good):
        try:
            node.modes.set_mode(lab.settings, "os:tester")
        except StrongroomError:
            trouble = True
    return node.kms_store.current()[0].mode == lab.settings.kind, trouble


@ministack
def test_the_way_back_to_local_while_the_root_is_away(lab: MinistackLab, node: Node) -> None:
    """A-20, Q-05: from memory if it is there, else by leaving the keys behind, told plainly."""
    node.modes.set_mode(lab.settings, "os:tester")
    stored = write(node, b"content")
    restarted = opening.open_node(str(node.paths.root))
    with lab.broken(Fault.UNREACHABLE):
        with pytest.raises(RootError) as caught:
            restarted.modes.set_mode(None, "os:tester")
        assert "--abandon-external-keys" in caught.value.hint
        assert restarted.kms_store.current()[0].mode == "aws"
        left = restarted.modes.set_mode(None, "os:tester", abandon=True)
        assert len(left.abandoned) == 2
        assert restarted.kms_store.status().is_ok
        with pytest.raises(StrongroomError):
            read(restarted, stored)
        assert read(restarted, write(restarted, b"new")) == b"new"
    restarted.roots.adopt("os:tester")
    assert read(restarted, stored) == b"content"
    restarted.close()


@ministack
def test_calls_to_the_root_do_not_grow_with_files(lab: MinistackLab, node: Node) -> None:
    """R11: bounded by time, not by files."""
    node.modes.set_mode(lab.settings, "os:tester")
    restarted = opening.open_node(str(node.paths.root))
    lab.front.calls.clear()
    files = [write(restarted, b"small %d" % number) for number in range(200)]
    assert all(read(restarted, stored) == b"small %d" % n for n, stored in enumerate(files))
    assert lab.front.calls == ["Decrypt"]
    restarted.close()


@ministack
def test_what_is_wrong_is_told_before_anybody_is_asked(
    lab: MinistackLab, node: Node, capsys: pytest.CaptureFixture[str]
) -> None:
    """A-09, Q-21: region and ARN."""
    lab.front.calls.clear()
    arn = lab.settings.root_key_id
    base = ("security", "kms", "set-mode", "aws", "--aws-region")
    assert tsm(node, *base, "eu-central-1", "--key-arn", arn) == 2
    assert "the key is in region us-west-2, not in eu-central-1" in capsys.readouterr().err
    assert tsm(node, *base, "us-west-2", "--key-arn", arn.replace(":key/", ":alias/")) == 2
    assert "alias" in capsys.readouterr().err
    assert lab.front.calls == []


def test_data_without_the_root_cannot_be_read(
    labs: Callable[[str], RootLab],
    node: Node,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """K-08: the whole data directory on another host, which may not ask the CMK."""
    import shutil

    lab = labs("aws-ministack")
    for name, value in lab.environment.items():
        monkeypatch.setenv(name, value)
    node.modes.set_mode(lab.settings, "os:tester")
    stored = write(node, b"content")
    shutil.copytree(node.paths.root, tmp_path / "copy")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIANOBODY0000000000")
    elsewhere = opening.open_node(str(tmp_path / "copy"))
    with pytest.raises(RootError, match="does not accept the credentials"):
        read(elsewhere, stored)
    assert elsewhere.configuration.get("pgsql.adminpassword", actor="os:tester")
    elsewhere.close()
