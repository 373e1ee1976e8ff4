"""Scripts that were written for Tableau's tsm run, or are told what to say here instead (findings K14)."""

import argparse
import json
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from strongroom.cli import dispatch
from strongroom.runtime import log_archive, running
from strongroom.runtime.paths import DataPaths
from strongroom.system.durable import PRIVATE
from tests.support.servers import create_node, serving

GLOBAL = [
    "-u",
    "admin",
    "-p",
    "hunter2-secret",
    "-s",
    "https://controller:8850",
    "--trust-admin-controller-cert",
]
Output = pytest.CaptureFixture[str]
Run = Callable[..., int]


@pytest.fixture
def run(node_dir: Path) -> Run:
    return lambda *words: dispatch.main("tsm", ["--data-dir", str(node_dir), *words])


def leaves(parser: argparse.ArgumentParser, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    below = [one for one in parser._actions if isinstance(one, argparse._SubParsersAction)]
    if not below:
        yield words
    for action in below:
        for name, child in action.choices.items():
            yield from leaves(child, (*words, name))


def every_command() -> list[tuple[str, ...]]:
    found = []
    for verb, (module, _) in dispatch.COMMANDS["tsm"].items():
        parser = __import__(f"strongroom.cli.{module}", fromlist=["x"]).build_parser("tsm", verb)
        found += list(leaves(parser, (verb,)))
    return found


@pytest.mark.parametrize("words", every_command(), ids=" ".join)
def test_every_command_takes_the_global_options(
    words: tuple[str, ...], run: Run, capsys: Output
) -> None:
    """They are parsed: the help, asked for behind them, is what ends the command."""
    assert run(*words, *GLOBAL, "--request-timeout", "7200", "--help") == 0
    said = capsys.readouterr()
    assert "usage: tsm" in said.out
    assert "hunter2" not in said.out + said.err


def test_their_being_without_effect_is_said_and_no_password_is_shown(
    run: Run, capsys: Output
) -> None:
    assert run("topology", "list-nodes", *GLOBAL) == 0
    said = capsys.readouterr()
    assert said.out == "node1\n"
    assert (
        "without effect here: --username, --password, --server, --trust-admin-controller-cert"
        in said.err
    )
    assert "can see a password on a command line" in said.err
    assert "hunter2" not in said.err
    assert run("maintenance", "backup", "-f", "n", "-d", "-u", "admin", "-p", "x") == 0
    assert run("maintenance", "backup", "-f", "m", "-r") == 2  # no option of tsm's


@pytest.mark.parametrize("verb", ["login", "logout"])
def test_signing_in_does_nothing(verb: str, run: Run, capsys: Output) -> None:
    assert run(verb, "-u", "admin", "-p", "x") == 0
    assert "signs in nowhere" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["start", "restart"])
def test_what_tsm_does_not_do_here_names_who_does(verb: str, run: Run, capsys: Output) -> None:
    assert run(verb) == 7
    assert f"hint: 'systemctl {verb} strongroom' under systemd" in capsys.readouterr().err


def test_stop_ends_the_server_and_waits(tmp_path: Path) -> None:
    node = create_node(tmp_path)
    assert node.run("tsm", "stop").out == "Status: STOPPED\n"
    with serving(node):
        assert node.run("tsm", "start").out.startswith("Status: RUNNING at http://127.0.0.1:")
        assert node.run("tsm", "stop", "--ignore-prompt").out == "Status: STOPPED\n"
        assert node.run("tsm", "status").out.startswith("Status: STOPPED\n")


def test_stop_ends_nobody_while_the_server_starts(run: Run, node_dir: Path, capsys: Output) -> None:
    """What an earlier server had said named a process that was somebody else's by then."""
    paths = DataPaths(node_dir)
    with subprocess.Popen(["sleep", "60"]) as stranger:
        running.announce(paths, running.Running("http://127.0.0.1:1", stranger.pid, 0), PRIVATE)
        with running.sole_server(paths):
            assert run("stop") == 7
            assert "the server is starting; nothing was stopped" in capsys.readouterr().err
            assert stranger.poll() is None
        stranger.kill()
    assert running.find(paths) is None


def test_ziplogs_masks_what_looks_like_a_secret(run: Run, node_dir: Path, capsys: Output) -> None:
    secret = "srpat_0123456789abcdef0123"
    logs = node_dir / "tabsvc/logs"
    logs.mkdir(exist_ok=True)
    (logs / "vizportal_node1-0.log").write_text(
        f"password=hunter2 and {secret}\nENC(AAAA)\nplain words\n"
    )
    assert run("maintenance", "ziplogs", "-f", "l", "-d") == 0
    assert "files written to" in capsys.readouterr().out
    [path] = (node_dir / "tabsvc/files/log-archives").iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    with zipfile.ZipFile(path) as archive:
        text = archive.read("logs/vizportal_node1-0.log").decode()
        settings = archive.read("configuration.json").decode()
        assert json.loads(archive.read("kms-status.json"))["mode"] == "local"
    assert "plain words" in text
    assert not any(word in text for word in ("hunter2", secret, "AAAA"))
    assert "ENC(" not in settings
    assert run("maintenance", "ziplogs", "-f", "l", "-d") == 6
    assert run("maintenance", "ziplogs", "-f", "l", "-d", "--overwrite") == 0
    assert run("maintenance", "ziplogs", "-f", "../l") == 2


def test_a_log_archive_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> Iterator[tuple[str, str]]:
        yield "a", "text"
        raise OSError(28, "No space left on device")

    with pytest.raises(Exception, match="cannot write"):
        log_archive.write(tmp_path / "l.zip", broken())
    assert list(tmp_path.iterdir()) == []


def test_cleanup_says_that_there_is_nothing(run: Run, capsys: Output) -> None:
    assert run("maintenance", "cleanup", "-a", "--log-files-retention", "7") == 0
    assert capsys.readouterr().out.startswith("Nothing to clean up")


def test_a_value_with_a_leading_dash_is_explained_and_can_be_given(
    run: Run, capsys: Output
) -> None:
    assert run("configuration", "set", "-k", "redis.password", "-v", "-S3cret") == 2
    assert (
        "hint: a value that begins with '-' is joined to its option: --value=-…"
        in capsys.readouterr().err
    )
    assert run("configuration", "set", "-k", "redis.password", "--value=-S3cret") == 0
