"""`kms roots add age|shares`, `strongroom init --recovery-shares` and `strongroom recover`: M1, R13."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from strongroom.cli import dispatch
from strongroom.configuration_keys.keys import ConfigurationKeys
from strongroom.crypto import age, shares
from strongroom.crypto.age import Identity
from strongroom.errors import (
    RootUnavailableError,
    StateError,
    StorageError,
)
from strongroom.kms import store as kms_store
from strongroom.node import opening
from strongroom.node.opening import Node
from tests.contract.kms.recovery_lab import ACTOR, BAO, HERE, add, check_recovered, lose_keystore
from tests.support import age_token
from tests.support.age_token import Token
from tests.support.memory_root import Outside


@pytest.fixture
def run(node_dir: Path) -> Callable[..., int]:
    def command(*words: str | Path, home: Path = node_dir) -> int:
        program = "tsm" if words[0] == "security" else "strongroom"
        return dispatch.main(program, [*map(str, words), "--data-dir", str(home)])

    return command


def _kit(run: Callable[..., int], folder: Path, threshold: int = 2, count: int = 3) -> list[Path]:
    words = ["security", "kms", "roots", "add", "shares", "--threshold", threshold]
    assert run(*words, "--shares", count, "--output", folder, "--label", "the board") == 0
    return sorted(folder.iterdir())


def test_a_kit_is_made_drilled_and_brings_the_node_back(
    run: Callable[..., int], node_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = _kit(run, tmp_path / "kit")
    assert [path.name for path in files] == [f"share-{number}-of-3.txt" for number in (1, 2, 3)]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert (tmp_path / "kit").stat().st_mode & 0o777 == 0o700
    told = capsys.readouterr()
    assert "Any 2 of the 3 shares" in told.out
    assert shares.words_of(files[0].read_text()).split()[10] not in told.out.split()
    assert run("security", "kms", "roots", "list", "--json") == 0
    _, kit = json.loads(capsys.readouterr().out)
    assert (kit["kind"], kit["online"], kit["last_verified"]) == ("shares", False, "")
    assert kit["id"] == kit["wrap_id"]
    assert kit["describe"]["label"] == "the board"
    assert kit["describe"]["threshold"] == "2"
    assert run("recover", "--drill", "--share", files[1]) == 0
    alone = capsys.readouterr().out
    assert "share 2 of 3" in alone
    assert f"of the kit {kit['root_key_id']}" in alone
    assert run("recover", "--drill", "--share", files[1], "--share", files[0]) == 0
    assert "opened" in capsys.readouterr().out
    assert run("recover", "--drill", "--json", "--share", files[2], "--share", files[0]) == 0
    assert json.loads(capsys.readouterr().out)["recipient"] == kit["root_key_id"]
    assert run("recover", "--share", files[1]) == 2
    assert "1 more is missing" in capsys.readouterr().err
    lose_keystore(opening.open_node(str(node_dir)))
    given = ["recover", "--share", files[2], "--share", files[0]]
    assert run("recover", "--drill", "--share", files[1]) == 1
    assert "cannot be told" in capsys.readouterr().out
    assert run(*given, "--dry-run") == 0
    assert capsys.readouterr().out.startswith("1. make a new keystore")
    assert run(*given) == 0
    assert "A new keystore was made." in capsys.readouterr().out
    assert run("security", "kms", "status") == 0
    assert run(*given) == 0
    assert "nothing was changed" in capsys.readouterr().out
    assert run(*given, "--dry-run") == 0
    assert run(*given, "--json") == 0
    assert json.loads(capsys.readouterr().out.partition("\n{")[2].join(("{", "")))["done"] is False


def test_shares_that_cannot_be_are_named(
    run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = _kit(run, tmp_path / "kit")
    others = _kit(run, tmp_path / "other")
    foreign = tmp_path / "foreign"
    foreign.write_text(shares.split(age.new_identity(), 2, 2)[0])
    misread = tmp_path / "misread"
    misread.write_text(files[0].read_text().replace(" 1. ", " 1. academic "))
    picture = tmp_path / "picture"
    picture.write_bytes(b"\xff\xfe")
    capsys.readouterr()
    assert run("recover", "--share", files[0], "--share", others[1]) == 2
    assert "is of set" in capsys.readouterr().err
    assert run("recover", "--drill", "--share", files[0], "--share", others[1]) == 2
    assert run("recover", "--drill", "--share", foreign) == 1
    assert "of no kit of this node" in capsys.readouterr().out
    assert run("recover", "--drill", "--share", misread) == 2
    assert f"{misread}: the share is not intact" in capsys.readouterr().err
    assert run("recover", "--share", picture) == 2
    assert "text in UTF-16" in capsys.readouterr().err


def test_an_age_identity_is_given_by_file(
    run: Callable[..., int], tmp_path: Path, identity: Identity, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "identity"
    file.write_bytes(b"# created: today\n" + identity.text.reveal() + b"\n")
    add_it = ["security", "kms", "roots", "add", "age", "--recipient", identity.recipient]
    assert run(*add_it, "--label", "the safe") == 0
    assert run(*add_it) == 7
    assert run("recover", "--drill", "--identity", file) == 0
    assert identity.recipient in capsys.readouterr().out
    assert run("security", "kms", "roots", "repair") == 0
    assert "nothing was changed" in capsys.readouterr().out
    assert run("security", "kms", "set-mode", "local") == 0


def test_closed_keys_that_come_back_are_told(
    run: Callable[..., int], node: Node, outside: Outside, tmp_path: Path, identity: Identity,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    file = tmp_path / "identity"
    file.write_bytes(identity.text.reveal())
    node.modes.set_mode(BAO, ACTOR)
    add(node, identity)
    outside.failure = RootUnavailableError("gone")
    node.kms_cache.forget()
    node.modes.set_mode(None, ACTOR, abandon=True)
    lose_keystore(node)
    assert run("recover", "--identity", file) == 0
    assert capsys.readouterr().out.count("available again: ") == 2
    lose_keystore(node)
    assert run("recover", "--identity", file, "--json") == 0
    done = json.loads(capsys.readouterr().out)
    assert (done["done"], done["keystore_renewed"], done["adopted"]) == (True, True, [])
    store, raw = opening.open_node(str(node.paths.root)).kms_store.current()
    named = ("--epoch", str(store.epoch), "--digest", kms_store.digest(raw))
    assert run("security", "kms", "accept", *named) == 0


def test_drift_is_repaired_by_command(
    run: Callable[..., int], node_dir: Path, identity: Identity, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("security", "kms", "roots", "add", "age", "--recipient", identity.recipient) == 0
    (node_dir / "tabsvc" / "recovery" / "configuration_keys.json").unlink()
    assert run("security", "kms", "roots", "verify") == 1
    assert "kms roots repair" in capsys.readouterr().err
    assert run("security", "kms", "roots", "repair") == 0
    assert "repaired: " in capsys.readouterr().out
    assert run("security", "kms", "roots", "verify") == 0


def test_a_kit_is_made_with_the_node(
    run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """M1: a printed kit made at initialisation."""
    password = tmp_path / "password"
    password.write_text("correct horse battery\n")
    new = ["init", "--admin", "admin", "--admin-password-file", password]
    home = tmp_path / "new"
    assert run(*new, "--recovery-shares", "2/2", home=home) == 2
    assert run(*new, "--recovery-dir", tmp_path / "kit", home=home) == 2
    assert run(*new, "--recovery-shares", "two", "--recovery-dir", tmp_path / "kit", home=home) == 2
    assert run(*new, "--recovery-shares", "3/2", "--recovery-dir", tmp_path / "kit", home=home) == 2
    assert not home.exists()
    made = [*new, "--recovery-shares", "2/2", "--recovery-dir", tmp_path / "kit"]
    assert run(*made, home=home) == 0
    given = [word for path in (tmp_path / "kit").iterdir() for word in ("--share", path)]
    assert run("recover", "--drill", *given, home=home) == 0


def test_a_kit_goes_into_a_new_or_empty_folder_only(
    run: Callable[..., int], tmp_path: Path, node_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["security", "kms", "roots", "add", "shares", "--threshold", "1", "--shares", "1"]
    assert run(*words, "--output", node_dir / "kit") == 2
    assert "is in the data directory" in capsys.readouterr().err
    full, link, file = tmp_path / "full", tmp_path / "link", tmp_path / "file"
    full.mkdir()
    (full / "something").touch()
    link.symlink_to(tmp_path / "target", target_is_directory=True)
    (tmp_path / "target").mkdir()
    file.touch()
    named = tmp_path / ("x" * 300)
    for folder, code in ((full, 6), (link, 2), (file, 2), (file / "below", 2), (named, 41)):
        assert run(*words, "--output", folder) == code, folder
    assert list((tmp_path / "target").iterdir()) == []
    (full / "something").unlink()
    assert run(*words, "--output", full) == 0


def test_shares_by_which_nothing_is_wrapped_are_removed(
    run: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise StorageError("disk full")

    monkeypatch.setattr(ConfigurationKeys, "set_recipients", fail)
    words = ["security", "kms", "roots", "add", "shares", "--threshold", "1", "--shares", "1"]
    assert run(*words, "--output", tmp_path / "kit") == 41
    assert not (tmp_path / "kit").exists()


def test_shares_that_are_relied_on_stay_though_the_command_fails(
    run: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer of the server may be lost after the commit."""
    real = opening.Node.roots.func  # type: ignore[attr-defined]  # the property's function

    def cut(node: Node) -> object:
        service = real(node)
        add_root = service.add

        def add_and_fail(*words: object) -> None:
            add_root(*words)
            raise StateError("the server went away")

        service.add = add_and_fail
        return service

    monkeypatch.setattr(opening.Node, "roots", property(cut))
    words = ["security", "kms", "roots", "add", "shares", "--threshold", "1", "--shares", "1"]
    assert run(*words, "--output", tmp_path / "kit") == 7
    (share,) = (tmp_path / "kit").iterdir()
    monkeypatch.undo()
    assert run("recover", "--drill", "--share", share) == 0


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Token:
    folder = age_token.install(tmp_path / "plugins")
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return Token.new()


def test_a_hardware_token_brings_the_node_back_by_its_plugin(
    run: Callable[..., int],
    node: Node,
    tmp_path: Path,
    token: Token,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Another token's wraps stand beside; a post-quantum one can be wrapped to as well."""
    file, other = tmp_path / "token", tmp_path / "other"
    file.write_text(f"# recipient: {token.recipient}\n{token.identity}\n")
    other.write_text(Token.new().identity)
    add_it = ["security", "kms", "roots", "add", "age", "--recipient"]
    for recipient in (Token.new().recipient, token.recipient, token.post_quantum_recipient):
        assert run(*add_it, recipient) == 0
    assert run("security", "kms", "rotate") == 0
    assert run("recover", "--drill", "--identity", file) == 0
    told = capsys.readouterr()
    assert token.recipient in told.out
    assert age_token.TOUCH in told.err
    assert run("recover", "--drill", "--identity", other) == 22
    file_of_node = node.envelope_keys.new_envelope(HERE)
    lose_keystore(node)
    assert run("recover", "--identity", file) == 0
    again = opening.open_node(str(node.paths.root))
    check_recovered(again, file_of_node)
    again.close()


def test_without_its_plugin_a_token_opens_nothing(
    run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "token"
    file.write_text(Token.new().identity)
    assert run("recover", "--drill", "--identity", file) == 2
    assert "age-plugin-strongroomtest" in capsys.readouterr().err
