"""The SOPS binary by transit: files that outlive rotations of their key, and a key that is taken from them (ADR 46)."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.vault_door import VaultDoor, vault_door
from tests.support.vault_programs import Program, sops

pytestmark = pytest.mark.interop

RULES = """
path "transit/encrypt/sops" { capabilities = ["update"] }
path "transit/decrypt/sops" { capabilities = ["update"] }
"""
SECRET = "canary-swordfish-5b7d"
CHANGED = "canary-marlin-90ce"


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VaultDoor]:
    with vault_door(tmp_path_factory.mktemp("sops")) as found:
        found.node.run("strongroom", "keys", "create", "sops")
        yield found


@pytest.fixture
def tool(door: VaultDoor, tmp_path: Path) -> Program:
    """SOPS with a token that may encrypt and decrypt, and a file under the key."""
    token = door.make_token("sops", RULES)
    editor = {"EDITOR": f"sed -i s/{SECRET}/{CHANGED}/"}
    tool = Program(sops(), tmp_path, door, token, editor)
    (tmp_path / ".sops.yaml").write_text(
        f"creation_rules:\n  - hc_vault_transit_uri: {door.url}/v1/transit/keys/sops\n"
    )
    (tmp_path / "file.yaml").write_text(f"db:\n    password: {SECRET}\n    port: 5432\n")
    tool.run("encrypt", "--in-place", "file.yaml")
    return tool


def version_of(file: Path) -> str:
    """The version of the key that a file is under."""
    return file.read_text().partition("enc: vault:")[2].partition(":")[0]


def test_a_file_is_encrypted_edited_and_rotated_over_versions_of_its_key(
    door: VaultDoor, tool: Program
) -> None:
    file = tool.folder / "file.yaml"
    assert SECRET not in file.read_text()
    assert version_of(file) == "v1"
    before = len(door.events())
    door.node.run("strongroom", "keys", "rotate", "sops")
    tool.run("edit", "file.yaml")  # of the old version, which it keeps
    assert version_of(file) == "v1"
    kept = file.read_text()
    tool.run("rotate", "--in-place", "file.yaml")
    assert version_of(file) == "v2"
    opened = tool.run("decrypt", "--extract", '["db"]["password"]', "file.yaml")
    assert opened.out.strip() == CHANGED

    # the old version is taken away: only what was rotated opens still
    door.call("POST", "transit/keys/sops/config", {"min_decryption_version": 2})
    (tool.folder / "kept.yaml").write_text(kept)
    refused = tool.run("decrypt", "kept.yaml", check=False)
    assert refused.code != 0
    assert "disallowed by policy" in refused.err
    assert tool.run("decrypt", "file.yaml").out.count(CHANGED) == 1

    done = ["decrypt", "decrypt", "encrypt", "decrypt", "configure", "refused", "decrypt"]
    new = door.events()[before:]
    assert [event["id"] for event in new].count("SERVICE_KEY_CHANGED") == 2
    assert door.told_of("sops")[-len(done) :] == done
    assert len(new) == len(done) + 1  # the owner's rotation
    assert door.holders(SECRET, CHANGED, tool.token) == []


def test_a_disabled_key_is_refused_with_what_to_do_and_no_file_is_harmed(
    door: VaultDoor, tool: Program
) -> None:
    file = tool.folder / "file.yaml"
    kept = file.read_bytes()
    door.node.run("strongroom", "keys", "disable", "sops")
    for words in (["decrypt"], ["rotate", "--in-place"], ["edit"]):
        refused = tool.run(*words, "file.yaml", check=False)
        assert refused.code != 0
        assert SECRET not in refused.out
        assert "the key 'sops' is disabled" in refused.err
        assert "strongroom keys enable sops" in refused.err
        assert file.read_bytes() == kept
    assert door.told_of("sops")[-3:] == ["refused"] * 3
    door.node.run("strongroom", "keys", "enable", "sops")
    assert SECRET in tool.run("decrypt", "file.yaml").out


def test_a_token_for_another_key_opens_nothing(door: VaultDoor, tool: Program) -> None:
    other = door.make_token("other", RULES.replace("sops", "other"))
    refused = Program(sops(), tool.folder, door, other).run("decrypt", "file.yaml", check=False)
    assert refused.code != 0
    assert "permission denied" in refused.err
    assert door.told_of("sops")[-1] == "refused"
