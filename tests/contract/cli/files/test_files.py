"""`strongroom encrypt`, `decrypt`, `inspect`, `rewrap`, `verify` as real processes and through the dispatcher."""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from strongroom.cli import dispatch
from strongroom.crypto.secret import SecretBytes
from strongroom.envelope import header as headers
from strongroom.envelope import pages
from strongroom.envelope.header import BLOCK_BYTES, MAX_HEADER_BYTES, Placement
from strongroom.node import opening
from tests.contract.cli.readers import read_a_little
from tests.support import forked, seen
from tests.support.servers import BIN

DATA = os.urandom(3 * 1024 * 1024 + 5)
COMMAND = [str(BIN / "strongroom")]


class Tool:
    """The command `strongroom` over one node."""

    def __init__(self, node_dir: Path, folder: Path) -> None:
        self.node_dir, self.folder = node_dir, folder

    def words(self, *words: str | Path) -> list[str]:
        return [*COMMAND, *map(str, words), "--data-dir", str(self.node_dir)]

    def run(
        self,
        *words: str | Path,
        data: bytes = b"",
        before: Callable[[], None] | None = None,
    ) -> subprocess.CompletedProcess[bytes]:
        """As a fork; as a process from its start, if something is to happen `before` its first step."""
        if before is None:
            line, here = self.words(*words), Path.cwd()
            return forked.run(line, folder=here, environment=os.environ, stdin=data, limit_s=60)
        return subprocess.run(
            self.words(*words),
            input=data,
            capture_output=True,
            check=False,
            timeout=60,
            preexec_fn=before,
        )

    def inside(self, *words: str | Path) -> int:
        """In this process: faster, where no pipe is needed."""
        return dispatch.main("strongroom", [*map(str, words), "--data-dir", str(self.node_dir)])

    def events(self) -> list[dict[str, Any]]:
        log = self.node_dir / "tabsvc" / "events" / "node1.jsonl"
        return [json.loads(line) for line in log.read_text().splitlines()]

    def rotate(self) -> str:
        assert (
            dispatch.main("tsm", ["security", "kms", "rotate", "--data-dir", str(self.node_dir)])
            == 0
        )
        node = opening.open_node(str(self.node_dir))
        try:
            return node.envelope_keys.active_mek_id
        finally:
            node.close()

    def file(self, name: str, data: bytes = DATA) -> Path:
        path = self.folder / name
        path.write_bytes(data)
        return path

    def sealed(self, name: str = "sealed", data: bytes = DATA) -> Path:
        source = self.file(f"{name}.plain", data)
        assert self.inside("encrypt", source, self.folder / name, "--no-sync") == 0
        source.unlink()
        return self.folder / name


@pytest.fixture
def tool(node_dir: Path, tmp_path: Path) -> Tool:
    folder = tmp_path / "work"
    folder.mkdir()
    return Tool(node_dir, folder)


@pytest.mark.parametrize("options", [(), ("--no-sync",)], ids=["synced", "not synced"])
def test_a_file_and_back(tool: Tool, options: Sequence[str]) -> None:
    source, target = tool.file("in"), tool.folder / "out"
    assert tool.inside("encrypt", source, target, *options) == 0
    assert tool.inside("decrypt", target, tool.folder / "back", *options) == 0
    assert (tool.folder / "back").read_bytes() == DATA
    for name in ("out", "back"):
        assert (tool.folder / name).stat().st_mode & 0o777 == 0o600
    assert [event["id"] for event in tool.events()][-2:] == ["FILE_ENCRYPTED", "FILE_DECRYPTED"]


@pytest.mark.parametrize("size", [0, 1, len(DATA)])
def test_pipes_in_all_directions(tool: Tool, size: int) -> None:
    data = DATA[:size]
    piped = tool.run("encrypt", "-", "-", data=data)
    assert piped.returncode == 0
    assert tool.run("decrypt", "-", "-", data=piped.stdout).stdout == data
    source = tool.file("piped", piped.stdout)
    assert tool.run("decrypt", source, "-").stdout == data
    assert tool.run("decrypt", "-", tool.folder / "back", data=piped.stdout).returncode == 0
    assert (tool.folder / "back").read_bytes() == data
    assert tool.run("encrypt", "-", tool.folder / "sealed", data=data).returncode == 0
    assert tool.run("decrypt", tool.folder / "sealed", "-").stdout == data
    plain = tool.file("plain", data)
    to_pipe = tool.run("encrypt", plain, "-")
    assert tool.run("decrypt", "-", "-", data=to_pipe.stdout).stdout == data


def test_an_existing_output_is_refused_without_overwrite(
    tool: Tool, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = tool.file("in"), tool.file("out", b"precious")
    assert tool.inside("encrypt", source, target) == 6
    assert "--overwrite" in capsys.readouterr().err
    assert target.read_bytes() == b"precious"
    (tool.folder / "dangling").symlink_to("nowhere")
    assert tool.inside("encrypt", source, tool.folder / "dangling") == 6
    assert tool.inside("encrypt", source, target, "--overwrite") == 0
    assert tool.inside("decrypt", target, source) == 6
    assert tool.inside("decrypt", target, target, "--overwrite") == 0
    assert target.read_bytes() == DATA


def test_wrong_names_have_their_own_exit_codes(
    tool: Tool, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tool.file("in")
    assert tool.inside("encrypt", tool.folder / "missing", tool.folder / "out") == 5
    assert tool.inside("encrypt", source, tool.folder / "no folder" / "out") == 5
    assert tool.inside("encrypt", source, tool.folder, "--overwrite") == 2
    assert tool.inside("encrypt", tool.folder, tool.folder / "out") == 2
    assert tool.inside("decrypt", source, tool.folder / "out") == 21
    assert tool.inside("inspect", source) == 21
    assert tool.inside("verify", source) == 21
    assert not (tool.folder / "out").exists()
    assert str(tool.folder) in capsys.readouterr().err


def test_without_a_node_nothing_is_written(tool: Tool, tmp_path: Path) -> None:
    other = Tool(tmp_path / "no node", tool.folder)
    assert other.inside("encrypt", tool.file("in"), tool.folder / "out") == 5
    assert not (tool.folder / "out").exists()


@pytest.mark.parametrize("cut", [1, 300_000, 3 * 1024 * 1024 - 100_000])
def test_a_cut_file_and_a_cut_pipe(tool: Tool, cut: int) -> None:
    """§4.10: a pipe got verified segments only, and exit code 20; a file does not appear."""
    sealed = tool.sealed().read_bytes()[:-cut]
    shorter = tool.file("cut", sealed)
    for source, data in ((shorter, b""), ("-", sealed)):
        assert tool.run("decrypt", source, tool.folder / "out", data=data).returncode == 20
        assert not (tool.folder / "out").exists()
    piped = tool.run("decrypt", "-", "-", data=sealed)
    assert piped.returncode == 20
    assert DATA.startswith(piped.stdout)
    assert len(piped.stdout) < len(DATA)
    assert b"authentication failed" in piped.stderr
    seekable = tool.run("decrypt", shorter, "-")
    assert (seekable.returncode, seekable.stdout) == (20, b"")  # the last segment comes first


def test_a_changed_byte_is_found(tool: Tool, capsys: pytest.CaptureFixture[str]) -> None:
    good, path = tool.sealed("good"), tool.sealed("bad")
    data = bytearray(path.read_bytes())
    data[1_500_000] ^= 1
    path.write_bytes(data)
    assert tool.inside("decrypt", path, tool.folder / "out") == 20
    capsys.readouterr()
    assert tool.inside("verify", good, path, good) == 20
    said = capsys.readouterr()
    assert said.out.count(": ok, 3.0 MiB") == 2
    assert f"{path}: authentication failed" in said.err
    assert (
        tool.inside("verify", good, "--bytes") == 0
    )  # findings F4: exactly, for whoever calculates
    assert ": ok, 3145733 bytes" in capsys.readouterr().out


def test_inspect_needs_no_node(tool: Tool, tmp_path: Path) -> None:
    path = tool.sealed(data=b"hello")
    other = Tool(tmp_path / "no node", tool.folder)
    shown = json.loads(other.run("inspect", path, "--json").stdout)
    assert shown["plaintext_bytes"] == 5
    assert shown["body_offset"] == MAX_HEADER_BYTES
    assert shown["segment_bytes"] == 262144
    context = bytes.fromhex(shown["context"])
    assert context[:20] == b"strongroom/v2/stream"
    assert len(context) == 20 + 32
    assert shown["mek_id"] == shown["slots"][0]["mek_id"]
    assert "data_key" not in shown
    said = other.run("inspect", path)
    assert b"unauthenticated" in said.stderr
    assert b"plaintext bytes 5" in said.stdout
    # a slot that was never used is written as the other one
    for number in (b"0", b"1"):
        assert b"key slot %b      MEK %b" % (number, shown["mek_id"].encode()) in said.stdout


def test_inspect_shows_damage(tool: Tool, capsys: pytest.CaptureFixture[str]) -> None:
    path = tool.sealed(data=b"hello")
    data = bytearray(path.read_bytes())
    data[BLOCK_BYTES + 100] ^= 1
    path.write_bytes(data[:-6])
    assert tool.inside("inspect", path) == 0
    said = capsys.readouterr().out
    assert "key slot 1      damaged" in said
    assert "the file was cut" in said


def test_a_revealed_data_key_is_an_event(tool: Tool, capsys: pytest.CaptureFixture[str]) -> None:
    """The reveal is audited, and no event ever holds the key."""
    path = tool.sealed(data=b"hello")
    capsys.readouterr()
    assert tool.inside("inspect", path, "--json", "--reveal-data-key") == 0
    shown = json.loads(capsys.readouterr().out)
    header = pages.parse(path.read_bytes()[:MAX_HEADER_BYTES])
    headers.check_commitment(header.prelude, SecretBytes(bytes.fromhex(shown["data_key"])))
    last = tool.events()[-1]
    assert last["id"] == "DATA_KEY_REVEALED"
    assert last["details"]["file_id"] == shown["file_id"]
    log = (tool.node_dir / "tabsvc" / "events" / "node1.jsonl").read_text()
    assert shown["data_key"] not in log
    assert tool.inside("inspect", path, "--reveal-data-key") == 0
    assert f"data key        {shown['data_key']}" in capsys.readouterr().out


def test_an_event_that_cannot_be_written_refuses_the_key(tool: Tool) -> None:
    path = tool.sealed(data=b"hello")
    log = tool.node_dir / "tabsvc" / "events" / "node1.jsonl"
    log.unlink()
    log.mkdir()
    revealed = tool.run("inspect", path, "--reveal-data-key")
    assert revealed.returncode == 41
    assert revealed.stdout == b""
    assert tool.run("decrypt", path, "-").stdout == b""
    assert tool.run("encrypt", "--again", path, tool.folder / "out").returncode == 41
    assert not (tool.folder / "out").exists()


def test_rewrap_of_many_files(tool: Tool, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [tool.sealed(f"file{number}", b"x" * number) for number in range(5)]
    os.link(paths[0], tool.folder / "second name")
    bodies = [path.read_bytes()[MAX_HEADER_BYTES:] for path in paths]
    active = tool.rotate()
    capsys.readouterr()
    names = [*paths, paths[0], tool.folder / "second name", tool.folder / "missing"]
    assert tool.inside("rewrap", *names) == 5
    said = capsys.readouterr()
    assert "5 rewrapped, 2 had nothing to do, 1 failed" in said.err
    assert said.out.count(": rewrapped") == 5
    for path, body in zip(paths, bodies, strict=True):
        header = pages.parse(path.read_bytes()[:MAX_HEADER_BYTES])
        assert header.mek_ids == {active}
        assert path.read_bytes()[MAX_HEADER_BYTES:] == body
    changed = [event for event in tool.events() if event["id"] == "FILE_REWRAPPED"]
    assert len(changed) == 5
    assert {event["details"]["after"] for event in changed} == {active}
    assert tool.inside("rewrap", *paths) == 0
    assert "0 rewrapped, 5 had nothing to do, 0 failed" in capsys.readouterr().err
    assert tool.inside("verify", *paths) == 0


def test_rewrap_follows_a_link_that_one_names(tool: Tool) -> None:
    path = tool.sealed(data=b"x")
    active = tool.rotate()
    (tool.folder / "link").symlink_to(path)
    assert tool.inside("rewrap", tool.folder / "link") == 0
    assert pages.parse(path.read_bytes()[:MAX_HEADER_BYTES]).mek_ids == {active}


def test_rewrap_leaves_other_files_alone(tool: Tool) -> None:
    good, bad = tool.sealed(data=b"x"), tool.file("bad", b"y" * 5000)
    tool.rotate()
    assert tool.inside("rewrap", bad, good) == 21
    assert bad.read_bytes() == b"y" * 5000
    assert tool.inside("verify", good) == 0


def test_old_files_open_after_a_rotation(tool: Tool) -> None:
    path = tool.sealed(data=b"x" * 10)
    tool.rotate()
    assert tool.run("decrypt", path, "-").stdout == b"x" * 10


def test_an_extract_of_a_site_is_told(tool: Tool, capsys: pytest.CaptureFixture[str]) -> None:
    """§3.7: standalone commands trust the header's placement, and say so."""
    site, extract = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
    node = opening.open_node(str(tool.node_dir))
    with node.vault.create(Placement(site, extract), encrypted=True) as out:
        out.write(b"extract")
        stored = out.commit()
    path = Path(node.files.place_of(stored.storage_key))
    node.close()
    assert tool.inside("verify", path) == 0
    said = capsys.readouterr()
    assert f"site {site} extract {extract}" in said.err


def test_a_killed_command_leaves_no_file(tool: Tool) -> None:
    """SIGKILL in the middle: neither the output nor a temporary file is there."""
    with subprocess.Popen(
        seen.words(
            [BIN / "strongroom", "--data-dir", tool.node_dir, "encrypt", "-", tool.folder / "out"]
        ),
        stdin=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        process.stdin.write(DATA)
        process.stdin.flush()
        deadline = time.monotonic() + 60
        while not _has_unnamed_file(process.pid, tool.folder):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.kill()
        process.wait()
        process.stdin.close()
    assert list(tool.folder.iterdir()) == []
    assert tool.inside("encrypt", tool.file("in"), tool.folder / "out") == 0


def _has_unnamed_file(pid: int, folder: Path) -> bool:
    links = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            links.append(str(link.readlink()))
        except OSError:
            continue  # closed meanwhile
    return any(name.startswith(f"{folder}/") for name in links)


def _limit_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024 * 1024, 1024 * 1024))


@pytest.mark.parametrize("verb", ["encrypt", "decrypt"])
@pytest.mark.parametrize("piped", [False, True], ids=["file", "pipe"])
def test_a_full_disk(tool: Tool, verb: str, piped: bool) -> None:
    """A clear error, exit code 41, nothing left, and it works once there is room."""
    source = tool.file("in") if verb == "encrypt" else tool.sealed("in")
    name: str | Path = "-" if piped else source
    data = source.read_bytes() if piped else b""
    full = tool.run(verb, name, tool.folder / "out", data=data, before=_limit_files)
    assert full.returncode == 41, full.stderr
    assert b"file too large" in full.stderr
    assert [path.name for path in tool.folder.iterdir()] == ["in"]
    assert tool.run(verb, name, tool.folder / "out", data=data).returncode == 0


def test_a_reader_that_goes_away_is_no_traceback(tool: Tool) -> None:
    code, said = read_a_little(tool.words("decrypt", tool.sealed(), "-"))
    assert code == 1
    assert b"Traceback" not in said


def test_a_file_that_changes_while_it_is_encrypted_is_refused(
    tool: Tool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from strongroom.envelope import writer

    source = tool.file("in")
    real = writer.seal_source

    def growing(*args: Any, **kwargs: Any) -> int:
        done = real(*args, **kwargs)
        with source.open("ab") as file:
            file.write(b"more")
        return done

    monkeypatch.setattr(writer, "seal_source", growing)
    assert tool.inside("encrypt", source, tool.folder / "out") == 6
    assert "changed while it was read" in capsys.readouterr().err
    assert not (tool.folder / "out").exists()


def test_encrypted_data_is_not_written_to_a_terminal(
    tool: Tool, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tool.file("in")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert tool.inside("encrypt", source, "-") == 2


SLOW = {"sqlalchemy", "rich", "asyncio", "yaml", "logging", "concurrent.futures", "ssl", "dbos"}


def test_encrypt_imports_nothing_slow(tool: Tool) -> None:
    """F1: the whole process counts."""
    script = (
        "import sys; from strongroom.cli import dispatch;"
        f"code = dispatch.main('strongroom', {tool.words('encrypt', 'in', 'out')[1:]!r});"
        "print(code, *sorted(sys.modules))"
    )
    tool.file("in")
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tool.folder, capture_output=True, text=True, check=True
    )
    code, *modules = done.stdout.split()
    assert code == "0"
    assert SLOW.isdisjoint(modules)
