"""`tsm configuration` and `tsm pending-changes` as processes: prompts on a terminal, stdin, and two at once."""

import os
import pty
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom.config import versions
from strongroom.node.opening import Node
from tests.support.small_node import create_small_node

TSM = [sys.executable, "-c", "from strongroom.__main__ import tsm; raise SystemExit(tsm())"]


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    made = create_small_node(tmp_path)
    yield made
    made.close()


def environment(node: Node) -> dict[str, str]:
    return {**os.environ, "STRONGROOM_HOME": str(node.paths.root)}


def run(node: Node, *words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*TSM, *words], input=stdin, capture_output=True, env=environment(node), check=False
    )


def on_a_terminal(node: Node, *words: str, answers: list[tuple[bytes, bytes]]) -> tuple[int, bytes]:
    """Run with a terminal; each answer is typed when its question stands there."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*TSM, *words],
        env=environment(node),
        preexec_fn=lambda: os.login_tty(theirs),  # noqa: PLW1509 getpass asks the controlling terminal
    )
    os.close(theirs)
    shown = b""
    try:
        for question, answer in answers:
            already = len(shown)
            while question not in shown[already:]:
                shown += os.read(ours, 1024)
            os.write(ours, answer)
        while True:
            more = os.read(ours, 1024)
            if not more:
                break
            shown += more
    except OSError:  # the terminal is gone when its last process is
        pass
    finally:
        os.close(ours)
    return process.wait(30), shown


def test_a_secret_is_asked_for_without_echo(node: Node) -> None:
    code, shown = on_a_terminal(
        node,
        *("configuration", "set", "-k", "redis.password"),
        answers=[(b"redis.password: ", b"hunter2\n"), (b"once more: ", b"hunter2\n")],
    )
    assert code == 0, shown
    assert b"hunter2" not in shown
    assert b"warning" not in shown
    assert run(node, "pending-changes", "apply", "--ignore-prompt").returncode == 0
    assert run(node, "configuration", "get", "-k", "redis.password").stdout == b"hunter2\n"


def test_two_different_answers(node: Node) -> None:
    code, shown = on_a_terminal(
        node,
        *("configuration", "set", "-k", "redis.password"),
        answers=[(b"redis.password: ", b"hunter2\n"), (b"once more: ", b"hunter3\n")],
    )
    assert code == 2
    assert b"not the same" in shown
    assert node.coordinator.get(versions.PENDING) is None


def test_an_ordinary_value_is_asked_for_once(node: Node) -> None:
    code, shown = on_a_terminal(
        node,
        *("configuration", "set", "-k", "gateway.timeout"),
        answers=[(b"gateway.timeout: ", b"100\n")],
    )
    assert code == 0
    assert b"100" in shown
    listed = run(node, "pending-changes", "list", "--no-header").stdout
    assert listed == b"gateway.timeout  restart  100\n"


@pytest.mark.parametrize(("answer", "code"), [(b"y\n", 0), (b"n\n", 7)])
def test_the_prompt_on_a_terminal(node: Node, answer: bytes, code: int) -> None:
    """C-20."""
    run(node, "configuration", "set", "-k", "gateway.timeout", "-v", "1")
    got, _ = on_a_terminal(node, "pending-changes", "apply", answers=[(b"(y/n): ", answer)])
    assert got == code


def test_stdout_holds_nothing_but_the_value(node: Node) -> None:
    """C-25: scripts capture it."""
    run(node, "configuration", "set", "-k", "redis.password", "--value-file", "-", stdin=b"a b\n")
    assert run(node, "pending-changes", "apply", stdin=b"y\n").stdout == b""
    done = run(node, "configuration", "get", "-k", "redis.password")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"a b\n", b"")


def test_a_value_from_a_named_pipe(node: Node, tmp_path: Path) -> None:
    """One sequential read, so the value need never be in a file."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    writer = threading.Thread(target=pipe.write_bytes, args=(b"hunter2\n",))
    writer.start()
    done = run(node, "configuration", "set", "-k", "redis.password", "--value-file", str(pipe))
    writer.join()
    assert done.returncode == 0
    run(node, "pending-changes", "apply", "--ignore-prompt")
    assert run(node, "configuration", "get", "-k", "redis.password").stdout == b"hunter2\n"


def test_processes_set_at_once(node: Node) -> None:
    """The lock puts them in a row: all are pending."""
    names = [f"my.key{number}" for number in range(4)]
    processes = [
        subprocess.Popen(
            [*TSM, "configuration", "set", "-frc", "-k", name, "-v", "x"],
            env=environment(node),
            stderr=subprocess.PIPE,
        )
        for name in names
    ]
    assert [(process.communicate()[1], process.returncode)[1] for process in processes] == [0] * 4
    view = node.configuration.pending()
    assert view is not None
    assert [change.key for change in view.changes] == names


def test_processes_apply_at_once(node: Node) -> None:
    """One wins; the others say that there was nothing, or that it went under their hands."""
    node.configuration.set("gateway.timeout", "1", actor="os:anna")
    processes = [
        subprocess.Popen(
            [*TSM, "pending-changes", "apply", "--ignore-prompt"],
            env=environment(node),
            stderr=subprocess.PIPE,
        )
        for _ in range(3)
    ]
    ended = [(process.communicate()[1], process.returncode) for process in processes]
    assert sum(b"applied: configuration version 2" in said for said, _ in ended) == 1
    assert {code for _, code in ended} <= {0, 7}
    assert node.configuration.version == 2
