"""The harness itself: a fork of an interpreter that is warm does what a command with a start of its own does."""

import errno
import re
import signal
import sys
from pathlib import Path

import pytest

from tests.support import seen
from tests.support.servers import BIN, ROOT
from tests.torture import disk, harness, nodes, test_jobs, tracing
from tests.torture.disk import Left
from tests.torture.forks import Command, Disturbance, ForkServer
from tests.torture.harness import (
    AGAIN,
    BROKEN,
    CUTS,
    FULL,
    KILL,
    SHORT,
    TERM,
    Lab,
    Outcome,
    Point,
)

pytestmark = pytest.mark.torture
_CALL = re.compile(r"^\d+ +(\w+)\((.*)$")
_CREATES = re.compile(r"O_(CREAT|TRUNC|TMPFILE)")
_FILE = re.compile(r'["<](/[^>"]*)[>"]')
_NAMED_BY_CHANCE = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{16,}|#\d+( \(deleted\))?")
_NAMED_BY_CONTENT = re.compile(r"(extracts/[*])/[0-9a-f]{2}\b")
Changes = list[tuple[str, str]]


@pytest.fixture
def own_starts() -> bool:
    """Here they are what is tested."""
    return True


def by_strace(lab: Lab) -> Changes:
    """The mutating calls as strace tells them."""
    found = []
    for line in re.sub("AT_FDCWD<[^>]*>", "", lab.strace()).splitlines():
        call, file = _CALL.match(line), _FILE.search(line)
        if call and file and (call[1] != "openat" or _CREATES.search(line)):
            found.append((call[1], file[1]))
    return found


def on_files(lab: Lab, changes: Changes) -> Changes:
    """Those on the lab's files, without what chance puts into their names."""
    names = [(call, name) for call, name in changes if name.startswith(str(lab.place))]
    plain = [(call, _NAMED_BY_CHANCE.sub("*", name)) for call, name in names]
    return [(call, _NAMED_BY_CONTENT.sub(r"\1/*", name)) for call, name in plain]


def script(folder: Path, text: str) -> None:
    """A command of our own."""
    (folder / "script").write_text(f"#!{sys.executable}\n{text}")
    (folder / "script").chmod(0o700)


def test_forks_change_what_the_command_changes(start: Path) -> None:
    """One thread: the same calls on the same files, in the same order."""
    words = ("tsm", "security", "kms", "rotate")
    lab = Lab(start, start.with_name("place"), words, {"STRONGROOM_HOME": "{place}/node"})
    expected = on_files(lab, by_strace(lab))
    assert len(expected) > 100
    assert on_files(lab, lab.changes()) == expected
    lab.close()


def test_forks_of_a_job_change_what_the_job_changes(start: Path) -> None:
    """Many threads: the same calls on the same files; how their writes fall together is the scheduler's.

    How often a job tells that it is alive, and how many frames a commit has, is a matter of time: it is not counted.
    """
    test_jobs.prepare(start / "node", encrypted=True, rotate=True)
    words = ("strongroom", "extracts", "reencrypt", "--site", "default", "--wait")
    lab = Lab(start, start.with_name("place"), words, {"STRONGROOM_HOME": "{place}/node"})
    expected, found = on_files(lab, by_strace(lab)), on_files(lab, lab.changes())
    assert len(expected) > 100
    assert set(found) == set(expected)
    assert len(found) == pytest.approx(len(expected), rel=0.5)
    lab.close()


def test_every_call_of_every_thread_is_a_point(start: Path) -> None:
    """Two threads that write alike: strace would never come to the second's; here each is reached, and no other."""
    script(
        start,
        "import threading\n"
        "def work(name):\n"
        "    with open(name, 'w', buffering=1) as file:\n"
        "        for number in range(3):\n"
        "            file.write(f'{number}\\n')\n"
        "for name in 'ab':\n"
        "    thread = threading.Thread(target=work, args=(name,))\n"
        "    thread.start()\n"
        "    thread.join()\n",
    )
    place = start.with_name("place")
    lab = Lab(start, place, ("{place}/script",), {})
    points = [point for point in lab.points(KILL) if not point.own_start]
    assert [point.title.split()[0] for point in points] == [
        "openat#1", "write#1", "write#2", "write#3", "openat#2", "write#4", "write#5", "write#6",
    ]  # fmt: skip
    states = []
    for point in points:
        assert lab.run(point).killed
        states.append([(place / name).read_text() for name in "ab" if (place / name).exists()])
    written = ["", "0\n", "0\n1\n", "0\n1\n2\n"]
    assert states == [
        [],
        *([text] for text in written),
        *([written[-1], text] for text in written[:-1]),
    ]
    lab.close()


@pytest.mark.parametrize(("fault", "text"), [(FULL, "No space left"), (BROKEN, "Input/output")])
def test_a_call_fails_and_is_not_made(start: Path, fault: str, text: str) -> None:
    script(
        start,
        "with open('a', 'wb', 0) as f:\n    f.write(b'x')\n    f.write(b'y')\n",
    )
    lab = Lab(start, start.with_name("place"), ("{place}/script",), {})
    *_, last = (point for point in lab.points(fault) if not point.own_start)
    outcome = lab.run(last)
    assert (last.call, last.number, outcome.code) == ("write", 2, 1)
    assert text in outcome.err
    assert (lab.place / "a").read_bytes() == b"x"
    lab.close()


def test_a_call_is_held_until_something_else_was_done(start: Path) -> None:
    """The calls before it are made, it and those behind it are not; afterwards all of them are."""
    script(start, "for n in 'abc':\n    with open(n, 'wb', 0) as f:\n        f.write(b'x')\n")
    lab = Lab(start, start.with_name("place"), ("{place}/script",), {})
    seen: list[dict[str, bytes]] = []

    def look() -> None:
        found = {name: lab.place / name for name in "abc"}
        seen.append({name: path.read_bytes() for name, path in found.items() if path.exists()})

    outcome = lab.hold(Point("write", 2, KILL), look)
    look()
    assert outcome.succeeded
    assert seen == [{"a": b"x", "b": b""}, dict.fromkeys("abc", b"x")]
    lab.close()


def test_a_signal_that_does_not_kill_lets_the_call_be_made(start: Path) -> None:
    script(
        start,
        "import signal\ngot = []\nsignal.signal(signal.SIGTERM, lambda *_: got.append(1))\n"
        "with open('a', 'wb', 0) as f:\n    f.write(b'x')\n    f.write(b'%d' % len(got))\n",
    )
    lab = Lab(start, start.with_name("place"), ("{place}/script",), {})
    for number, text in ((1, b"x1"), (2, b"x0")):
        assert lab.run(Point("write", number, TERM)).succeeded
        assert (lab.place / "a").read_bytes() == text
    lab.close()


def test_no_disk_refuses_what_is_sent_to_a_socket(start: Path) -> None:
    """A root that was asked by TLS was told as one that cannot be reached, and a full disk was expected."""
    script(
        start,
        "import os, socket\none, two = socket.socketpair()\nos.write(one.fileno(), b'x')\n"
        "with open('a', 'wb', 0) as f:\n    f.write(b'x')\n",
    )
    lab = Lab(start, start.with_name("place"), ("{place}/script",), {})
    for own_start in (False, True):
        numbers = [
            (point.call, point.number) for point in lab._points_of(FULL, own_start=own_start)
        ]
        assert ("write", 1) not in numbers
        assert ("write", 2) in numbers
    assert lab.run(Point("write", 1, FULL)).succeeded
    assert not lab.run(Point("write", 2, FULL)).succeeded
    lab.close()


@pytest.mark.parametrize("own", ["os.write(f, b'abcd')", "os.pwrite(f, b'abcd', 0)"])
def test_a_short_write_takes_half_and_says_so(start: Path, own: str) -> None:
    script(start, f"import os\nf = os.open('a', os.O_CREAT | os.O_WRONLY)\nprint({own})\n")
    lab = Lab(start, start.with_name("place"), ("{place}/script",), {})
    first, *_ = lab.points(SHORT)
    outcome = lab.run(first)
    assert (outcome.code, outcome.out) == (0, "2\n")
    assert (lab.place / "a").read_bytes() == b"ab"
    lab.close()


def test_an_interrupted_call_is_made_again_by_python(start: Path) -> None:
    script(start, "with open('a', 'wb', 0) as f:\n    f.write(b'abcd')\n")
    lab = Lab(start, start.with_name("place"), ("{place}/script",), {})
    for point in lab.points(AGAIN):
        assert lab.run(point).succeeded
        assert (lab.place / "a").read_bytes() == b"abcd"
    lab.close()


_KINDS_OF_CHANGES = """
import os
def put(name, data, sync=False):
    f = os.open(name, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    os.write(f, data)
    os.pwrite(f, b'!', 9000)
    if sync:
        os.fsync(f)
    os.close(f)
def sync(folder):
    f = os.open(folder, os.O_RDONLY)
    os.fsync(f)
    os.close(f)
os.mkdir('one')
os.mkdir('two')
put('one/a', b'aaaa', True)
put('one/b', b'b' * 10_000)
os.rename('one/b', 'two/b')
os.link('one/a', 'two/a')
sync('one')
put('two/a', b'more')
f = os.open('two', os.O_TMPFILE | os.O_RDWR, 0o600)
os.write(f, b'nameless')
os.ftruncate(f, 5)
os.fsync(f)
two = os.open('two', 0)
os.link(f'/proc/self/fd/{f}', 'named', dst_dir_fd=two, follow_symlinks=True)
os.symlink('named', 'two/link')
os.rename('two', 'three')
os.unlink('one/a')
open('one/c', 'a').write('c')
with open('one/c', 'ab', 0) as c:
    c.write(b'd')
os.mkdir('none')
os.rmdir('none')
"""


def test_the_model_of_a_disk_is_what_the_kernel_did(start: Path) -> None:
    """With all that is pending kept, it is the folder of a run; a cut takes away what was not synced, and nothing else."""
    script(start, _KINDS_OF_CHANGES)
    lab = Lab(start, start.with_name("place"), ("{place}/script",), {})
    _, calls = lab.recorded()
    model = disk.Disk(lab.start, lab.place)
    for told in calls:
        model.do(told)
    there = {
        path.relative_to(lab.place).as_posix(): None if path.is_dir() else path.read_bytes()
        for path in lab.place.rglob("*")
        if not path.is_symlink()
    }
    seen = model.seen()
    assert seen.pop("three/link") == b""
    assert seen == there
    assert there["three/a"] == b"more" + bytes(8996) + b"!"
    assert there["three/named"] == b"namel"
    nothing = model.cut(Left.NOTHING, "")
    assert {name: found for name, (_, found) in nothing.items() if name.startswith("one")} == {}
    names = model.cut(Left.NAMES, "")
    assert names["three/named"][1] == b"namel"
    assert names["three/link"][1] == "named"
    assert names["three/a"][1] == b"aaaa" + bytes(8996) + b"!"
    assert names["three/b"][1] == b""
    assert set(model.cut(Left.BYTES, "")) == set(nothing)
    drawn = [model.cut(Left.SOME, str(seed)) for seed in range(20)]
    assert len({tuple(sorted(one)) for one in drawn}) > 5
    assert model.cut(Left.SOME, "1") == model.cut(Left.SOME, "1")
    lab.close()


def test_a_cut_is_told_as_a_kill_and_the_end_as_the_answer(start: Path) -> None:
    """What was not synced when the command had answered is gone, and the check is told that it has succeeded."""
    script(
        start,
        "import os\nwith open('a', 'wb', 0) as f:\n    f.write(b'x')\n    os.fsync(f)\n"
        "f = os.open('.', 0)\nos.fsync(f)\n"
        "with open('b', 'wb', 0) as f:\n    f.write(b'x')\nprint('done')\n",
    )
    lab = Lab(start, start.with_name("place"), ("{place}/script",), {})
    found = {}
    for point in lab.points(*CUTS):
        outcome = lab.run(point)
        there = tuple(name for name in "ab" if (lab.place / name).exists())
        found[point.call, point.number, point.fault] = outcome.code, outcome.out, there
    assert len(found) == 3 * len(CUTS)
    nothing, names, *_ = CUTS
    assert found["fsync", 1, nothing] == (-signal.SIGKILL, "", ())
    assert found["fsync", 1, names] == (-signal.SIGKILL, "", ("a",))
    assert found["fsync", 2, nothing] == (-signal.SIGKILL, "", ())
    assert found["end", 1, nothing] == (0, "done\n", ("a",))
    assert found["end", 1, names] == (0, "done\n", ("a", "b"))
    lab.close()


@pytest.mark.parametrize("missing", ["os.fsync(f)", "os.fsync(folder)", ""])
def test_a_sync_that_is_missing_is_found(start: Path, missing: str) -> None:
    """A file is replaced as everybody should; without either sync some cut leaves what is neither old nor new, or not new."""
    text = (
        "import os\nf = os.open('t', os.O_CREAT | os.O_WRONLY, 0o600)\nos.write(f, b'new')\n"
        "os.fsync(f)\nos.rename('t', 'a')\nfolder = os.open('.', 0)\nos.fsync(folder)\n"
    )
    script(start, text.replace(f"{missing}\n", "") if missing else text)
    (start / "a").write_bytes(b"old")
    lab = Lab(start, start.with_name("place"), ("{place}/script",), {})

    def check(outcome: Outcome) -> None:
        found = (lab.place / "a").read_bytes()
        assert found == b"new" if outcome.succeeded else found in (b"old", b"new")

    points = lab.points(*CUTS)
    if not missing:
        harness.torture(lab, points, check)
        return
    with pytest.raises(AssertionError, match="power cut"):
        harness.torture(lab, points, check)


def test_what_was_wrong_stands_in_the_first_line(start: Path) -> None:
    """The closing lines of continuous integration show no other: a reason was cut off there."""
    script(start, "with open('a', 'wb', 0) as f:\n    f.write(b'x')\n")
    lab = Lab(start, start.with_name("place"), ("{place}/script",), {})
    points = [point for point in lab.points(KILL) if not point.own_start]

    def check(outcome: Outcome) -> None:
        assert outcome.point.call != "write", "it is not there"

    with pytest.raises(AssertionError) as refused:
        harness.torture(lab, points, check)
    first = str(refused.value).splitlines()[0]
    assert (
        first == "1 of 2 points: write#1 signal=SIGKILL (code -9): AssertionError: it is not there"
    )


def test_a_signal_that_was_not_sent_is_told(start: Path) -> None:
    """Whoever died of SIGSEGV "failed without a word"."""
    script(
        start,
        "import os, signal\ntry:\n    open('a', 'wb')\nexcept OSError:\n"
        "    os.kill(os.getpid(), signal.SIGSEGV)\n",
    )
    lab = Lab(start, start.with_name("place"), ("{place}/script",), {})
    outcome = lab.run(Point("openat", 1, FULL))
    with pytest.raises(AssertionError, match=r"it died of SIGSEGV: Fatal Python error"):
        harness.check_manners(outcome)
    lab.close()


def test_the_tracer_knows_every_mutating_call() -> None:
    assert set(tracing.CALLS) == set(harness.MUTATING)


def test_a_command_that_dies_before_it_told_its_imports_is_told_by_its_signal(
    server: ForkServer, tmp_path: Path
) -> None:
    """It was told as a JSONDecodeError of the harness."""
    script(tmp_path, "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    done = server.learn(Command([str(tmp_path / "script")], tmp_path, {}))
    assert done.code == -signal.SIGKILL


def test_another_program_is_let_pass(server: ForkServer, tmp_path: Path) -> None:
    """What a command runs is not the command: it is followed, not disturbed."""
    (tmp_path / "script").write_text(
        "import subprocess\nsubprocess.run(['mkdir', 'a'], check=True)\nopen('b', 'w').write('b')\n"
    )
    command = Command([str(tmp_path / "script")], tmp_path, {"PATH": "/usr/bin:/bin"})
    done, changes = server.trace(command)
    assert done.code == 0, done.err
    assert changes == [(call, str(tmp_path / "b")) for call in ("openat", "write")]
    assert server.disturb(command, Disturbance("mkdir", 1, errno.EIO)).code == 1
    server.close()


def test_some_points_are_tried_with_a_start_of_their_own(start: Path) -> None:
    words = ("tsm", "security", "kms", "rotate")
    lab = Lab(start, start.with_name("place"), words, {"STRONGROOM_HOME": "{place}/node"})
    points = lab.points(KILL)
    separate = [point for point in points if point.own_start]
    assert points[-len(separate) :] == separate
    assert len(separate) == pytest.approx((len(points) - len(separate)) / 20, abs=1)
    for point in (points[0], points[-1]):
        assert lab.run(point).killed
        nodes.check_opens(lab.place / "node")
    lab.close()


@pytest.fixture
def server() -> ForkServer:
    return ForkServer({"PATH": "/usr/bin:/bin"})


def test_a_child_has_its_own_folder_variables_and_arguments(
    server: ForkServer, tmp_path: Path
) -> None:
    (tmp_path / "script").write_text(
        "import os, sys\nprint(sys.argv[1:], os.getcwd(), os.environ['NAME'], __name__)\n"
        "print(sorted(os.listdir('/proc/self/fd')))\nsys.stderr.write('said')\nsys.exit(7)\n"
    )
    environment = {"NAME": "value"}
    done = server.run(Command([str(tmp_path / "script"), "a b"], tmp_path, environment))
    assert done.code == 7
    # 3 is the listing itself
    assert done.out.splitlines() == [
        f"['a b'] {tmp_path} value __main__", "['0', '1', '2', '3']",
    ]  # fmt: skip
    assert done.err == "said"
    server.close()


def test_what_one_child_does_reaches_no_other(server: ForkServer, tmp_path: Path) -> None:
    """A module that was learned is there for all, what a run did to it for none."""
    (tmp_path / "learned.py").write_text("count = 0\n")
    (tmp_path / "script").write_text(
        "import sys\nbefore = 'learned' in sys.modules\nimport learned\nlearned.count += 1\n"
        "print(before, learned.count)\n"
    )
    command = Command([str(tmp_path / "script")], tmp_path, {"PYTHONPATH": str(tmp_path)})
    server.close()
    warm = ForkServer(command.environment)
    said = [warm.learn(command).out, warm.run(command).out, warm.run(command).out]
    assert said == ["False 1\n", "True 1\n", "True 1\n"]
    warm.close()


def test_a_child_that_never_ends_is_ended(server: ForkServer, tmp_path: Path) -> None:
    """The server lives on and runs the next."""
    (tmp_path / "script").write_text("import time\ntime.sleep(1000)\n")
    command = Command([str(tmp_path / "script")], tmp_path, {})
    server.limit_s = 0.5
    with pytest.raises(TimeoutError, match="script"):
        server.run(command)
    server.limit_s = 60
    (tmp_path / "script").write_text("print('next')\n")
    assert server.run(command).out == "next\n"
    server.close()


def test_a_module_runs_as_the_interpreter_runs_it(server: ForkServer) -> None:
    words = ["-m", "tests.torture.actions", "no such action", "/nowhere"]
    environment = {"PYTHONPATH": str(ROOT)}
    command = Command(words, ROOT, environment)
    assert command.from_the_start == [sys.executable, *words]
    tsm = [str(BIN / "tsm")]
    assert Command(tsm, ROOT, {}).from_the_start == seen.words(tsm)
    done = server.run(command)
    assert done.code == 1
    assert "KeyError: 'no such action'" in done.err
    server.close()
