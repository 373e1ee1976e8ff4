"""`strongroom sites`, `users` and `tokens` on a real node."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from strongroom.access.permissions import Subject
from strongroom.cli import dispatch
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import AuthenticationError
from strongroom.node import environment
from strongroom.node.opening import Node
from strongroom.services.content.items import ContentService
from tests.support.rows import content

Run = Callable[..., int]
LOCAL = Subject.local("os:root")


@pytest.fixture
def run(node_dir: Path) -> Run:
    """Runs `strongroom` in this process on a fresh node."""

    def command(*words: str) -> int:
        return dispatch.main("strongroom", ["--data-dir", str(node_dir), *words])

    return command


@pytest.fixture
def password_file(tmp_path: Path) -> str:
    (tmp_path / "password").write_text("correct horse\n")
    return str(tmp_path / "password")


Output = pytest.CaptureFixture[str]


def publish(node: Node, key: str, *, site_name: str) -> None:
    """A row of an encrypted item; its file is not there."""
    site = node.sites.find(site_name)
    admin = node.users.find("admin")
    with node.repository.transaction() as tx:
        project = tx.projects.find_by_name(site.id, "Default", None)
        assert project is not None
        place = {"site_id": site.id, "project_id": project.id, "owner_id": admin.id}
        tx.contents.insert(content(key, **place))


def test_sites_are_created_and_listed(run: Run, capsys: Output) -> None:
    assert run("sites", "create", "West Coast", "--mode", "enabled") == 0
    assert "site 'West Coast' created, encryption enabled" in capsys.readouterr().out
    assert run("sites", "create", "Other", "--url", "o", "--json") == 0
    assert json.loads(capsys.readouterr().out)["content_url"] == "o"
    assert run("sites", "list", "--json") == 0
    found = {site["name"]: site for site in json.loads(capsys.readouterr().out)}
    assert set(found) == {"Default", "West Coast", "Other"}
    assert found["West Coast"]["content_url"] == "WestCoast"
    assert found["West Coast"]["mode"] == "enabled"
    assert run("sites", "list") == 0
    heading, *rows = capsys.readouterr().out.splitlines()
    assert heading.split() == ["NAME", "CONTENT", "URL", "MODE", "STATE", "ID"]
    assert len(rows) == 3


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["create", "Default"], 6, "exists already"),
        (["create", "x", "--mode", "on"], 2, "unknown encryption mode"),
        (["create", "x", "--url", "a b"], 2, "not a content URL"),
        (["set-mode", "Defualt", "enforced"], 5, "did you mean 'Default'?"),
        (["set-mode", "default", "enforced", "--keep-encrypted"], 2, "disabled only"),
        (["delete", "default", "--yes"], 7, "cannot be deleted"),
        (["delete", "nosuch", "--yes"], 5, "no site 'nosuch'"),
    ],
    ids=["taken", "mode", "url", "unknown", "keep", "default", "delete"],
)
def test_what_is_wrong_has_its_exit_code(
    run: Run, capsys: Output, words: list[str], code: int, message: str
) -> None:
    assert run("sites", *words) == code
    assert message in capsys.readouterr().err


def test_setting_the_mode_tells_the_job(run: Run, capsys: Output, node: Node) -> None:
    assert run("sites", "set-mode", "default", "ENFORCED") == 0
    printed = capsys.readouterr()
    assert printed.out == "the mode of 'Default' is enforced\n"
    assert node.jobs.list()[0].id in printed.err
    assert run("sites", "set-mode", "default", "enforced") == 0
    assert "nothing to do" in capsys.readouterr().err
    assert len(node.jobs.list()) == 1


def test_a_decryption_is_confirmed(
    run: Run, capsys: Output, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Q-06: with the count."""
    run("sites", "set-mode", "default", "enabled")
    publish(node, "c1", site_name="default")
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    assert run("sites", "set-mode", "default", "disabled") == 7
    assert "1 encrypted extract of 'Default' will be decrypted" in capsys.readouterr().err
    assert node.sites.find("").mode == 1
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert run("sites", "set-mode", "default", "disabled") == 0
    assert node.sites.find("").mode == 0
    run("sites", "set-mode", "default", "enabled")
    assert run("sites", "set-mode", "default", "disabled", "--keep-encrypted") == 0
    run("sites", "set-mode", "default", "enabled")
    assert run("sites", "set-mode", "default", "disabled", "--yes") == 0


def test_nothing_encrypted_needs_no_question(run: Run) -> None:
    run("sites", "set-mode", "default", "enabled")
    assert run("sites", "set-mode", "default", "disabled") == 0


def test_the_mode_of_new_sites(run: Run, capsys: Output) -> None:
    assert run("sites", "default-mode") == 0
    assert capsys.readouterr().out == "disabled\n"
    assert run("sites", "default-mode", "enforced") == 0
    assert run("sites", "create", "New") == 0
    assert "encryption enforced" in capsys.readouterr().out


def test_deleting_a_site_is_confirmed(
    run: Run, capsys: Output, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("sites", "create", "Other")
    publish(node, "c1", site_name="other")
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert run("sites", "delete", "other") == 7
    assert isinstance(node.content, ContentService)
    assert run("sites", "delete", "other", "-y") == 0
    assert "deleted with 1 file\n" in capsys.readouterr().out
    with node.repository.reading() as tx:
        assert tx.storage_keys() == set()


def test_users_are_created_and_listed(run: Run, capsys: Output, password_file: str) -> None:
    words = ["users", "create", "bob", "--password-file", password_file]
    assert run(*words, "--full-name", "Bob B.", "--site", "default", "--role", "viewer") == 0
    assert run("users", "create", "robot", "--no-password", "--server-admin") == 0
    capsys.readouterr()
    assert run("users", "list", "--json") == 0
    found = {user["name"]: user for user in json.loads(capsys.readouterr().out)}
    assert found["bob"]["role"] is None
    assert found["bob"]["full_name"] == "Bob B."
    assert (found["robot"]["has_password"], found["robot"]["is_server_admin"]) == (False, True)
    assert run("users", "list", "--site", "default") == 0
    printed = capsys.readouterr()
    assert "Viewer" in printed.out
    assert printed.out.startswith("NAME")


def test_a_password_is_set_from_stdin(
    run: Run, node: Node, password_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("users", "create", "bob", "--password-file", password_file)
    run("users", "set-role", "bob", "Creator")
    raw = io.TextIOWrapper(io.BytesIO(b"another password\n"))
    monkeypatch.setattr("sys.stdin", raw)
    assert run("users", "set-password", "bob", "--password-file", "-") == 0
    assert node.auth.sign_in("bob", SecretBytes(b"another password"), "")[1].role == "Creator"
    with pytest.raises(AuthenticationError):
        node.auth.sign_in("bob", SecretBytes(b"correct horse"), "")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["create", "x", "--site", "default", "--no-password"], 2, "go together"),
        (["create", "x", "--no-password", "--password-file", "f"], 2, "exclude"),
        (
            ["create", "x", "--password-file", "/nosuch"],
            41,
            "cannot read the password from /nosuch",
        ),
        (["create", "x"], 2, "give it with --password-file"),
        (["create", "ADMIN", "--no-password"], 6, "exists already"),
        (["create", "x", "--no-password", "--site", "default", "--role", "King"], 2, "King"),
        (["set-role", "amdin", "Viewer"], 5, "did you mean 'admin'?"),
        (["set-role", "admin", "Viewer"], 7, "last server administrator"),
        (["delete", "admin"], 7, "last server administrator"),
    ],
    ids=["site", "both", "file", "tty", "taken", "role", "unknown", "demote", "delete"],
)
def test_what_is_wrong_with_users(
    run: Run, capsys: Output, node: Node, words: list[str], code: int, message: str
) -> None:
    assert run("users", *words) == code
    assert message in capsys.readouterr().err
    assert [user.name for user in node.users.page(LOCAL).rows] == ["admin"]


def test_a_user_is_deleted_and_its_projects_given_away(run: Run, node: Node) -> None:
    run("users", "create", "bob", "--no-password", "--site", "default", "--role", "Creator")
    with node.repository.transaction() as tx:
        project = tx.projects.page(node.sites.find("").id).rows[0]
        tx.projects.update(project.id, owner_id=node.users.find("bob").id)
    assert run("users", "delete", "bob") == 6
    assert run("users", "delete", "bob", "--give-to", "admin") == 0
    assert run("users", "delete", "bob") == 5


def test_a_token_is_made_used_and_revoked(run: Run, capsys: Output, node: Node) -> None:
    """The secret is the last word of the last line; scripts rely on it."""
    assert run("tokens", "create", "ci", "--user", "admin", "--days", "30") == 0
    printed = capsys.readouterr()
    secret = printed.out.splitlines()[-1].split()[-1]
    assert secret.startswith("srpat_")
    assert secret not in printed.err
    session, _ = node.auth.sign_in_with_token("ci", SecretBytes(secret.encode()), "")
    assert run("tokens", "list", "--json") == 0
    listed = capsys.readouterr().out
    assert secret not in listed
    assert json.loads(listed)[0]["user"] == "admin"
    assert run("tokens", "list", "--user", "admin") == 0
    assert "ci" in capsys.readouterr().out
    assert run("tokens", "revoke", "ci") == 5
    assert "--user" in capsys.readouterr().err
    assert run("tokens", "revoke", "CI", "--user", "admin") == 0
    with pytest.raises(AuthenticationError):
        node.auth.identify(session)
    assert run("tokens", "revoke", "ci", "--user", "admin") == 5


def test_a_token_is_revoked_by_its_id(run: Run, capsys: Output) -> None:
    run("tokens", "create", "ci", "--user", "admin")
    capsys.readouterr()
    run("tokens", "list", "--json")
    assert run("tokens", "revoke", json.loads(capsys.readouterr().out)[0]["id"]) == 0


def test_tokens_that_are_refused(run: Run, capsys: Output) -> None:
    assert run("tokens", "create", "ci", "--user", "nosuch") == 5
    assert run("tokens", "create", "ci", "--user", "admin", "--days", "0") == 2
    assert run("tokens", "create", "ci", "--user", "admin", "--days", "99999999") == 2
    assert capsys.readouterr().out == ""


def test_without_a_node_there_is_a_hint(tmp_path: Path, capsys: Output) -> None:
    code = dispatch.main("strongroom", ["--data-dir", str(tmp_path), "sites", "list"])
    assert code == 5
    assert environment.HOME_VARIABLE in capsys.readouterr().err
