"""Modes of everything that a node creates, whatever the umask says (security tests S2; C-10)."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom import new_node
from strongroom.bootstrap import installation_access
from strongroom.crypto.secret import SecretBytes
from strongroom.durable import PRIVATE
from strongroom.repository.rows import SiteMode
from tests.web_client import ADMIN, PASSWORD, serve


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def loose(root: Path) -> list[str]:
    """Everything below, and the folder itself, that has another mode than it should."""
    shared = installation_access()
    folders = {PRIVATE.folder_mode, shared.folder_mode}
    files = {PRIVATE.file_mode, shared.file_mode}
    found = []
    for path in [root, *root.rglob("*")]:
        status = path.lstat()
        mode = stat.S_IMODE(status.st_mode)
        if stat.S_ISLNK(status.st_mode) or mode not in (folders if path.is_dir() else files):
            found.append(f"{mode:04o} {path.relative_to(root.parent)}")
    return found


@pytest.mark.usefixtures("umask")
def test_everything_of_a_node_has_its_mode(tmp_path: Path) -> None:
    root = tmp_path / "node"
    new_node.create_node(str(root), ADMIN, SecretBytes(PASSWORD.encode()))
    assert loose(root) == []
    with serve(root) as served:
        client = served.site("Site", SiteMode.ENFORCED)
        assert client.publish("data").status == 201
        upload = client.on_site("POST", "/fileUploads").find("fileUpload")
        assert upload.get("uploadSessionId")
        served.node.kms.rotate("os:test")
        assert loose(root) == []
