"""Modes of everything that a node creates, whatever the umask says (security tests S2; C-10)."""

import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from strongroom.cli import dispatch
from strongroom.crypto import age
from strongroom.crypto.secret import SecretBytes
from strongroom.node import create
from strongroom.node.environment import installation_file_modes
from strongroom.repository.rows import SiteMode
from strongroom.system.durable import PRIVATE
from tests.support.web_client import ADMIN, PASSWORD, serve


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def loose(root: Path) -> list[str]:
    """Everything below, and the folder itself, that has another mode than it should."""
    shared = installation_file_modes()
    folders = {PRIVATE.folder_mode, shared.folder_mode}
    files = {PRIVATE.file_mode, shared.file_mode}
    found = []
    for path in [root, *root.rglob("*")]:
        status = path.lstat()
        mode = stat.S_IMODE(status.st_mode)
        if stat.S_ISLNK(status.st_mode) or mode not in (folders if path.is_dir() else files):
            found.append(f"{mode:04o} {path.relative_to(root.parent)}")
    return found


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a command in this process; it has to succeed."""

    def call(tool: str, *words: str | Path) -> str:
        code = dispatch.main(tool, [str(word) for word in words])
        said = capsys.readouterr()
        assert code == 0, said.err
        return said.out

    return call


@pytest.mark.usefixtures("umask")
def test_everything_of_a_node_has_its_mode(tmp_path: Path) -> None:
    root = tmp_path / "node"
    create.create_node(str(root), ADMIN, SecretBytes(PASSWORD.encode()))
    assert loose(root) == []
    with serve(root) as served:
        client = served.site("Site", SiteMode.ENFORCED)
        assert client.publish("data").status == 201
        upload = client.on_site("POST", "/fileUploads").find("fileUpload")
        assert upload.get("uploadSessionId")
        served.node.meks.rotate("os:test")
        assert loose(root) == []


@pytest.mark.usefixtures("umask")
def test_everything_that_leaves_a_node_and_what_comes_of_it_has_its_mode(
    node_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Callable[..., str]
) -> None:
    """Exports, bootstrap files, a kit, certificates, backups, and the nodes after rotation, restore and recovery."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STRONGROOM_HOME", str(node_dir))
    identity = age.new_identity()
    Path("key").write_bytes(identity.text.reveal())
    to, by = ("--recipient", identity.recipient), ("--identity", "key")
    Path("ssl").mkdir()
    Path("ssl").chmod(0o700)
    for key, value in (
        ("indexandsearchserver.ssl.directory", str(tmp_path / "ssl")),
        ("svcmonitor.notification.smtp.password", "a secret"),
    ):
        run("tsm", "configuration", "set", "-k", key, "-v", value)
    run("tsm", "pending-changes", "apply", "--ignore-prompt")
    run("tsm", *_words("security kms roots add shares --threshold 1 --shares 2 --output kit"))
    run("tsm", *_words("security regenerate-internal-tokens"))
    for number, words in enumerate((to, (), ("--no-secrets",))):
        run("tsm", *_words("settings export -f"), f"export{number}", *words)
    for number, words in enumerate((to, ())):
        run("tsm", *_words("topology nodes get-bootstrap-file -f"), f"node{number}", *words)
    run("tsm", *_words("settings import -f export0"), *by)
    run("initialize-tsm", *_words("-b node0 -d second"), *by)
    run("tsm", *_words("maintenance backup -f made --include-settings"), *to)
    backup = node_dir / "tabsvc" / "files" / "backups" / "made.tsbak"
    run("strongroom", "backup", "verify", backup, "--drill", *by)
    run("tsm", *_words("maintenance restore --ignore-prompt -f"), backup, *by)
    run("tsm", *_words("security kms rotate"))
    shutil.rmtree(node_dir / "tabsvc" / "keystore")
    run("strongroom", *_words("recover --share kit/share-1-of-2.txt"))
    run("strongroom", "events", "verify")
    assert [*loose(node_dir), *loose(tmp_path / "second"), *loose(tmp_path / "ssl")] == []
    given = [path for name in ("export?", "node?", "kit/*") for path in Path().glob(name)]
    assert len(given) == 3 + 2 + 2
    assert {stat.S_IMODE(path.stat().st_mode) for path in given} == {0o600}
    assert stat.S_IMODE(Path("kit").stat().st_mode) == 0o700


def _words(text: str) -> list[str]:
    return text.split()
