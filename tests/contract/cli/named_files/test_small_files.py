"""Every option that reads a small file refuses what the one rule refuses, from a file and from standard input (findings K10).

The options are those of the parsers: one that is added fails here until somebody says what is in its file.
"""

import io
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from strongroom.cli import dispatch
from strongroom.crypto.secret import SecretBytes
from strongroom.node import opening
from tests.support.command_lines import Line, lines

pytestmark = pytest.mark.table

VALUE, LINES, OWN_FORMAT = "one value", "lines", "a format of its own"
#: What is in the file of an option, by the name that the option has in the parsed result.
KINDS: Mapping[str, str] = {
    "admin_password_file": VALUE,
    "password_file": VALUE,
    "passphrase_file": VALUE,
    "value_file": VALUE,
    "token_file": VALUE,
    "secret_id_file": VALUE,
    "pin_file": VALUE,
    "auth_file": VALUE,
    "zookeeper_password_file": VALUE,
    "postgres_password_file": VALUE,
    "identity": LINES,
    "share": LINES,
    "root_credential_file": LINES,
    "credentials_file": LINES,
    "ca_file": LINES,
    "checkpoint": LINES,
    "bootstrap": OWN_FORMAT,
    "file": OWN_FORMAT,
    "files": OWN_FORMAT,
    "log": OWN_FORMAT,
    "zookeeper_ca": OWN_FORMAT,
    "zookeeper_certificate": OWN_FORMAT,
    "postgres_ca": OWN_FORMAT,
    "url_ca": OWN_FORMAT,
}
#: Not read from standard input.
BY_NAME_ONLY = {"ca_file"}
_SERVICES: Mapping[str, str] = {
    "zookeeper": "zk.invalid:2281",
    "zookeeper_ca": "settings.json",
    "zookeeper_certificate": "settings.json",
    "zookeeper_password_file": "token",
    "postgres": "host=db.invalid",
    "postgres_password_file": "token",
}
#: What else a command needs, so that it comes to read the file.
NEEDS: Mapping[str, Mapping[str, str]] = {
    "strongroom cluster check": _SERVICES,
    "strongroom cluster enable": _SERVICES,
    "strongroom cluster set-password": {"service": "postgres"},
    "strongroom run": {"url": "http://127.0.0.1:9"},
    "strongroom users set-password": {"name": "admin"},
    "tsm configuration set": {"key": "redis.password"},
    "tsm security secrets rotate": {"keys": "redis.password"},
    "tsm settings export": {"file": "out"},
    "tsm settings import": {"file": "settings.json"},
    "tsm topology nodes get-bootstrap-file": {"file": "out"},
    "strongroom backup verify": {"file": "./whole.tsbak"},
    "tsm maintenance restore": {"file": "./whole.tsbak"},
    "strongroom backup restore": {"file": "./whole.tsbak"},
    "initialize-tsm": {"bootstrap": "settings.json"},
}
#: Behind the verb that names the kind of root: `set-mode KIND` and `roots add KIND`.
ROOT_NEEDS: Mapping[str, Mapping[str, str]] = {
    "openbao": {"address": "https://bao.invalid:8200", "key": "k"},
    "azure": {"key_name": "K", "vault_baseurl": "https://v.vault.azure.net"},
    "pkcs11": {"module": "settings.json"},
    "gcp": {"key_name": "projects/p/locations/l/keyRings/r/cryptoKeys/k"},
}
BAD: Mapping[str, tuple[bytes, str]] = {
    "empty": (b"", "is empty"),
    "blank": (b"\r\n", "is empty"),
    "zero byte": (b"hunter2\0\n", "zero byte"),
    "UTF-16": ("hunter2\n".encode("utf-16"), "UTF-16"),
    "long": (b"hunter2" * 1_000_000, "more than"),
}
BAD_VALUES: Mapping[str, tuple[bytes, str]] = {
    **BAD,
    "two lines": (b"hunter2\nhunter3\n", "more than one line"),
    "trailing blank line": (b"hunter2\n\n", "more than one line"),
}
FILES = [(line, one.dest) for line in lines() for one in line.options if one.metavar == "FILE"]
SMALL = [
    pytest.param(line, dest, id=f"{line.name} {dest}".replace(" ", "-"))
    for line, dest in FILES
    if KINDS.get(dest) in {VALUE, LINES}
]
Capture = pytest.CaptureFixture[str]


def test_what_is_in_the_file_of_every_option_is_known() -> None:
    assert {dest for _, dest in FILES} == set(KINDS)
    assert len(SMALL) > 30


@pytest.fixture(scope="session")
def whole_backup(pristine_node: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("backup") / "node"
    shutil.copytree(pristine_node, home)
    assert dispatch.main("tsm", ["--data-dir", str(home), "maintenance", "backup", "-f", "b"]) == 0
    return next(home.rglob("b.tsbak"))


@pytest.fixture
def home(
    node_dir: Path, tmp_path: Path, whole_backup: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A fresh node, and a folder to be in."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    shutil.copy(whole_backup, "whole.tsbak")
    Path("token").write_text("s.token\n")
    Path("settings.json").write_text('{"configKeys": {}}\n')
    return node_dir


def _run(line: Line, home: Path, values: Mapping[str, str]) -> int:
    target = (
        home.with_name("new") if line.tool == "initialize-tsm" or "init" in line.verbs else home
    )
    needs = {**NEEDS.get(line.name, {}), **ROOT_NEEDS.get(line.verbs[-1] if line.verbs else "", {})}
    if line.verbs[-1:] == ("openbao",) and "ca_file" in values:
        needs = {**needs, "token_file": "token"}
    if "admin_password_file" in values:
        needs.pop("bootstrap", None)  # of a further node, which has no administrator of its own
    words = line.words({**needs, **values})
    return dispatch.main(line.tool, ["--data-dir", str(target), *words])


@pytest.mark.parametrize(("line", "dest"), SMALL)
def test_a_small_file_that_is_none_is_refused(
    line: Line, dest: str, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """By the same words from both places, with nothing of what was read, and nothing done."""
    bad = BAD_VALUES if KINDS[dest] == VALUE else BAD
    for name, (data, says) in bad.items():
        Path("small").write_bytes(data)
        code = _run(line, home, {dest: "small"})
        said = capsys.readouterr().err
        assert code == 2, (name, said)
        assert says in said, name
        assert "hunter" not in said
        if dest in BY_NAME_ONLY:
            continue
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
        assert _run(line, home, {dest: "-"}) == 2
        assert capsys.readouterr().err == said.replace("small", "standard input"), name
    assert not home.with_name("new").exists()
    assert not Path("out").exists()


@pytest.mark.parametrize(("line", "dest"), SMALL)
def test_a_place_that_is_no_file_is_refused(
    line: Line, dest: str, home: Path, capsys: Capture
) -> None:
    for place, code, says in (
        ("none", 41, "cannot read"),
        (".", 2, "neither a file nor a pipe"),
        ("/dev/zero", 2, "neither a file nor a pipe"),
    ):
        got = _run(line, home, {dest: place})
        said = capsys.readouterr().err
        if dest in BY_NAME_ONLY:
            assert (got, "there is no file" in said) == (2, True)
        else:
            assert (got, says in said) == (code, True), said


GOOD = [b"hunter2-hunter2", b"hunter2-hunter2\n", b"\xef\xbb\xbfhunter2-hunter2\r\n"]


@pytest.mark.parametrize("data", GOOD)
@pytest.mark.parametrize("place", ["small", "-"])
def test_a_password_is_the_same_however_it_was_saved(
    home: Path, data: bytes, place: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """Findings K10: an editor's byte order mark and line ends are no part of it."""
    Path("small").write_bytes(data)
    for words in (
        ("strongroom", "users", "set-password", "admin", "--password-file", place),
        ("tsm", "configuration", "set", "-k", "redis.password", "--value-file", place),
        ("tsm", "pending-changes", "apply", "--ignore-prompt"),
    ):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
        assert dispatch.main(words[0], ["--data-dir", str(home), *words[1:]]) == 0
    node = opening.open_node(str(home))
    node.auth.sign_in("admin", SecretBytes(b"hunter2-hunter2"), "")
    node.close()
    capsys.readouterr()
    words = ("configuration", "get", "-k", "redis.password")
    assert dispatch.main("tsm", ["--data-dir", str(home), *words]) == 0
    assert capsys.readouterr().out == "hunter2-hunter2\n"


def test_a_command_that_failed_before_a_pipe_sets_nothing(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """Findings D6: `false | tsm configuration set -k redis.password --value-file -`."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO()))
    words = ("configuration", "set", "-k", "redis.password", "--value-file", "-")
    assert dispatch.main("tsm", ["--data-dir", str(home), *words]) == 2
    assert "standard input is empty: the value of redis.password" in capsys.readouterr().err
    assert dispatch.main("tsm", ["--data-dir", str(home), "pending-changes", "list"]) == 0
    assert "no pending changes" in capsys.readouterr().err
