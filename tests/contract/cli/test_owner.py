"""A node belongs to one user, and only that user works on it: K-06, C-10."""

import os
import pwd
from pathlib import Path

import pytest

from strongroom.cli import dispatch
from strongroom.errors import PermissionDeniedError
from strongroom.runtime.paths import DataPaths
from strongroom.system import os_users

_WITHOUT_NAME = 3_999_999_999


def _give_away(node_dir: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Let the node be somebody else's, for one who is root or takes himself for root; returns the owner."""
    folder = DataPaths(node_dir).coordination.parent
    if os.geteuid() == 0:
        os.chown(folder, _WITHOUT_NAME, -1)
    else:
        monkeypatch.setattr("os.geteuid", lambda: 0)
    return folder.stat().st_uid


def _contents(folder: Path) -> dict[str, tuple[int, int]]:
    found = {path: path.lstat() for path in sorted(folder.rglob("*"))}
    return {str(path): (status.st_mtime_ns, status.st_uid) for path, status in found.items()}


@pytest.mark.parametrize(
    "words",
    [
        ["configuration", "get", "-k", "smtp.host"],
        ["security", "kms", "rotate"],
        ["maintenance", "backup", "-f", "b"],
    ],
)
def test_root_changes_nothing_in_the_node_of_another_user(
    words: list[str],
    node_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Files of root's would stay, that the node's own processes cannot use."""
    owner = _give_away(node_dir, monkeypatch)
    before = _contents(node_dir)
    code = dispatch.main("tsm", [*words, "--data-dir", str(node_dir)])
    assert code == PermissionDeniedError.exit_code
    said = capsys.readouterr().err
    assert f"belongs to the user {os_users.user_name(owner)}, and this runs as" in said
    assert f"{os_users.as_user(owner)} ..." in said
    assert _contents(node_dir) == before


def test_the_names_of_users() -> None:
    me = pwd.getpwuid(os.getuid()).pw_name
    assert (os_users.user_name(os.getuid()), os_users.as_user(os.getuid())) == (me, f"sudo -u {me}")
    assert os_users.user_name(_WITHOUT_NAME) == str(_WITHOUT_NAME)
    assert os_users.as_user(_WITHOUT_NAME) == f"sudo -u '#{_WITHOUT_NAME}'"
