"""`tsm -s https://host:8850` from a machine without a node, and what stays on that machine (issue 11 D)."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from strongroom.cli import dispatch
from strongroom.cli.terminal import streams
from strongroom.node import certificates
from tests.contract.joining.commands import Said
from tests.support.control_service import Controlled, controlled
from tests.support.web_client import ADMIN, PASSWORD

Far = Callable[..., Said]


@pytest.fixture
def one(node_dir: Path) -> Iterator[Controlled]:
    with controlled(node_dir) as found:
        yield found


@pytest.fixture
def far(
    one: Controlled,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Far:
    """A command on a machine without a node, whose user has the authority's certificate and the password in files."""
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    monkeypatch.setenv("STRONGROOM_HOME", str(tmp_path / "nothing"))
    monkeypatch.chdir(tmp_path)
    Path("ca.pem").write_text(certificates.links(one.node).authority())
    Path("password").write_text(PASSWORD + "\n")

    def call(*words: str, who: tuple[str, ...] = ("-u", ADMIN), trust: str = "ca.pem") -> Said:
        capsys.readouterr()
        believed = ("--controller-ca", trust) if trust else ()
        sign_in = (*who, "--password-file", "password") if who else ()
        code = dispatch.main("tsm", [*words, "-s", one.url, *believed, *sign_in])
        return Said(code, *capsys.readouterr())

    return call


def test_the_configuration_is_changed_from_elsewhere(far: Far, one: Controlled) -> None:
    assert far("version").out.startswith("strongroom ")
    Path("value").write_text("a secret value\n")
    said = far(
        "configuration", "set", "-k", "vizqlserver.external_proxy_password", "--value-file", "value"
    )
    assert said.code == 0, said.err
    assert "1 pending change" in said.err
    assert "vizqlserver.external_proxy_password" in far("pending-changes", "list").out
    assert far("pending-changes", "apply", "--ignore-prompt").code == 0
    said = far("configuration", "get", "-k", "vizqlserver.external_proxy_password")
    assert (said.code, said.out) == (0, "a secret value\n")
    found = list(one.node.events.history("SECRET_DECRYPTED"))
    assert all(record["actor"] != "system" for record in found)


def test_looks_work_from_elsewhere(far: Far) -> None:
    said = far("security", "kms", "status", "--json")
    assert said.code == 0, said.err
    assert '"status": "OK"' in said.out
    assert far("topology", "list-nodes").out == "node1\n"
    assert "Keys: OK" in far("status").out
    assert far("security", "secrets", "verify").code == 0
    said = far("security", "secrets", "rotate", "redis.password", "--dry-run")
    assert "nothing was changed (--dry-run)" in said.err
    assert far("configuration", "get", "-k", "no.such.key").code == 5


def test_the_node_asks_and_is_answered_here(far: Far, monkeypatch: pytest.MonkeyPatch) -> None:
    """C-20: what restarts the server is agreed to by the person, who is elsewhere."""
    assert far("configuration", "set", "-k", "gateway.https.port", "-v", "9443").code == 0
    answers = iter(["n", "y"])
    asked: list[str] = []

    def answer(question: str) -> str:
        asked.append(question)
        return next(answers)

    monkeypatch.setattr(streams, "ask", answer)
    said = far("pending-changes", "apply")
    assert (said.code, "the question was not answered with y" in said.err) == (7, True)
    assert far("pending-changes", "apply").code == 0
    assert asked == ["applying these changes restarts the server; go on? (y/n): "] * 2


@pytest.mark.parametrize(
    "words",
    [
        ("topology", "nodes", "get-bootstrap-file", "-f", "x"),
        ("security", "kms", "set-mode", "local"),
        ("maintenance", "backup", "-f", "x"),
        ("settings", "export", "-f", "x"),
    ],
)
def test_what_is_never_remote_says_so_by_name(far: Far, words: tuple[str, ...]) -> None:
    said = far(*words)
    assert said.code == 4
    assert f"'tsm {' '.join(words[:3])}".split(" -")[0][:12] in said.err
    assert "is never remote" in said.err
    assert not Path("x").exists()


def test_no_file_of_the_node_is_read_for_somebody_elsewhere(far: Far, one: Controlled) -> None:
    """The line that comes in is parsed like any other: an option that names a file would name one of the node."""
    from strongroom.cli.terminal.session import Session, SessionOptions
    from strongroom.errors import UsageError

    session = Session(SessionOptions(str(one.node.paths.root)), dispatch.run_line)
    words = ["configuration", "set", "-k", "redis.password", "--value-file", "/etc/hostname"]
    with pytest.raises(UsageError, match="a file of this node is not read"):
        dispatch.run_line(words, session)
    with pytest.raises(UsageError, match="no such command"):
        dispatch.run_line(["nothing"], session)


def test_nobody_is_believed_without_a_word(far: Far, tmp_path: Path, one: Controlled) -> None:
    """P12: by a file, or by the first look, whose fingerprint is printed and kept."""
    said = far("version", trust="")
    assert (said.code, "nothing says whose certificate is believed" in said.err) == (3, True)
    said = far("version", "--trust-admin-controller-cert", trust="")
    assert said.code == 0, said.err
    assert "is believed from now on" in said.err
    assert far("version", trust="").code == 0
    [kept] = (tmp_path / "user/.config/strongroom/controllers").iterdir()
    assert kept.read_text() == Path("ca.pem").read_text()
    certificates.service(one.node).renew_authority("os:tests")
    assert far("version", trust="").code == 0


def test_who_asks_is_said_without_a_password_in_the_line(
    far: Far, capsys: pytest.CaptureFixture[str]
) -> None:
    assert far("version", who=()).code == 3
    assert far("version", "-p", "wrong", who=("-u", ADMIN)).code == 0  # the file counts
    Path("password").write_text("wrong\n")
    said = far("version")
    assert said.code == 3
    assert "wrong" not in said.err.replace("wrong name", "")
    assert far("version", "--token-name", "t", "--token-file", "password").code == 3
    with contextlib.suppress(SystemExit):
        assert dispatch.main("tsm", ["version", "-s", "http://x", "-u", "a"]) == 2
    assert "is no address of a control service" in capsys.readouterr().err


@pytest.mark.parametrize("named", ["the password", "the token", "the new value"])
def test_a_file_that_is_no_text_is_refused_without_its_bytes(far: Far, named: str) -> None:
    """Python's own error names a byte of what could not be read."""
    for name in ("bad", "password") if named == "the password" else ("bad",):
        Path(name).write_bytes(b"begins \xd3\xd4 ends")
    words: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
        "the password": (("version",), ("-u", ADMIN)),
        "the token": (("version",), ("--token-name", "a", "--token-file", "bad")),
        "the new value": (
            ("security", "secrets", "rotate", "redis.password", "--value-file", "bad"),
            ("-u", ADMIN),
        ),
    }
    command, who = words[named]
    said = far(*command, who=who)
    assert said.code == 2
    assert named in said.err
    assert "text in UTF-8" in said.err
    assert "0xd3" not in said.err + said.out
