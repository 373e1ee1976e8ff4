"""`tsm topology set-process` on a node that is served: what runs follows what is said (b9; issue 11 D)."""

import io
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from strongroom.cli import dispatch
from strongroom.runtime import running
from strongroom.runtime.paths import DataPaths
from strongroom.runtime.running import Running
from strongroom.system import disk
from tests.support import servers

LIMIT_S = 120.0


def until(what: str, home: Path, wanted: "tuple[bool, bool]") -> Running:
    """Wait until a node has a web service or not, and a backgrounder or not, by the processes themselves."""
    end = time.monotonic() + LIMIT_S
    while True:
        found = running.find(DataPaths(home))
        # a server that ends the web service says so when that has ended
        is_there = found is not None and found.pid and bool(found.url) == wanted[0]
        if found is not None and is_there and (answers(found.url), works(found)) == wanted:
            return found
        assert time.monotonic() < end, (what, found)
        time.sleep(0.05)


def answers(url: str) -> bool:
    """Whether somebody serves clients there."""
    if not url:
        return False
    try:
        with urllib.request.urlopen(f"{url}/healthz", timeout=10) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def works(found: Running) -> bool:
    """Whether the process that works on jobs lives."""
    return bool(found.backgrounder_pid) and disk.state_of(found.backgrounder_pid) == "running"


def say(home: Path, *words: str) -> int:
    return dispatch.main("tsm", ["topology", "set-process", "--data-dir", str(home), *words])


@contextmanager
def serve(home: Path, folder: Path, first: str) -> Iterator["subprocess.Popen[str]"]:
    """A server that is told to end as an operator does it, and ends without an error."""
    own = servers.TestNode(folder, environment={"STRONGROOM_HOME": str(home)}).variables()
    command = [str(servers.BIN / "strongroom"), "serve", "--port", "0"]
    process = subprocess.Popen(command, env=own, stdout=subprocess.PIPE, text=True, cwd=folder)
    assert process.stdout is not None
    try:
        assert process.stdout.readline().startswith(first)
        yield process
    finally:
        assert servers.stop(process) == 0


def test_the_processes_of_a_node_follow_the_topology(
    node_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serve(node_dir, tmp_path, "ready: http://") as process:
        before = until("it serves", node_dir, (True, True))
        assert say(node_dir, "-n", "node1", "-pr", "backgrounder", "-c", "0", "--yes") == 0
        said = capsys.readouterr()
        assert said.out == "node1: backgrounder 0\n"
        assert "no node works on jobs" in said.err
        until("no backgrounder", node_dir, (True, False))
        # vizportal is what the seeds' tools call it
        assert say(node_dir, "-n", "node1", "-pr", "vizportal", "-c", "0", "--yes") == 0
        found = until("nothing", node_dir, (False, False))
        assert (found.pid, found.url) == (process.pid, "")
        assert not answers(before.url)
        capsys.readouterr()
        for words in (("status", "-v"), ("topology", "list-nodes", "-v")):
            assert dispatch.main("tsm", [*words, "--data-dir", str(node_dir)]) == 0
        shown = capsys.readouterr().out
        assert "\tStatus: RUNNING\n" in shown
        assert "'Strongroom Web Service 0' is stopped." in shown
        assert "'Strongroom Backgrounder 0' is stopped." in shown
        assert "Processes: web 0, backgrounder 0\n" in shown
        assert dispatch.main("tsm", ["status", "--json", "--data-dir", str(node_dir)]) == 0
        assert json.loads(capsys.readouterr().out)["url"] is None
        for name in ("web", "backgrounder"):
            assert say(node_dir, "-n", "node1", "-pr", name, "-c", "1") == 0
        until("all", node_dir, (True, True))
        several_backgrounders_follow(node_dir, capsys)
        assert say(node_dir, "-n", "node1", "-pr", "web", "-c", "0", "--yes") == 0
        until("no web service", node_dir, (False, True))
    # a start obeys what was said before, and a signal ends it without a web service as well
    with serve(node_dir, tmp_path, "ready without a web service"):
        until("still no web service", node_dir, (False, True))


def several_backgrounders_follow(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """ADR 61: one more comes, is shown, is replaced when it dies, and goes; the first one stays what it is."""
    first = until("it works", home, (True, True)).backgrounder_pid
    assert say(home, "-n", "node1", "-pr", "backgrounder", "-c", "2") == 0
    second = next_one(home, lambda pid: disk.state_of(pid) == "running")
    capsys.readouterr()
    assert dispatch.main("tsm", ["status", "-v", "--data-dir", str(home)]) == 0
    shown = capsys.readouterr().out
    for number in range(2):
        assert f"'Strongroom Backgrounder {number}' is running." in shown
    os.kill(second, signal.SIGKILL)
    third = next_one(home, lambda pid: pid not in {0, second})
    assert say(home, "-n", "node1", "-pr", "backgrounder", "-c", "1") == 0
    next_one(home, lambda pid: not pid)
    assert disk.state_of(third) == "gone"
    assert until("it works on", home, (True, True)).backgrounder_pid == first


def next_one(home: Path, wanted: Callable[[int], bool]) -> int:
    """The second backgrounder of a node, when it is as wanted."""
    end = time.monotonic() + LIMIT_S
    while True:
        found = running.find(DataPaths(home))
        pid = (*(found.more_backgrounders if found else ()), 0)[0]
        if wanted(pid):
            return pid
        assert time.monotonic() < end, found
        time.sleep(0.05)


def test_what_cannot_be_is_refused_in_words(
    node_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
    for words, code, sentence in (
        (("-n", "node9", "-pr", "web", "-c", "0"), 5, "there is no node 'node9'"),
        (("-n", "node1", "-pr", "gateway", "-c", "1"), 2, "'gateway' is no process of a node"),
        (("-n", "node1", "-pr", "tabadmincontroller", "-c", "0"), 2, "runs on every node"),
        (
            ("-n", "node1", "-pr", "backgrounder", "-c", "9"),
            2,
            "a node runs 0 to 8 of backgrounder",
        ),
        (("-n", "node1", "-pr", "web", "-c", "3"), 2, "a node runs 0 to 1 of web, not 3"),
        # the last one, and nobody to answer
        (("-n", "node1", "-pr", "web", "-c", "0"), 7, "nothing was changed"),
    ):
        assert say(node_dir, *words) == code, words
        assert sentence in capsys.readouterr().err
    assert (
        dispatch.main("tsm", ["topology", "list-nodes", "--json", "--data-dir", str(node_dir)]) == 0
    )
    (found,) = json.loads(capsys.readouterr().out)
    assert found["processes"] == {"web": 1, "backgrounder": 1}
