"""A node belongs to one user, and only that user works on it: K-06, C-10; findings D14."""

import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from strongroom.cli import dispatch
from strongroom.errors import PermissionDeniedError
from strongroom.runtime.paths import DataPaths
from strongroom.system import os_users
from tests.contract.cli.node.test_data_dirs import LINES
from tests.support import privileges
from tests.support.servers import ROOT

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


_EVERY_COMMAND = """
import sys
from strongroom.cli import dispatch
from tests.contract.cli.node.test_data_dirs import LINES

for line in LINES:
    print(f"\\x1e{line.name}\\x1f", file=sys.stderr, end="")
    code = dispatch.main(line.tool, ["--data-dir", sys.argv[1], *line.words()])
    print(f"\\x1f{code}", file=sys.stderr, end="")
"""


def _without_roots_powers() -> list[str]:
    """What stands before a command so that the kernel refuses it what belongs to others, also if it is root's."""
    powers = "-dac_override,-dac_read_search"
    words = ["setpriv", "--bounding-set", powers, "--inh-caps", powers]
    return words if os.geteuid() == 0 else []


def test_whoever_may_not_enter_is_told_by_every_command(node_dir: Path) -> None:
    """Findings D14: `status` as another user said that a file of the node cannot be read, and what to do of no use."""
    privileges.do(
        "chown",
        "-R",
        str(privileges.STRANGER),
        node_dir,
        needs="a system that lets root give files",
    )
    try:
        done = subprocess.run(
            [*_without_roots_powers(), sys.executable, "-c", _EVERY_COMMAND, str(node_dir)],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    finally:
        privileges.do(
            "chown", "-R", str(os.getuid()), node_dir, needs="a system that lets root give files"
        )
    assert done.returncode == 0, done.stderr
    told = [part.split("\x1f") for part in done.stderr.split("\x1e")[1:]]
    assert [name for name, _, _ in told] == [line.name for line in LINES]
    sentence = f"{node_dir} may not be entered by "
    denied = {name for name, _, code in told if code == str(PermissionDeniedError.exit_code)}
    for name, said, _ in told:
        # the others look at what else they were given first, and say what is wrong with that
        assert (sentence in said) == (str(node_dir) in said) == (name in denied), (name, said)
    assert denied >= {"strongroom status", "tsm status", "strongroom init", "initialize-tsm"}
    assert len(denied) > 70
