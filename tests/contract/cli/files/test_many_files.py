"""`encrypt|decrypt --into FOLDER … -r`, `verify -r`, `rewrap -r`: trees of files, there and back (findings F5)."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from strongroom.cli import dispatch
from tests.support import unmeasured
from tests.support.servers import BIN

Run = Callable[..., int]

CONTENT = {
    "a": b"",
    "b.hyper": b"b" * 70_000,
    "deep/er/c": b"c",
    "deep/a": b"another a",
    "deep/.hidden": b"h",
    "deep/caf\udce9": b"a name that is no text",
}


@pytest.fixture
def run(node_dir: Path) -> Run:
    def strongroom(*words: str | Path) -> int:
        return dispatch.main("strongroom", [*map(str, words), "--data-dir", str(node_dir)])

    return strongroom


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder `tree` in the working directory."""
    work = tmp_path / "place"
    work.mkdir()
    monkeypatch.chdir(work)
    make(work / "tree", CONTENT)
    (work / "tree" / "nothing").mkdir()
    return Path("tree")


def make(folder: Path, content: Mapping[str, bytes]) -> None:
    for name, data in content.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def content(folder: Path) -> dict[str, bytes]:
    """All files of a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def names(folder: Path) -> set[str]:
    return set(content(folder))


@pytest.mark.parametrize("suffix", ["", ".sealed", ".x"])
def test_a_tree_there_and_back(
    run: Run, tree: Path, capfd: pytest.CaptureFixture[str], suffix: str
) -> None:
    """findings F5: relative structure kept, names and their suffix, a total with seconds."""
    given = ["--suffix", suffix] if suffix else []
    assert run("encrypt", "--into", "vault", "-r", tree, *given, "--no-sync") == 0
    said = capfd.readouterr().err
    assert re.search(r"^6 encrypted, 0 failed: 68\.4 KiB in \d+\.\d s$", said, re.MULTILINE)
    sealed = Path("vault/tree")
    assert names(sealed) == {name + suffix for name in CONTENT}
    assert (sealed / "nothing").is_dir()
    assert {p.stat().st_mode & 0o777 for p in sealed.rglob("*")} == {0o600, 0o700}
    again = given if suffix == ".x" else []  # .sealed goes without being named
    assert run("decrypt", "--into", "back", "--recursive", "vault/.", *again) == 0
    assert content(Path("back/tree")) == CONTENT
    assert (Path("back/tree/nothing")).is_dir()
    assert re.search(r"6 decrypted, 0 failed: 68\.4 KiB in \d+\.\d s", capfd.readouterr().err)


@pytest.mark.parametrize(
    ("name", "below"),
    [
        ("tree", "tree/"),
        ("tree/", "tree/"),
        ("./tree", "tree/"),
        ("tree/.", ""),
        ("tree/deep/..", ""),
        ("../place/tree", "tree/"),
    ],
)
def test_no_name_of_a_folder_leads_out_of_the_target(
    run: Run, tree: Path, tmp_path: Path, name: str, below: str
) -> None:
    """findings F5"""
    before = content(tmp_path / "place")
    assert run("encrypt", "--into", "vault", "-r", name) == 0
    assert names(Path("vault")) == {below + one for one in CONTENT}
    assert {k: v for k, v in content(tmp_path / "place").items() if "vault" not in k} == before


def test_names_that_would_lead_out_without_their_suffix_keep_it(run: Run, tree: Path) -> None:
    """findings F5: `...sealed` is `..` without it."""
    odd = {"..sealed": b"1", "...sealed": b"2", ".sealed": b"3", "x.sealed": b"4"}
    make(Path("odd"), odd)
    assert run("encrypt", "--into", "vault", "-r", "odd") == 0
    assert run("decrypt", "--into", "back", "-r", "vault/odd/.") == 0
    assert content(Path("back")) == {
        "..sealed": b"1",
        "...sealed": b"2",
        ".sealed": b"3",
        "x": b"4",
    }
    assert not tree.with_name("sealed").exists()


def test_links_and_special_files_are_left_out_and_said(
    run: Run, tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """findings F5: neither followed nor read, and the others are done."""
    Path("outside").mkdir()
    Path("outside/secret").write_bytes(b"s")
    (tree / "to-file").symlink_to(Path("../outside/secret"))
    (tree / "to-folder").symlink_to(Path("../outside"))
    (tree / "dangling").symlink_to("nowhere")
    (tree / "loop").symlink_to(".")
    os.mkfifo(tree / "pipe")
    with socket.socket(socket.AF_UNIX) as door:
        door.bind("tree/door")
        assert run("encrypt", "--into", "vault", "-r", tree) == 0
    assert names(Path("vault/tree")) == set(CONTENT)
    said = capsys.readouterr().err
    for name in ("to-file", "to-folder", "dangling", "loop"):
        assert f"tree/{name}: left out, a link" in said
    for name in ("pipe", "door"):
        assert f"tree/{name}: left out, no regular file" in said
    assert "6 encrypted, 6 left out, 0 failed" in said


def test_a_named_link_is_followed_as_with_one_file(run: Run, tree: Path) -> None:
    Path("link").symlink_to("tree/b.hyper")
    Path("folder").symlink_to("tree")
    assert run("encrypt", "--into", "vault", "-r", "link", "folder") == 0
    assert names(Path("vault")) == {"link", *(f"folder/{name}" for name in CONTENT)}


def test_a_folder_without_r_is_refused_and_the_files_are_done(
    run: Run, tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """findings F5"""
    assert run("encrypt", "--into", "vault", tree, tree / "b.hyper") == 2
    said = capsys.readouterr().err
    assert "tree is a folder" in said
    assert "hint: -r" in said
    assert names(Path("vault")) == {"b.hyper"}


@pytest.mark.parametrize("verb", ["encrypt", "decrypt"])
def test_a_target_in_the_tree_is_no_input(
    run: Run, tree: Path, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    """findings F5: what was made there before, and what is made now."""
    if verb == "decrypt":
        assert run("encrypt", "--into", "sealed", "-r", "tree/.") == 0
        tree = Path("sealed")
    target = tree / "deep" / "out"
    for number in (1, 2):
        words = ("--overwrite",) if number == 2 else ()
        assert run(verb, "--into", target, "-r", f"{tree}/.", *words) == 0
        assert names(target) == set(CONTENT)
    assert "deep/out: left out, the outputs go there" in capsys.readouterr().err


def test_beside_the_originals(run: Run, tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """findings F5, K19: the tree is its own target; a second run encrypts nothing twice."""
    assert run("encrypt", "--into", tree, "-r", tree, "--suffix", ".sealed") == 0
    assert names(tree) == {*CONTENT, *(f"{name}.sealed" for name in CONTENT)}
    before = content(tree)
    assert run("encrypt", "--into", tree, "-r", tree, "--suffix", ".sealed") == 6
    assert content(tree) == before
    assert "0 encrypted, 12 failed" in capsys.readouterr().err


def test_what_is_encrypted_already_is_skipped_in_a_tree_too(
    run: Run, tree: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """findings K19, F5"""
    assert run("encrypt", tree / "b.hyper", tree / "deep" / "b.sealed") == 0
    capfd.readouterr()
    assert run("encrypt", "--into", "vault", "-r", tree) == 6
    said = capfd.readouterr().err
    assert "tree/deep/b.sealed is encrypted already" in said
    assert said.count("--again encrypts it once more") == 1
    assert "6 encrypted, 1 failed" in said
    assert names(Path("vault/tree")) == set(CONTENT)
    assert run("encrypt", "--into", "twice", "-r", tree, "--again") == 0
    assert names(Path("twice/tree")) == {*CONTENT, "deep/b.sealed"}


def test_a_damaged_one_stops_nobody(
    run: Run, tree: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """findings F5: each whole or not at all, a list at the end, and the exit code of the first."""
    assert run("encrypt", "--into", "vault", "-r", "tree/.", "--suffix", ".sealed") == 0
    cut = Path("vault/b.hyper.sealed")
    cut.write_bytes(cut.read_bytes()[:-1])
    Path("vault/plain").write_bytes(b"no envelope")
    flipped = Path("vault/deep/a.sealed")
    data = bytearray(flipped.read_bytes())
    data[-1] ^= 1
    flipped.write_bytes(data)
    capfd.readouterr()
    assert run("decrypt", "--into", "back", "-r", "vault/.") == 20
    said = capfd.readouterr().err
    bad = {"b.hyper", "deep/a"}
    assert content(Path("back")) == {k: v for k, v in CONTENT.items() if k not in bad}
    for name in (cut, flipped, Path("vault/plain")):
        assert f"{name}: " in said
    assert "4 decrypted, 3 failed" in said
    assert said.rstrip().splitlines()[-1].startswith("4 decrypted")
    assert run("verify", "-r", "vault") == 20
    told = capfd.readouterr()
    assert told.out.count(": ok, ") == 4
    assert re.search(r"4 ok, 3 failed: \d+ B in \d+\.\d s", told.err)
    assert run("rewrap", "-r", "vault") == 21, "the header of the plain file alone is wrong"
    assert "6 had nothing to do, 1 failed" in capfd.readouterr().err


def test_verify_and_rewrap_of_trees(
    run: Run, tree: Path, node_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """findings F5"""
    assert run("encrypt", "--into", "vault", "-r", tree) == 0
    Path("vault/link").symlink_to("../tree/a")
    rotate = ["security", "kms", "rotate", "--data-dir", str(node_dir)]
    assert dispatch.main("tsm", rotate) == 0
    capsys.readouterr()
    assert run("rewrap", "-r", "vault") == 0
    said = capsys.readouterr().err
    assert "6 rewrapped, 0 had nothing to do, 1 left out, 0 failed" in said
    assert run("verify", "--recursive", "vault") == 0
    assert "6 ok, 1 left out, 0 failed: 68.4 KiB in " in capsys.readouterr().err
    for verb in ("verify", "rewrap"):
        assert run(verb, "vault") != 0, "not without -r"


@pytest.mark.parametrize("verb", ["encrypt", "decrypt"])
def test_what_is_there_is_kept_unless_it_may_be_replaced(
    run: Run, tree: Path, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    """findings F5, K8: regular files only."""
    if verb == "decrypt":
        assert run("encrypt", "--into", "sealed", "-r", "tree/.") == 0
        tree = Path("sealed")
    make(Path("out"), {"a": b"mine"})
    os.mkfifo("out/b.hyper")
    Path("out/deep").mkdir()
    Path("out/deep/a").symlink_to("../../victim")
    Path("victim").write_bytes(b"v")
    words = (verb, "--into", "out", "-r", f"{tree}/.")
    assert run(*words) == 6
    assert Path("out/a").read_bytes() == b"mine"
    assert f"3 {verb}ed, 3 failed" in capsys.readouterr().err
    assert run(*words, "--overwrite") == 2
    assert Path("out/a").read_bytes() != b"mine"
    assert Path("out/b.hyper").is_fifo()
    assert Path("out/deep/a").is_symlink()
    assert Path("victim").read_bytes() == b"v"
    assert f"4 {verb}ed, 2 failed" in capsys.readouterr().err


def test_outputs_are_not_written_through_links_below_the_target(
    run: Run, tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """findings F5: a link to a folder is no folder of the target."""
    Path("elsewhere").mkdir()
    Path("vault").mkdir()
    Path("vault/deep").symlink_to("../elsewhere")
    assert run("encrypt", "--into", "vault", "-r", "tree/.") == 2
    assert list(Path("elsewhere").iterdir()) == []
    assert names(Path("vault")) == {"a", "b.hyper"}
    assert "vault/deep is not a folder" in capsys.readouterr().err
    Path("named").symlink_to("elsewhere")
    assert run("encrypt", "--into", "named", "-r", "tree/.") == 0
    assert names(Path("elsewhere")) == set(CONTENT)


@pytest.mark.parametrize("place", ["file", "nowhere/folder", "dangling"])
def test_a_target_that_can_be_no_folder_is_refused_before_the_work(
    run: Run, tree: Path, node_dir: Path, place: str
) -> None:
    """findings F5"""
    Path("file").write_bytes(b"x")
    Path("dangling").symlink_to("nowhere")
    log = node_dir / "tabsvc" / "events" / "node1.jsonl"
    before = log.read_bytes()
    assert run("encrypt", "--into", place, "-r", tree) in {2, 5}
    assert not Path("nowhere").exists()
    assert Path("file").read_bytes() == b"x"
    assert log.read_bytes() == before


def test_an_input_is_never_replaced_by_the_output_of_another(
    run: Run, tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """findings F5: with --overwrite it would be lost unread."""
    del tree
    make(Path("in"), {"x": b"1", "x.s": b"2"})
    words = ("encrypt", "--into", "in", "--suffix", ".s", "--overwrite", "in/x", "in/x.s")
    assert run(*words) == 6
    assert Path("in/x.s").read_bytes() == b"2"
    assert "in/x.s is one of the inputs" in capsys.readouterr().err


def test_resume_leaves_what_is_done(
    run: Run, tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """findings F5: with the option alone, and only what is as long as its input makes it, and not older."""
    for verb, source, target in (("encrypt", "tree/.", "vault"), ("decrypt", "vault/.", "back")):
        words = (verb, "--into", target, "-r", source, "--resume")
        make(Path(target), {"deep/a": b"of another length"})
        assert run(*words) == 6
        (Path(target) / "a").unlink()
        kept = {name: data for name, data in content(Path(target)).items() if name != "deep/a"}
        capsys.readouterr()
        assert run(*words) == 6
        said = capsys.readouterr().err
        assert f"{target}/deep/a exists already" in said
        assert f"1 {verb}ed, 4 there already, 1 failed" in said
        assert kept.items() <= content(Path(target)).items(), "left as they were"
        assert run(*words, "--overwrite") == 0
        assert f"1 {verb}ed, 5 there already, 0 failed" in capsys.readouterr().err
        changed = Path(source) / "b.hyper"
        os.utime(changed, ns=(0, time.time_ns() + 10**10))
        assert run(*words) == 6, "its input is newer"
        os.utime(changed, ns=(0, 0))
        assert run(*words) == 0
    assert content(Path("back")) == CONTENT


def test_ctrl_c_leaves_no_half_file(node_dir: Path, tmp_path: Path) -> None:
    """findings F5: in the middle of the work; it is taken up by --resume."""
    source, target = tmp_path / "source", tmp_path / "target"
    data = os.urandom(1 << 16)
    make(source, {f"{n % 7}/{n}": data for n in range(1500)})
    command = [
        str(BIN / "strongroom"), "encrypt", "--into", str(target), "-r", f"{source}/.", "--resume",
        "--data-dir", str(node_dir),
    ]  # fmt: skip
    with subprocess.Popen(command, stderr=subprocess.PIPE, env=unmeasured.environment()) as running:
        while running.poll() is None and not any(p.is_file() for p in target.rglob("*")):
            time.sleep(0.001)
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=120)
    assert running.returncode == 130, said
    made = [path for path in target.rglob("*") if path.is_file()]
    assert 0 < len(made) < 1500
    assert {path.stat().st_size for path in made} == {max(p.stat().st_size for p in made)}
    assert all(path.name.isdecimal() for path in made), "no name but those of outputs"
    data_dir = ["--data-dir", str(node_dir)]
    assert dispatch.main("strongroom", ["verify", "-r", str(target), *data_dir]) == 0
    assert subprocess.run(command, check=False, capture_output=True, timeout=240).returncode == 0
    assert names(target) == names(source)


def nest(folder: Path, name: str, depth: int) -> None:
    """Folders in each other, with a file in the innermost; their path may be longer than the system takes."""
    here = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir(name, dir_fd=here)
        inner = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)


def test_what_cannot_be_read_is_an_error(
    run: Run, tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """findings F5: not silently left out; here, a path longer than the system takes."""
    nest(tree, "d" * 250, 20)
    assert run("encrypt", "--into", "vault", "-r", tree) == 41
    said = capsys.readouterr().err
    assert re.search(r"cannot read tree/d+/[d/]*: file name too long", said)
    assert set(CONTENT) <= names(Path("vault/tree"))


def test_deeper_than_calls_can_go(run: Run, tree: Path, tmp_path: Path) -> None:
    """findings F5: more folders in each other than Python has frames."""
    depth = sys.getrecursionlimit() + 100
    try:
        nest(tree, "d", depth)
        assert run("encrypt", "--into", "vault", "-r", "tree", "--no-sync") == 0
        assert Path("vault", "tree", *["d"] * depth, "f").is_file()
    finally:
        subprocess.run(
            ["rm", "-rf", tmp_path / "place"], check=True
        )  # shutil has not the frames either
