"""The status as text and for scripts: K-10, Q-01."""

from dataclasses import replace

from strongroom.ids import InstallationId, RmkId, new_id
from strongroom.kms import status as kms_status
from strongroom.kms.cache import Limits
from strongroom.kms.proofs import Proof, RootProof
from strongroom.kms.states import MekState
from strongroom.kms.status import InMemory, KmsStatus, MekStatus, Shown
from strongroom.kms.store import KmsStore
from strongroom.roots.base import WrapRecord

TIME = "2019-05-29T23:46:54Z"
ACTIVE = MekStatus(new_id(), MekState.ENCRYPT_OR_DECRYPT, TIME, TIME, None)
LOST = MekStatus(new_id(), MekState.UNAVAILABLE, None, None, None)


def status(*problems: str) -> KmsStatus:
    return KmsStatus(problems, "local", new_id(), TIME, (ACTIVE, LOST), 7)


def test_the_text_has_the_words_of_the_seeds() -> None:
    text = kms_status.as_text(status())
    assert text.splitlines()[0] == "Status: OK"
    assert f"  {ACTIVE.id}\n    Status: encrypt or decrypt key\n    Created at: {TIME}" in text
    assert f"    First transition to encrypt and decrypt: {TIME}" in text
    assert f"  {LOST.id}\n    Status: unavailable key\n    Created at: -" in text


def test_a_problem_makes_it_red() -> None:
    red = status("the root is gone")
    assert not red.is_ok
    assert kms_status.as_text(red).startswith("Status: ERROR\nProblem: the root is gone\n")
    assert kms_status.as_json(red)["status"] == "ERROR"
    assert kms_status.as_json(red)["problems"] == ["the root is gone"]


def test_scripts_get_the_same_fields_always() -> None:
    found = kms_status.as_json(status())
    assert found["meks"] == [
        {
            "id": ACTIVE.id,
            "status": "encrypt or decrypt",
            "created_at": TIME,
            "encrypting_since": TIME,
            "decrypt_only_since": None,
            "retire_at": None,
        },
        {
            "id": LOST.id,
            "status": "unavailable",
            "created_at": None,
            "encrypting_since": None,
            "decrypt_only_since": None,
            "retire_at": None,
        },
    ]


def test_an_external_root_is_shown_with_its_key_and_who_asks() -> None:
    """A-13 and section 10."""
    arn = "arn:aws:kms:us-west-2:867530990073:key/1abc23de-fg45-6hij-7k89-1l0mn1234567"
    details = {"region": "us-west-2", "account": "867530990073", "identity": "instance role"}
    aws = replace(status(), mode="aws", root_key_id=arn, root=details)
    assert kms_status.as_text(aws).splitlines()[:5] == [
        "Status: OK",
        "Mode: AWS",
        f"CMK ARN: {arn}",
        "AWS region: us-west-2",
        "Identity: instance role",
    ]
    assert kms_status.as_json(aws)["root"] == {"key_id": arn, **details}
    vault = {"vault": "https://v.vault.azure.net", "key": "K", "identity": "who"}
    azure = replace(status(), mode="azure", root_key_id="https://v/keys/K/1", root=vault)
    assert kms_status.as_text(azure).splitlines()[1:6] == [
        "Mode: Azure Key Vault",
        "Vault: https://v.vault.azure.net",
        "Key name: K",
        "Key ID: https://v/keys/K/1",
        "Identity: who",
    ]
    other = replace(status(), mode="tpm", root_key_id="0x81", root={"tcti": "device"})
    assert "Mode: TPM\nRoot key: 0x81\nTcti: device\n" in kms_status.as_text(other)


OPENED = RootProof(
    new_id(), "aws", "arn", "mode", True, "", 12.3, TIME, "instance role", "2026-01-01T00:00:00Z"
)
DEAD = RootProof(new_id(), "gcp", "name", "recovery", True, "it is gone", None, "", hint="find it")
APART = RootProof(new_id(), "age", "age1x", "recovery", False, "", None, TIME)


def test_each_root_is_shown_with_its_latency_and_last_success() -> None:
    found = replace(status(), roots=(OPENED, DEAD, APART), proved_at=TIME)
    lines = kms_status.as_text(found, verbose=True).splitlines()
    first = lines.index("Roots:")
    assert lines[first - 1] == f"Proved at: {TIME}"
    assert lines[first + 1 : lines.index("MEKs:")] == [
        f"  {OPENED.wrap_id}",
        "    Kind: aws",
        "    Role: mode",
        "    State: OK",
        "    Latency: 12.3 ms",
        f"    Last success: {TIME}",
        "    Identity: instance role",
        "    Key rotated at: 2026-01-01T00:00:00Z",
        f"  {DEAD.wrap_id}",
        "    Kind: gcp",
        "    Role: recovery",
        "    State: ERROR",
        "    Hint: find it",
        f"  {APART.wrap_id}",
        "    Kind: age",
        "    Role: recovery",
        "    State: offline",
        f"    Last success: {TIME}",
    ]
    told = kms_status.as_json(found)
    assert told["roots"] == [
        {
            "wrap_id": OPENED.wrap_id,
            "kind": "aws",
            "root_key_id": "arn",
            "role": "mode",
            "online": True,
            "problem": "",
            "latency_ms": 12.3,
            "last_success": TIME,
            "identity": "instance role",
            "rotated_at": "2026-01-01T00:00:00Z",
            "hint": "",
            "ends_at": "",
            "due_at": "",
            "notice": "",
        },
        *(vars(one) for one in (DEAD, APART)),
    ]
    assert (told["proved_at"], told["cached"]) == (TIME, False)


def test_the_rmk_in_memory_is_shown_with_its_limits() -> None:
    absent = status()
    assert "RMK in memory: no (limit 3600 s, and 3600 s more while" in kms_status.as_text(
        absent, verbose=True
    )
    held = replace(absent, memory=InMemory(12.4, Limits(60, 30)))
    assert (
        "RMK in memory: for 12 s (limit 60 s, and 30 s more while a root is out of reach)\n"
        in kms_status.as_text(held, verbose=True)
    )
    assert kms_status.as_json(held)["rmk"] == {
        "id": held.rmk_id,
        "created_at": TIME,
        "age_seconds": 12.4,
        "keep_seconds": 60,
        "offline_seconds": 30,
    }


def _store(root_key_id: str) -> KmsStore:
    wrap = WrapRecord(new_id(), "openbao", "indirect", root_key_id, "", b"", b"", {}, TIME, TIME)
    return KmsStore(1, InstallationId(new_id()), "openbao", RmkId(new_id()), TIME, (wrap,))


def test_a_credential_that_ends_is_a_warning_from_its_time_on() -> None:
    """findings K21: until then the status is green, and no exit code changes."""
    early, late = "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"
    ending = replace(OPENED, ends_at=late, due_at=early, notice="set a new one")
    silent = replace(OPENED, ends_at="", due_at=early, notice="it ends some day")
    proof = Proof(TIME, 1, "d", (), {}, (ending, silent, OPENED))
    found = kms_status.from_proof(_store("k"), proof, InMemory(), Shown())
    for now, count in (("", 0), ("2025-12-31T23:59:59Z", 0), (early, 2), (late, 2)):
        found = kms_status.from_proof(_store("k"), proof, InMemory(), Shown((), now))
        assert (found.is_ok, len(found.warnings)) == (True, count)
    told = kms_status.as_text(found, verbose=True)
    assert f"Warning: the credential of the aws root arn ends on {late}: set a new one" in told
    assert "Warning: the credential of the aws root arn ends: it ends some day" in told
    assert f"    Credential ends at: {late}" in told
    assert kms_status.as_json(found)["warnings"] == list(found.warnings)


def test_a_key_that_was_moved_is_shown_as_it_is_reached() -> None:
    """findings K3: the wrap names it as it was reached when it was made."""
    details = {"address": "https://new:8200", "reached_as": "https://new:8200/v1/transit/keys/k"}
    proof = Proof(TIME, 1, "d", (), details, ())
    found = kms_status.from_proof(
        _store("https://old/v1/transit/keys/k"), proof, InMemory(), Shown()
    )
    assert found.root_key_id == "https://new:8200/v1/transit/keys/k"
    told = kms_status.as_text(found)
    assert "Root key: https://new:8200/v1/transit/keys/k" in told
    assert "Wrapped as: https://old/v1/transit/keys/k" in told


def test_a_mek_that_is_to_be_retired_is_told_with_its_time() -> None:
    waiting = MekStatus(new_id(), MekState.DECRYPT_ONLY, TIME, TIME, TIME, "2026-02-01T00:00:00Z")
    text = kms_status.as_text(replace(status(), meks=(ACTIVE, waiting)))
    assert text.count("To be retired from:") == 1
    assert text.endswith("    To be retired from: 2026-02-01T00:00:00Z")


def test_in_brief_there_are_state_mode_and_keys_and_what_is_wrong() -> None:
    """findings F4."""
    found = replace(status("the root is gone"), warnings=("the token ends",))
    verdict = ["Status: ERROR", "Problem: the root is gone", "Warning: the token ends"]
    lines = kms_status.in_brief(found).splitlines()
    assert lines[:3] == verdict
    assert lines[3] == "Mode: Local"
    assert lines[4].startswith(f"RMK ID: {found.rmk_id}; MEKs: 1 ")
    aws = replace(found, mode="aws", root_key_id="arn:aws:kms:one")
    assert "Mode: AWS, arn:aws:kms:one" in kms_status.in_brief(aws).splitlines()


def test_memory_and_the_time_of_an_older_proof_are_told() -> None:
    limits = Limits(60.0, 3600.0)
    held = replace(status(), memory=InMemory(12.0, limits), is_cached=True, proved_at=TIME)
    text = kms_status.as_text(held, verbose=True)
    assert "RMK in memory: for 12 s (limit 60 s, and 3600 s more while" in text
    assert f"Proved at: {TIME}" in kms_status.as_text(held)
    assert "RMK in memory: no (limit" in kms_status.as_text(
        replace(held, memory=InMemory(None, limits)), verbose=True
    )
