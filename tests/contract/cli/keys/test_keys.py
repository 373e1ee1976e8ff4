"""`tsm security`, `tsm status`, `strongroom init` and `recover`: K-02, K-10, K-12, A-13, C-03, C-09, Q-01."""

import json
import re
from pathlib import Path

import pytest

from strongroom.cli import dispatch
from strongroom.kms import store as kms_store
from strongroom.kms.links import Known
from strongroom.runtime.processes import SERVICES

UTC = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def run(tool: str, node_dir: Path, *words: str) -> int:
    return dispatch.main(tool, [*words, "--data-dir", str(node_dir)])


def run_json(capsys: pytest.CaptureFixture[str], tool: str, node_dir: Path, *words: str) -> object:
    code = run(tool, node_dir, *words, "--json")
    assert code == 0
    found: object = json.loads(capsys.readouterr().out)
    return found


def test_status_in_words(node_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Q-01: the text; findings F4: no more than the seeds promise, the rest with -v, three lines with --brief."""
    run("tsm", node_dir, "security", "kms", "rotate")
    capsys.readouterr()
    assert run("tsm", node_dir, "security", "kms", "status") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Status: OK"
    assert lines[1] == "Mode: Local"
    assert [line for line in lines if line.strip().startswith("Status: ")][1:] == [
        "    Status: decrypt-only key",
        "    Status: encrypt or decrypt key",
    ]
    assert sum(line.startswith("    Created at: ") for line in lines) == 2
    assert lines[-1] == "    Transition to decrypt-only: -"
    assert not {"Roots:", "Epoch: 2"} & set(lines)
    assert run("tsm", node_dir, "security", "kms", "status", "-v") == 0
    whole = capsys.readouterr().out.splitlines()
    assert {*lines, "Roots:", "Epoch: 2"} <= set(whole)
    assert run("tsm", node_dir, "security", "kms", "status", "--brief") == 0
    assert capsys.readouterr().out.splitlines() == [
        *lines[:2],
        f"{lines[2]}; MEKs: 1 encrypts, 1 decrypt-only",
    ]
    assert run("tsm", node_dir, "security", "kms", "status", "--brief", "-v") == 2


def test_status_for_scripts(node_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """K-10, K-12, A-13."""
    run("tsm", node_dir, "security", "kms", "rotate")
    capsys.readouterr()
    status = run_json(capsys, "tsm", node_dir, "security", "kms", "status")
    assert isinstance(status, dict)
    assert (status["status"], status["mode"], status["epoch"]) == ("OK", "local", 2)
    assert UTC.fullmatch(status["rmk"]["created_at"])
    old, new = status["meks"]
    assert (old["status"], new["status"]) == ("decrypt-only", "encrypt or decrypt")
    assert UTC.fullmatch(old["decrypt_only_since"])
    assert new["decrypt_only_since"] is None


def test_a_red_status_ends_with_1(node_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from strongroom.node import opening

    node = opening.open_node(str(node_dir))
    node._kms_ports.marks.write(Known(9, "0" * 64, bytes(32)))
    digest = kms_store.digest(node.kms_store.current()[1])
    node.close()
    assert run("tsm", node_dir, "security", "kms", "status") == 1
    assert capsys.readouterr().out.startswith("Status: ERROR\nProblem: the KMS store has epoch 1")
    assert run("tsm", node_dir, "status") == 1
    assert run("tsm", node_dir, "security", "kms", "accept", "--epoch", "1", "--digest", "0") == 2
    other = ("--epoch", "1", "--digest", "0" * 64)
    assert run("tsm", node_dir, "security", "kms", "accept", *other) == 7
    assert (
        run("tsm", node_dir, "security", "kms", "accept", "--epoch", "1", "--digest", digest) == 0
    )
    assert run("tsm", node_dir, "security", "kms", "status") == 0


@pytest.mark.parametrize("mode", ["Local", "vault", ""])
def test_a_mode_that_is_not_there_is_refused(
    node_dir: Path, mode: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """K-02."""
    assert run("tsm", node_dir, "security", "kms", "set-mode", mode) == 2
    assert "invalid choice" in capsys.readouterr().err


def test_set_mode_local_says_that_it_is_so_already(
    node_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("tsm", node_dir, "security", "kms", "set-mode", "local") == 0
    assert "nothing was changed" in capsys.readouterr().out


def test_usage_and_retirement(node_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """P6."""
    run("tsm", node_dir, "security", "kms", "rotate")
    capsys.readouterr()
    usage = run_json(capsys, "tsm", node_dir, "security", "kms", "usage")
    assert isinstance(usage, dict)
    (unused,) = usage["unused"]
    assert set(usage["meks"]) == {unused, usage["active"]}
    assert run("tsm", node_dir, "security", "kms", "usage") == 0
    assert "unused" in capsys.readouterr().out
    assert run("tsm", node_dir, "security", "kms", "retire", usage["active"]) == 7
    assert run("tsm", node_dir, "security", "kms", "retire", unused) == 0
    assert run("tsm", node_dir, "security", "kms", "retire", unused) == 22


def test_the_keystore_is_shown_verified_and_repaired(
    node_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """C-09: one replica per service, all alike."""
    shown = run_json(capsys, "tsm", node_dir, "security", "keystore", "show")
    assert isinstance(shown, dict)
    assert shown["aliases"] == ["master-key-1"]
    assert Path(shown["path"]).name == "tableauserver.jks"
    assert Path(shown["password_file"]).is_file()
    assert run("tsm", node_dir, "security", "keystore", "show") == 0
    capsys.readouterr()
    replicas = run_json(capsys, "tsm", node_dir, "security", "keystore", "verify")
    assert isinstance(replicas, list)
    names = [Path(one["path"]).name for one in replicas]
    each = ["tableauserver.jks", "configuration_keys.json"]
    assert names == [name for name in each for _ in SERVICES] + ["password"]
    Path(replicas[3]["path"]).write_bytes(b"damaged")
    assert run("tsm", node_dir, "security", "keystore", "verify") == 1
    capsys.readouterr()
    assert run("tsm", node_dir, "security", "keystore", "repair") == 0
    assert capsys.readouterr().out.startswith(f"repaired {replicas[3]['path']}")
    assert run("tsm", node_dir, "security", "keystore", "verify") == 0
    assert run("tsm", node_dir, "security", "keystore", "repair") == 0


def test_regeneration_tells_each_step(node_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A-23."""
    assert run("tsm", node_dir, "security", "regenerate-internal-tokens") == 0
    out = capsys.readouterr().out.splitlines()
    assert [line.partition("%")[0] for line in out[:7]] == [
        "14",
        "28",
        "42",
        "57",
        "71",
        "85",
        "100",
    ]
    assert out[-1] == "Internal tokens were regenerated."
    told = run_json(capsys, "tsm", node_dir, "security", "regenerate-internal-tokens")
    assert isinstance(told, dict)
    assert told["resumed"] is False


def test_status_of_a_node_that_nobody_serves(
    node_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("tsm", node_dir, "status") == 0
    first, fingerprint = capsys.readouterr().out.split("Fingerprint: ")
    assert first == "Status: STOPPED\nKeys: OK\nAddress: -\n"  # findings F4
    fingerprint = fingerprint.removesuffix("\n")
    assert run("tsm", node_dir, "status", "-v") == 0
    assert "\tStatus: STOPPED\n" in capsys.readouterr().out
    status = run_json(capsys, "tsm", node_dir, "status")
    assert status == {
        "status": "STOPPED",
        "node": "node1",
        "url": None,
        "controller": None,
        "keys": "OK",
        "fingerprint": fingerprint,
        "processes": {},
        "maintenance": None,
        "warnings": [],
        "ending": [],
    }


# ---- init ----------------------------------------------------------------------------------------


def init(root: Path, password_file: Path, *words: str) -> int:
    return dispatch.main(
        "strongroom",
        ["init", "--data-dir", str(root), "--admin-password-file", str(password_file), *words],
    )


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text("a good password\n")
    return path


def test_init_makes_a_node_once(
    tmp_path: Path, password_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """C-03, C-09: and nothing of the making is left behind."""
    root = tmp_path / "new"
    assert init(root, password_file, "--admin", "boss") == 0
    assert "Administrator: boss" in capsys.readouterr().out
    assert [path.name for path in root.iterdir()] == ["tabsvc"]
    for service in SERVICES:
        (folder,) = (root / "tabsvc" / "config").glob(f"{service}_0.*")
        assert (folder / "tabsvc" / "keystores" / "tableauserver.jks").is_file()
        assert (folder / "workgroup.yml").is_file()
    before = sorted(path.stat().st_mtime_ns for path in root.rglob("*"))
    assert init(root, password_file) == 6
    assert "is never replaced" in capsys.readouterr().err
    assert sorted(path.stat().st_mtime_ns for path in root.rglob("*")) == before


def test_init_refuses_a_directory_with_something_in_it(
    tmp_path: Path, password_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "letter.txt").write_text("mine")
    assert init(tmp_path / "used", password_file) == 6
    assert "'letter.txt' is in it" in capsys.readouterr().err


def test_init_clears_what_an_interrupted_one_left(tmp_path: Path, password_file: Path) -> None:
    root = tmp_path / "new"
    (root / ".init-old" / "tabsvc").mkdir(parents=True)
    (root / ".init-old" / "tabsvc" / "key").write_text("never used")
    assert init(root, password_file) == 0
    assert [path.name for path in root.iterdir()] == ["tabsvc"]


def test_a_failed_init_leaves_nothing(
    tmp_path: Path, password_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from strongroom.errors import StorageError
    from strongroom.services.directory import first_rows

    def fail(*_: object, **__: object) -> None:
        raise StorageError("no space left")

    monkeypatch.setattr(first_rows, "create_platform", fail)
    assert init(tmp_path / "new", password_file) == 41
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("content", ["", "\n", "x" * 2000])
def test_a_password_of_no_use_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "password").write_text(content)
    assert init(tmp_path / "new", tmp_path / "password") == 2
    assert not (tmp_path / "new").exists()


def test_without_a_terminal_a_password_file_is_needed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dispatch.main("strongroom", ["init", "--data-dir", str(tmp_path / "new")]) == 2
    assert "--admin-password-file" in capsys.readouterr().err


def test_a_password_file_that_is_not_there(tmp_path: Path) -> None:
    assert init(tmp_path / "new", tmp_path / "none") == 41


def test_initialize_tsm_takes_the_seeds_options(tmp_path: Path, password_file: Path) -> None:
    words = ["--accepteula", "-d", str(tmp_path / "new"), "--admin-password-file"]
    assert dispatch.main("initialize-tsm", [*words, str(password_file)]) == 0
    assert (tmp_path / "new" / "tabsvc").is_dir()


# ---- the command line itself ---------------------------------------------------------------------


def test_a_directory_without_a_node_is_said_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("tsm", tmp_path, "security", "kms", "status") == 5
    assert "there is no node in" in capsys.readouterr().err


@pytest.mark.parametrize("tool", ["strongroom", "tsm"])
def test_help_lists_every_command(tool: str, capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["--help"], ["help"]):
        assert dispatch.main(tool, words) == 0
        out = capsys.readouterr().out
        assert all(verb in out for verb in dispatch.COMMANDS[tool])


def test_help_says_all_that_recover_does(capsys: pytest.CaptureFixture[str]) -> None:
    """It said no more than what an option of it does."""
    assert dispatch.main("strongroom", ["--help"]) == 0
    line = next(row for row in capsys.readouterr().out.splitlines() if " recover " in row)
    assert "bring back a node whose root or keystore is gone" in line


def test_an_unknown_command_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch.main("tsm", ["sekurity"]) == 2
    assert "unknown command 'sekurity'" in capsys.readouterr().err


@pytest.mark.parametrize(("tool", "word"), [("strongroom", "--version"), ("tsm", "version")])
def test_the_version(tool: str, word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch.main(tool, [word]) == 0
    assert re.fullmatch(r"strongroom \d+\.\d+\.\d+\n", capsys.readouterr().out)


def test_a_data_dir_option_needs_its_directory(capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch.main("tsm", ["status", "--data-dir"]) == 2
    assert dispatch.main("tsm", ["status", "--data-dir=/nowhere/at/all"]) == 5
    assert "/nowhere/at/all" in capsys.readouterr().err


def test_the_environment_names_the_directory(
    node_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STRONGROOM_HOME", str(node_dir))
    assert dispatch.main("tsm", ["security", "keystore", "show"]) == 0
    assert str(node_dir) in capsys.readouterr().out


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("kms.previous_store", "the key management sets it"),
        ("ssl.key.passphrase", "set it with 'tsm configuration set -k ssl.key.passphrase'"),
    ],
)
def test_a_key_that_is_not_set_says_who_sets_it(
    node_dir: Path, key: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """P11."""
    assert run("tsm", node_dir, "configuration", "get", "-k", key) == 7
    assert f"hint: {hint}\n" in capsys.readouterr().err
