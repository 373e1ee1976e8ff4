"""The node's Unix socket: Q-05."""

import io
import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from strongroom.cli import dispatch
from strongroom.crypto.secret import SecretBytes
from strongroom.doors.control import client, server, verbs
from strongroom.doors.control.client import Answer, NotServed
from strongroom.errors import (
    FormatError,
    PermissionDeniedError,
    StateError,
    StrongroomError,
    UsageError,
)
from strongroom.ids import new_id
from strongroom.node import environment, opening
from strongroom.node.opening import Node
from strongroom.roots.settings import RootSettings
from strongroom.runtime import running
from strongroom.runtime.paths import DataPaths
from strongroom.system import wire
from tests.support.strange_peer import as_by_a_stranger

#: Fewer than any kernel's own bound of a line (net.core.somaxconn), and more than the standard library's.
STRANGERS = 100


def quiet(text: str) -> None:
    del text


@contextmanager
def served(node: Node) -> Iterator[str]:
    """Gives the address of its socket."""
    with running.sole_server(node.paths), server.serving(node):
        yield wire.address(running.socket_name(node.paths))


def test_a_request_is_carried_out_by_the_serving_process(node: Node, node_dir: Path) -> None:
    asking = opening.open_node(str(node_dir))
    with served(node):
        asked = client.ask(asking.paths, "kms.rotate", {}, quiet)
    assert isinstance(asked, Answer)
    assert isinstance(asked.result, dict)
    assert asked.result["mek"] == node.envelope_keys.active_mek_id
    actors = {record["actor"] for record in node.events.read() if record["id"] == "KEY_GENERATED"}
    assert actors == {environment.local_actor()}


def test_without_a_serving_process_nobody_is_asked(node: Node) -> None:
    assert client.ask(node.paths, "kms.rotate", {}, quiet) == NotServed()


def test_sayings_come_before_the_result(node: Node) -> None:
    said: list[str] = []
    with served(node):
        asked = client.ask(node.paths, "regenerate", {}, said.append)
    assert isinstance(asked, Answer)
    result = asked.result
    assert len(said) == 7
    assert isinstance(result, dict)
    assert result["resumed"] is False


def test_an_error_arrives_as_what_it_is(node: Node) -> None:
    with served(node), pytest.raises(StateError, match="encrypts new data") as caught:
        client.ask(node.paths, "kms.retire", {"mek_id": node.envelope_keys.active_mek_id}, quiet)
    assert caught.value.hint


def test_an_unknown_verb_and_arguments_that_do_not_fit_are_refused(node: Node) -> None:
    with served(node):
        with pytest.raises(UsageError, match="unknown request"):
            client.ask(node.paths, "kms.explode", {}, quiet)
        with pytest.raises(UsageError, match="cannot be carried out"):
            client.ask(node.paths, "kms.retire", {}, quiet)


def test_the_socket_is_no_file_and_goes_with_its_server(
    pristine_node: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """However long the path; a copy of a served or killed node meets nothing that cannot be copied."""
    home = shutil.copytree(pristine_node, tmp_path_factory.mktemp("n") / ("n" * 100))
    node = opening.open_node(str(home))
    with served(node) as address:
        assert isinstance(client.ask(node.paths, "kms.status", {}, quiet), Answer)
        assert not [path for path in home.rglob("*") if path.is_socket()]
        note = running.control_note_path(node.paths)
        assert stat.S_IMODE(note.stat().st_mode) == 0o600
        shutil.copytree(home, home.with_name("copy"))
    assert not note.exists()
    with socket.socket(socket.AF_UNIX) as connection, pytest.raises(ConnectionRefusedError):
        connection.connect(address)
    node.close()


def test_another_user_is_refused(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel says who asks; here it is made to name a stranger."""

    as_by_a_stranger(server, monkeypatch)
    with served(node), pytest.raises(PermissionDeniedError, match="another user"):
        client.ask(node.paths, "kms.rotate", {}, quiet)


def test_nobody_but_the_owner_is_heard_or_told_anything(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """K-06: root, too, had the socket's ear, though it may not work on the node of another user."""
    owner = os.geteuid() + 1
    monkeypatch.setattr(DataPaths, "owner", lambda _: owner)
    with served(node) as address, socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        with suppress(BrokenPipeError):  # it is refused before it is read
            connection.sendall(wire.line({"verb": "kms.status", "arguments": {}}))
        answer = connection.makefile("rb").readline()
        assert b'"kind": "PermissionDeniedError"' in answer
        with pytest.raises(PermissionDeniedError, match="does not own the node"):
            client.ask(node.paths, "kms.rotate", {}, quiet)


def test_a_line_of_strangers_is_no_bar_to_the_owner(node: Node) -> None:
    """findings S10: five who connected and said nothing filled the line, and every command of the owner was refused.

    They come before the server looks at anybody, which is when the line alone has room for them.
    """
    with ExitStack() as stack:
        stack.enter_context(running.sole_server(node.paths))
        name = f"@strongroom-{new_id()}"
        made = stack.enter_context(server._Server(wire.address(name), node))
        for _ in range(STRANGERS):
            one = stack.enter_context(socket.socket(socket.AF_UNIX))
            one.setblocking(False)  # a line that is full is refused instead of waited for
            one.connect(wire.address(name))
        running.control_note_path(node.paths).write_text(name)
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        stack.callback(thread.join)
        stack.callback(made.shutdown)
        assert client.ask(node.paths, "kms.rotate", {}, quiet) != NotServed()


def test_a_strangers_socket_is_told_nothing(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever takes the socket's name after a cleaner of temporary files gets no secret."""

    as_by_a_stranger(client, monkeypatch)
    sent: list[object] = []
    monkeypatch.setattr(wire, "send", lambda _, message: sent.append(message))
    with served(node), pytest.raises(PermissionDeniedError, match="does not own the node"):
        client.ask(node.paths, "kms.rotate", {}, quiet)
    assert sent == []


@pytest.mark.parametrize(
    "line", [b"nonsense\n", b"[]\n", b"{}\n", b'{"verb":1,"arguments":{}}\n', b"x" * 2_000_000]
)
def test_a_client_that_talks_nonsense_does_no_harm(node: Node, line: bytes) -> None:
    with served(node) as address:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(address)
            with suppress(BrokenPipeError):  # it hangs up as soon as it has seen enough
                connection.sendall(line)
                connection.shutdown(socket.SHUT_WR)
            answer = connection.makefile("rb").readline()
        assert b'"kind": "FormatError"' in answer
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(address)
        assert isinstance(client.ask(node.paths, "kms.status", {}, quiet), Answer)


def test_a_server_that_dies_before_it_answers_is_said_so(
    node: Node,
) -> None:
    name = f"@strongroom-test-{node.paths.root}"[:100]
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(wire.address(name))
        listener.listen()
        _note(node, name)

        def hang_up() -> None:
            connection, _ = listener.accept()
            connection.recv(1)
            connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        with running.sole_server(node.paths), pytest.raises(StateError, match="went away"):
            client.ask(node.paths, "kms.rotate", {}, quiet)
        thread.join()


_GONE = "@strongroom-nobody-listens-here"


def _note(node: Node, text: str) -> None:
    running.control_note_path(node.paths).write_text(text)


def _warnings(node: Node, arguments: dict[str, object], pid: int = 0) -> str:
    """Of a request that no server carries out, though one lives and, by its pid, may have said so."""
    said: list[str] = []
    with running.sole_server(node.paths):
        if pid:
            running.announce(node.paths, running.Running("http://x", pid, 0), node.file_modes)
        asked = client.ask(node.paths, "kms.set-mode", arguments, quiet, warn=said.append)
    assert asked == NotServed()
    return "\n".join(said)


def test_a_server_that_cannot_be_reached_is_said_so(node: Node) -> None:
    """In an outage of the root nobody knew that the command did without the RMK in the server's memory."""
    said = _warnings(node, {})
    assert "a process serves the node, and" in said
    assert "control.path does not say where it can be asked" in said
    assert "hint: it is starting or stopping" in said
    _note(node, _GONE)
    said = _warnings(node, {"abandon": True, "dry_run": True}, pid=4711)
    assert f"process 4711 serves the node, and cannot be reached at {_GONE}" in said
    assert "connection refused; this command works by itself" in said
    assert "PrivateNetwork" in said
    assert "restart 'strongroom serve'" in said


def test_keys_that_a_server_may_have_open_are_not_abandoned_beside_it(node: Node) -> None:
    """Q-05: it is the only one that could move them home, if it was not reached."""
    _note(node, _GONE)
    with running.sole_server(node.paths), pytest.raises(StateError, match="keys open") as caught:
        client.ask(node.paths, "kms.set-mode", {"abandon": True}, quiet)
    assert "restart" in caught.value.hint
    assert "to leave the keys behind, stop it first" in caught.value.hint


def test_a_command_that_finds_no_socket_says_so_and_works(
    node: Node, capsys: pytest.CaptureFixture[str]
) -> None:
    with served(node):
        _note(node, _GONE)
        words = ["--data-dir", str(node.paths.root), "security", "kms", "rotate"]
        assert dispatch.main("tsm", words) == 0
    shown = capsys.readouterr()
    assert "New RMK: " in shown.out
    assert f"cannot be reached at {_GONE}" in shown.err
    assert "cannot be reached" not in shown.out


def test_root_settings_travel_with_their_secrets() -> None:
    settings = RootSettings("openbao", "https://b/k", {"a": "b"}, {"token": SecretBytes(b"t")})
    plain = json.loads(json.dumps(verbs.settings_to_plain(settings)))
    assert verbs._settings(plain) == settings
    assert verbs.settings_to_plain(None) is None
    assert verbs._settings(None) is None


def test_errors_of_a_newer_version_are_still_errors() -> None:
    for kind in ("NewError", "annotations", "Any"):
        error = wire.error_of({"kind": kind, "message": "m", "hint": "h"})
        assert type(error) is StrongroomError
    with pytest.raises(FormatError):
        wire.receive(io.BytesIO(b"{"))


def test_the_command_and_the_server_work_together(node_dir: Path) -> None:
    """`serve` in a process of its own; a rotation over the socket; SIGTERM ends it cleanly."""
    environment = {**os.environ, "STRONGROOM_HOME": str(node_dir)}
    command: Callable[..., list[str]] = lambda tool, *words: [  # noqa: E731 short
        sys.executable,
        "-c",
        f"import sys; from strongroom.cli import dispatch; sys.exit(dispatch.main({tool!r}, {list(words)!r}))",
    ]
    serve = subprocess.Popen(
        command("strongroom", "serve", "--port", "0", "--no-backgrounder"),
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert serve.stdout is not None
        assert serve.stdout.readline().startswith("ready: http://127.0.0.1:")
        subprocess.run(
            command("tsm", "security", "kms", "rotate"),
            env=environment,
            check=True,
            capture_output=True,
        )
        status = subprocess.run(
            command("tsm", "status"), env=environment, check=True, capture_output=True, text=True
        )
        assert status.stdout.startswith("Status: RUNNING\nKeys: OK\nAddress: http")
    finally:
        serve.terminate()
        assert serve.wait(120) == 0
        assert serve.stdout is not None
        serve.stdout.close()
