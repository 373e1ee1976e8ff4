"""The real tabcmd 2.0.21 against a real server (clients.md 0, 1.3): what it should do works, its own defects are pinned.

`encryptextracts`, `decryptextracts` and `reencryptextracts` end with 2 whatever a server answers (clients.md 0 item 1): for
them the state on the server is what counts.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from strongroom.node import opening
from strongroom.node.opening import Node
from strongroom.repository.rows import ContentRow, JobRow
from tests.support.servers import ADMIN, PASSWORD, TestNode

pytestmark = pytest.mark.interop

MARK = b"PLAINTEXT-OF-AN-EXTRACT"
HYPER = b"Hyper\x08\x00\x00\x01\x00\x02\x00" + MARK * 50_000
JOB_LIMIT_S = 60


@contextmanager
def opened(node: TestNode) -> Iterator[Node]:
    """The node's own services, to look behind the server."""
    inside = opening.open_node(str(node.home))
    try:
        yield inside
    finally:
        inside.close()


def content_of(node: TestNode, site: str) -> list[ContentRow]:
    with opened(node) as inside, inside.repository.reading() as tx:
        return tx.contents.list_for_site(inside.sites.find(site).id)


def last_job(node: TestNode, site: str) -> JobRow:
    """The newest job of a site, when it has ended."""
    end = time.monotonic() + JOB_LIMIT_S
    while True:
        with opened(node) as inside:
            job = inside.jobs.list(inside.sites.find(site).id)[0]
        if job.finished_at is not None or time.monotonic() > end:
            return job
        time.sleep(0.2)


@pytest.fixture
def files(served_node: TestNode) -> Path:
    """A folder with files to publish."""
    (served_node.folder / "small.hyper").write_bytes(HYPER)
    return served_node.folder


def signed_in(node: TestNode, site: str = "") -> TestNode:
    node.login(site)
    return node


def test_login_by_password(served_node: TestNode) -> None:
    done = served_node.tabcmd("login", "-s", served_node.url, "-u", ADMIN.title(), "-p", PASSWORD)
    assert "Succeeded" in done.out + done.err


def test_a_wrong_password_is_exit_1(served_node: TestNode) -> None:
    done = served_node.tabcmd(
        "login", "-s", served_node.url, "-u", ADMIN, "-p", "wrong", "--no-prompt", check=False
    )
    assert done.code == 1
    assert "401001" in done.out + done.err


def test_login_by_password_file_is_remembered(served_node: TestNode) -> None:
    signed_in(served_node)
    assert "NAME: Default" in served_node.tabcmd("listsites").err
    served_node.tabcmd("logout")


def test_login_by_access_token(served_node: TestNode) -> None:
    secret = served_node.run("strongroom", "tokens", "create", "tab", "--user", ADMIN).last_word
    words = ("--token-name", "tab", "--token-value", secret)
    served_node.tabcmd("login", "-s", served_node.url, *words)
    served_node.tabcmd("listsites")


def test_sites(served_node: TestNode) -> None:
    node = signed_in(served_node)
    node.tabcmd("createsite", "Finance")
    assert node.tabcmd("createsite", "Finance", check=False).code == 1
    assert node.tabcmd("createsite", "Finance", "--continue-if-exists").code == 0
    node.run("strongroom", "sites", "set-mode", "Finance", "enforced")
    listed = node.tabcmd("listsites", "--get-extract-encryption-mode")
    assert "EXTRACTENCRYPTION: enforced" in listed.out + listed.err
    # an unrelated edit must not change the mode (clients.md 0 item 7)
    node.tabcmd("editsite", "Finance", "--storage-quota", "100", "--site-mode")
    with opened(node) as inside:
        site = inside.sites.find("Finance")
    assert (site.mode, site.storage_quota) == (2, 100)
    signed_in(node, "finance")
    node.tabcmd("deletesite", "Finance", "-t", "finance")
    signed_in(node)
    assert "Finance" not in node.tabcmd("listsites").err


def test_projects(served_node: TestNode) -> None:
    node = signed_in(served_node)
    node.tabcmd("createproject", "-n", "Sales")
    node.tabcmd("createproject", "-n", "North", "--parent-project-path", "Sales")
    assert node.tabcmd("createproject", "-n", "sales", check=False).code == 1
    assert node.tabcmd("createproject", "-n", "sales", "--continue-if-exists").code == 0
    assert "North" in node.tabcmd("list", "projects", "-n").err
    node.tabcmd("deleteproject", "North", "--parent-project-path", "Sales")
    node.tabcmd("deleteproject", "Sales")


def test_publish_get_and_delete(served_node: TestNode, files: Path) -> None:
    node = signed_in(served_node)
    node.tabcmd("publish", files / "small.hyper", "-n", "Small")
    assert node.tabcmd("publish", files / "small.hyper", "-n", "Small", check=False).code == 1
    for word in ("--overwrite", "--replace"):
        node.tabcmd("publish", files / "small.hyper", "-n", "Small", word)
    node.tabcmd("get", "/datasources/Small.tdsx", "-f", files / "back.tdsx")
    assert (files / "back.hyper").read_bytes() == HYPER
    assert node.tabcmd("get", "/datasources/Nosuch.tdsx", check=False).code == 1
    node.tabcmd("delete", "Small", "-d")
    assert node.tabcmd("delete", "Small", "-d", check=False).code == 1


def test_a_big_file_comes_in_chunks(served_node: TestNode, files: Path) -> None:
    """64 MiB and more; no part of it is ever plain on the disk of an enforced site."""
    node = signed_in(served_node)
    node.run("strongroom", "sites", "create", "Big")
    node.run("strongroom", "sites", "set-mode", "Big", "enforced")
    signed_in(node, "Big")
    big = files / "big.hyper"
    big.write_bytes(HYPER * 60)
    node.tabcmd("publish", big)
    (row,) = content_of(node, "Big")
    assert (row.plaintext_bytes, bool(row.mek_id)) == (len(HYPER) * 60, True)
    stored = node.home / "tabsvc" / "extracts" / row.storage_key
    assert MARK not in stored.read_bytes()
    assert [path for path in stored.parent.parent.rglob("*") if path.is_file()] == [stored]
    node.tabcmd("get", "/datasources/big.tdsx", "-f", files / "bigback.tdsx")
    assert (files / "bigback.hyper").read_bytes() == big.read_bytes()


def test_rotation_as_the_seeds_describe_it(served_node: TestNode, files: Path) -> None:
    """A-22: regenerate the keys, then `tabcmd reencryptextracts` each site; every extract is under the new MEK."""
    node = served_node
    for site in ("Rotated", "West Coast"):
        node.run("strongroom", "sites", "create", site)
        node.run("strongroom", "sites", "set-mode", site, "enforced")
        last_job(node, site)
        signed_in(node, site.lower())
        node.tabcmd("publish", files / "small.hyper")
    before = content_of(node, "Rotated")[0]
    node.run("tsm", "security", "kms", "rotate")
    for site in ("Rotated", "West Coast"):
        done = node.tabcmd("reencryptextracts", site, check=False)
        assert done.code in {0, 2}  # 2 is its own defect
        assert "Job queued" in done.out + done.err
        job = last_job(node, site)
        assert (job.kind, job.state) == ("encrypt_extracts", "succeeded")
        assert job.receipt is not None
        assert job.receipt["remaining"] == 0
        (row,) = content_of(node, site)
        with opened(node) as inside:
            assert row.mek_id == inside.envelope_keys.active_mek_id
        assert row.mek_id != before.mek_id
    node.tabcmd("get", "/datasources/small.tdsx", "-f", files / "rotated.tdsx")
    assert (files / "rotated.hyper").read_bytes() == HYPER


def test_encrypt_and_decrypt_a_site(served_node: TestNode, files: Path) -> None:
    node = served_node
    node.run("strongroom", "sites", "create", "Both")
    node.run("strongroom", "sites", "set-mode", "Both", "enabled")
    signed_in(node, "both")
    node.tabcmd("publish", files / "small.hyper", "--encrypt-extracts")  # dropped by tabcmd itself
    assert content_of(node, "Both")[0].mek_id == ""
    for command, encrypted in (("encryptextracts", True), ("decryptextracts", False)):
        done = node.tabcmd(command, "Both", check=False)
        assert done.code in {0, 2}
        assert last_job(node, "Both").state == "succeeded"
        (row,) = content_of(node, "Both")
        assert bool(row.mek_id) is encrypted
        node.tabcmd("get", "/datasources/small.tdsx", "-f", files / "both.tdsx")
        assert (files / "both.hyper").read_bytes() == HYPER
    node.run("strongroom", "sites", "set-mode", "Both", "enforced")
    done = node.tabcmd("decryptextracts", "Both", check=False)
    assert "enforced" in done.out + done.err
    assert done.code == 1


def test_an_unknown_site_is_exit_1(served_node: TestNode) -> None:
    done = signed_in(served_node).tabcmd("encryptextracts", "NoSuch", check=False)
    assert done.code == 1
    assert "401001" in done.out + done.err


def test_commands_on_one_extract(served_node: TestNode, files: Path) -> None:
    node = served_node
    node.run("strongroom", "sites", "create", "Items")
    node.run("strongroom", "sites", "set-mode", "Items", "enabled")
    signed_in(node, "items")
    node.tabcmd("publish", files / "small.hyper")
    node.tabcmd("createextracts", "-d", "small", "--encrypt")
    assert last_job(node, "Items").state == "succeeded"
    assert content_of(node, "Items")[0].mek_id
    done = node.tabcmd("refreshextracts", "-d", "small", "--synchronous")
    assert "Succeeded" in done.out + done.err or done.code == 0
    assert last_job(node, "Items").kind == "rewrap_extracts"
    assert node.tabcmd("deleteextracts", "-d", "small", check=False).code in {0, 2}
    assert last_job(node, "Items").state == "succeeded"
    assert content_of(node, "Items")[0].mek_id == ""


def test_users_groups_and_lists(served_node: TestNode, files: Path) -> None:
    node = signed_in(served_node)
    (files / "users.csv").write_text("carol,,,,,\n")
    node.tabcmd("createsiteusers", files / "users.csv", "--role", "Viewer")
    node.tabcmd("creategroup", "G")
    node.tabcmd("addusers", "G", "--users", files / "users.csv")
    node.tabcmd("removeusers", "G", "--users", files / "users.csv")
    node.tabcmd("deletegroup", "G")
    node.tabcmd("deletesiteusers", files / "users.csv")
    for noun in ("projects", "datasources", "workbooks", "flows"):
        node.tabcmd("list", noun, "-n", "-o", "-a")
