"""Settings and bootstrap files sealed for the real age, and by it; a node from gpg's pipe; nothing secret on any command line.

C-18, C-22, P7; S3.
"""

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.canary import forms, recorder
from tests.support.servers import BIN, TestNode, create_node

pytestmark = [pytest.mark.interop, pytest.mark.slow]

SECRET = "svcmonitor.notification.smtp.password"
VALUE = "a password of the sealing tests"
PASSPHRASE = "correct horse battery staple"
_LIMIT_S = 120


@pytest.fixture(scope="module")
def node() -> Iterator[TestNode]:
    """In a short folder, as gpg's agent needs one; with a secret of ours, an identity and a passphrase."""
    folder = Path(tempfile.mkdtemp(prefix="sr-"))
    try:
        made = create_node(folder)
        made.run("tsm", "configuration", "set", "-k", SECRET, "--value-file", "-", stdin=VALUE)
        made.run("tsm", "pending-changes", "apply", "--ignore-prompt")
        tool(made, "age-keygen", "-o", "key")
        (folder / "passphrase").write_text(PASSPHRASE + "\n")
        yield made
        tool(made, "gpgconf", "--kill", "all")
    finally:
        shutil.rmtree(folder)


def tool(node: TestNode, *words: str, data: bytes | None = None) -> bytes:
    """Run somebody else's program in the node's folder."""
    done = subprocess.run(
        words,
        cwd=node.folder,
        env=node.variables(),
        input=data,
        capture_output=True,
        check=True,
        timeout=_LIMIT_S,
    )
    return done.stdout


def shell(node: TestNode, lines: str) -> "subprocess.CompletedProcess[bytes]":
    """Run shell lines in the node's folder; what they leave in the background keeps no pipe of ours."""
    path = f"{BIN}:{os.environ['PATH']}"
    with (node.folder / "said").open("wb") as said:
        return subprocess.run(
            ["bash", "-c", lines],
            cwd=node.folder,
            env=node.variables({"PATH": path}),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            check=False,
            timeout=_LIMIT_S,
        )


def age_at_a_terminal(node: TestNode, words: str, answers: int) -> None:
    """age asks for passphrases at a terminal only; `script` is one."""
    asked = subprocess.Popen(
        ["script", "-qec", words, "/dev/null"],
        cwd=node.folder,
        env=node.variables(),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    assert asked.stdin is not None
    asked.stdin.write(f"{PASSPHRASE}\n".encode() * answers)
    asked.stdin.flush()
    try:
        assert asked.wait(_LIMIT_S) == 0
    finally:
        asked.stdin.close()
        asked.kill()
        asked.wait()


def recipient(node: TestNode) -> str:
    return tool(node, "age-keygen", "-y", "key").decode().strip()


def settings_in(data: bytes) -> dict[str, str]:
    found: dict[str, str] = json.loads(data)["configKeys"]
    return found


def test_age_opens_an_export_for_a_recipient(node: TestNode) -> None:
    """Must show 4."""
    node.run("tsm", "settings", "export", "-f", "out.age", "--recipient", recipient(node))
    assert VALUE.encode() not in (node.folder / "out.age").read_bytes()
    assert settings_in(tool(node, "age", "-d", "-i", "key", "out.age"))[SECRET] == VALUE


def test_what_age_seals_is_imported(node: TestNode) -> None:
    """Binary or armored, from a file or from stdin."""
    text = json.dumps({"configKeys": {SECRET: VALUE}}).encode()
    (node.folder / "in.age").write_bytes(tool(node, "age", "-a", "-r", recipient(node), data=text))
    words = ("tsm", "settings", "import", "--identity", "key", "-f")
    said = node.run(*words, "in.age")
    assert said.out == "1 key unchanged\n"
    sealed = tool(node, "age", "-a", "-r", recipient(node), data=text).decode()
    assert node.run(*words, "-", stdin=sealed).out == "1 key unchanged\n"


def test_passphrases_go_both_ways(node: TestNode) -> None:
    """P7: `age -d` opens our export, we import what `age -p` sealed, and a wrong passphrase opens nothing."""
    with_passphrase = ("--passphrase-file", "passphrase")
    node.run("tsm", "settings", "export", "-f", "out.age", *with_passphrase)
    age_at_a_terminal(node, "age -d -o out.json out.age", 1)
    text = (node.folder / "out.json").read_bytes()
    assert settings_in(text)[SECRET] == VALUE
    age_at_a_terminal(node, "age -p -o in.age out.json", 2)
    (node.folder / "out.json").unlink()
    said = node.run("tsm", "settings", "import", "-f", "in.age", *with_passphrase)
    assert "nothing in it differs" in said.err
    (node.folder / "wrong").write_text("battery staple\n")
    words = ("import", "-f", "in.age", "--passphrase-file", "wrong")
    said = node.run("tsm", "settings", *words, check=False)
    size = (node.folder / "in.age").stat().st_size
    assert said.code == 20
    assert f"{size} bytes read from in.age: authentication failed" in said.err


def test_a_node_from_gpg_s_pipe(node: TestNode) -> None:
    """C-22: the seeds' technique for the bootstrap file, both ways; the file never lies there in the clear."""
    done = shell(
        node,
        "mkfifo -m 600 one && (gpg --symmetric --batch --yes --passphrase-file passphrase"
        " --cipher-algo AES256 --output node.enc < one &)"
        " && tsm topology nodes get-bootstrap-file -f one && rm one"
        " && for _ in $(seq 200); do [ -s node.enc ] && break; sleep 0.1; done"
        " && mkfifo -m 600 two && (gpg --decrypt --batch --yes --passphrase-file passphrase"
        " node.enc > two &) && initialize-tsm -b two -d second && rm two",
    )
    said = (node.folder / "said").read_text()
    assert done.returncode == 0, said
    assert re.search(r"^Node: node\d+$", said, re.MULTILINE), said
    password = (node.home / "tabsvc/keystore/password").read_bytes()
    for path in node.folder.rglob("*"):
        if path.is_file() and path.name != "password":
            assert password not in path.read_bytes(), path


def test_a_bootstrap_file_through_age(node: TestNode) -> None:
    """Sealed here, opened by age in the shell's own pipe."""
    words = ("topology", "nodes", "get-bootstrap-file", "-f", "node.age")
    node.run("tsm", *words, "--recipient", recipient(node))
    done = shell(node, "initialize-tsm -b <(age -d -i key node.age) -d third")
    assert done.returncode == 0, (node.folder / "said").read_text()


def test_no_secret_is_on_a_command_line_nor_left_anywhere(node: TestNode) -> None:
    """S1, S3: arguments of all processes, all that is said, and every file of both nodes, in every form."""
    identity = (node.folder / "key").read_text().split()[-1]
    fourth = node.folder / "fourth"
    make = ("topology", "nodes", "get-bootstrap-file", "-f", "c.age", "--recipient")
    commands: list[tuple[str, ...]] = [
        ("tsm", "settings", "export", "-f", "a.age", "--recipient", recipient(node)),
        ("tsm", "settings", "import", "-f", "a.age", "--identity", "key"),
        ("tsm", "settings", "import", "-f", "key"),
        ("tsm", "settings", "import", "-f", "a.age", "--identity", "passphrase"),
        ("tsm", "settings", "export", "-f", "b.age", "--passphrase-file", "passphrase"),
        ("tsm", *make, recipient(node)),
        ("initialize-tsm", "-b", "c.age", "--identity", "key", "-d", "fourth"),
    ]
    with recorder.arguments() as arguments:
        said = [node.run(*words, check=False) for words in commands]
    assert [one.code for one in said] == [0, 0, 21, 2, 0, 0, 0]
    secrets = {
        "value": VALUE.encode(),
        "passphrase": PASSPHRASE.encode(),
        "identity": identity.encode(),
    }
    password = (node.home / "tabsvc/keystore/password").read_bytes()
    finds = forms.search_files(node.home, secrets) + forms.search_files(fourth, secrets)
    outside = {**secrets, "keystore password": password}
    ours = b"\n".join(arguments.seen)
    assert b"get-bootstrap-file" in ours
    assert b"--passphrase-file" in ours
    finds += forms.search(ours, outside, "process arguments")
    finds += forms.search("".join(one.out + one.err for one in said).encode(), outside, "output")
    for file in ("a.age", "b.age", "c.age"):
        finds += forms.search((node.folder / file).read_bytes(), outside, file)
    assert not finds, forms.describe(finds)
