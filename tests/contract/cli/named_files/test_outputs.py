"""Every command that writes a file, to every kind of place, on file systems that lack something (findings K8, K9).

The system's refusals are injected by strace at the very calls, in real processes. Whatever is refused is refused before
there is a result to lose, or is gone round; nothing half-done stays.
"""

import json
import os
import shutil
import socket
import stat
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from strongroom.cli import dispatch
from tests.support import forked, privileges, seen, unmeasured
from tests.support.servers import BIN

pytestmark = pytest.mark.table

DATA = b"flights\n" * 10_000


@dataclass(frozen=True)
class Writer:
    """A command that writes a file where it is told.

    Attributes:
        words: The command; `{out}` is the place.
        replaces: Whether it replaces a regular file that is there.
        makes: The files that there are afterwards below the place's folder.
    """

    words: tuple[str, ...]
    replaces: bool = False
    makes: tuple[str, ...] = ("out",)


WRITERS: Mapping[str, Writer] = {
    "encrypt": Writer(("strongroom", "encrypt", "plain", "{out}")),
    "encrypt over": Writer(("strongroom", "encrypt", "plain", "{out}", "--overwrite"), True),
    "encrypt unsynced": Writer(("strongroom", "encrypt", "plain", "{out}", "--no-sync")),
    "encrypt stream": Writer(("strongroom", "encrypt", "-", "{out}")),
    "decrypt": Writer(("strongroom", "decrypt", "sealed", "{out}")),
    "decrypt over": Writer(("strongroom", "decrypt", "sealed", "{out}", "--overwrite"), True),
    "export": Writer(("tsm", "settings", "export", "-f", "{out}"), True),
    "export sealed": Writer(
        ("tsm", "settings", "export", "-f", "{out}", "--passphrase-file", "phrase"), True
    ),
    "bootstrap file": Writer(
        ("tsm", "topology", "nodes", "get-bootstrap-file", "-f", "{out}"), True
    ),
}
#: Commands that write more than one file, or one whose folder is a setting: places are not theirs to try, refusals are.
FOLDERS: Mapping[str, Writer] = {
    "encrypt many": Writer(
        ("strongroom", "encrypt", "--into", "{folder}", "plain", "phrase"), makes=("phrase", "plain")
    ),
    "encrypt over many": Writer(
        ("strongroom", "encrypt", "--into", "{folder}", "plain", "phrase", "--overwrite"),
        makes=("phrase", "plain"),
    ),
    "decrypt many": Writer(
        ("strongroom", "decrypt", "--into", "{folder}", "sealed"), makes=("sealed",)
    ),
    "shares": Writer(
        ("tsm", "security", "kms", "roots", "add", "shares", "--threshold", "2", "--shares", "3",
         "--output", "{folder}/kit"),
        makes=("kit/share-1", "kit/share-2", "kit/share-3"),
    ),
    "backup": Writer(("tsm", "maintenance", "backup", "-f", "b"), makes=("b.tsbak",)),
    "logs": Writer(("tsm", "maintenance", "ziplogs", "-f", "l", "--overwrite"), makes=("l.zip",)),
}  # fmt: skip


@pytest.fixture(scope="module")
def prepared(pristine_node: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a node, a plain file, an encrypted one and a passphrase; not to be changed."""
    folder = tmp_path_factory.mktemp("outputs")
    shutil.copytree(pristine_node, folder / "node")
    (folder / "plain").write_bytes(DATA)
    (folder / "phrase").write_text("correct horse\n")
    words = ("encrypt", str(folder / "plain"), str(folder / "sealed"))
    assert dispatch.main("strongroom", ["--data-dir", str(folder / "node"), *words]) == 0
    return folder


@pytest.fixture
def place(prepared: Path, tmp_path: Path) -> Path:
    """Where the command runs; its output goes to a folder of its own."""
    place = tmp_path / "place"
    shutil.copytree(prepared, place)
    (place / "outputs").mkdir()
    return place


def _run(
    place: Path, writer: Writer, out: Path, *, tracing: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    folder = place / "outputs"
    words = [word.format(out=out, folder=folder) for word in writer.words]
    if "maintenance" in words:
        _set_folder(place, folder, "backuprestore" if "backup" in words else "log_archive")
    line, environment = (
        [str(BIN / words[0]), *words[1:]],
        _environment_in(place, measured=not tracing),
    )
    with (place / "plain").open("rb") as source:
        if not tracing:
            done = forked.run(line, folder=place, environment=environment, stdin=source.fileno())
        else:
            done = subprocess.run(
                [*tracing, *_seen_by(tracing, line)],
                cwd=place,
                env=environment,
                stdin=source,
                capture_output=True,
                timeout=120,
                check=False,
            )
    said = [text.decode() for text in (done.stdout, done.stderr)]
    return subprocess.CompletedProcess(done.args, done.returncode, *said)


def _seen_by(tracing: Sequence[str], words: list[str]) -> list[str]:
    """A tracer that chooses calls by their paths must read these."""
    return seen.words(words) if tracing else words


def _environment(*, measured: bool) -> dict[str, str]:
    """Coverage writes and renames files of its own in each process: not where calls are refused by their number."""
    return dict(os.environ) if measured else unmeasured.environment()


def _environment_in(place: Path, *, measured: bool) -> dict[str, str]:
    own = {"STRONGROOM_HOME": str(place / "node"), "HOME": str(place)}
    return _environment(measured=measured) | own


def _set_folder(place: Path, folder: Path, name: str) -> None:
    home = ["--data-dir", str(place / "node")]
    words = ["configuration", "set", "-k", f"basefilepath.{name}", "-v", str(folder)]
    assert dispatch.main("tsm", [*home, *words]) == 0
    assert dispatch.main("tsm", [*home, "pending-changes", "apply", "--ignore-prompt"]) == 0


def _made(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def _sane(done: subprocess.CompletedProcess[str]) -> None:
    assert "Traceback" not in done.stderr, done.stderr
    if done.returncode:
        assert done.returncode in {2, 5, 6, 7, 41}, done.stderr
        assert done.stderr.strip(), "refused without a word"


# ---- kinds of places -----------------------------------------------------------------------------

each_writer = pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)


def _link(out: Path) -> None:
    (out.parent / "v1").write_text("precious")
    out.symlink_to("v1")


def _dangling(out: Path) -> None:
    out.symlink_to("nowhere")


def _folder(out: Path) -> None:
    out.mkdir()


def _socket(out: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(out))


def _device(out: Path) -> None:
    privileges.device(out)


NO_FILES: Mapping[str, Callable[[Path], None]] = {
    "link": _link,
    "dangling link": _dangling,
    "folder": _folder,
    "socket": _socket,
    "device": _device,
}


@pytest.mark.crossed
@each_writer
@pytest.mark.parametrize("make", NO_FILES.values(), ids=NO_FILES)
def test_what_is_no_file_is_not_replaced(
    writer: Writer, make: Callable[[Path], None], place: Path
) -> None:
    """Findings K8: as root it was /dev/null itself."""
    out = place / "outputs" / "out"
    make(out)
    before = {path.name: path.lstat() for path in out.parent.iterdir()}
    done = _run(place, writer, out)
    _sane(done)
    assert done.returncode != 0
    after = {path.name: path.lstat() for path in out.parent.iterdir()}
    assert {
        name: (found.st_ino, found.st_mode, found.st_size) for name, found in after.items()
    } == {name: (found.st_ino, found.st_mode, found.st_size) for name, found in before.items()}


@each_writer
def test_a_pipe_is_written_and_stays(writer: Writer, place: Path) -> None:
    """Findings K8: with --overwrite too."""
    out, got = place / "outputs" / "out", bytearray()
    os.mkfifo(out, 0o600)
    reader = threading.Thread(target=lambda: got.extend(out.read_bytes()))
    reader.start()
    done = _run(place, writer, out)
    reader.join(60)
    assert done.returncode == 0, done.stderr
    assert stat.S_ISFIFO(out.lstat().st_mode)
    if "decrypt" in writer.words:
        assert bytes(got) == DATA
    assert len(got) > 100


@each_writer
def test_a_regular_file_is_replaced_by_whom_it_is_said_of(writer: Writer, place: Path) -> None:
    out = place / "outputs" / "out"
    out.write_text("old")
    done = _run(place, writer, out)
    assert (done.returncode == 0) == writer.replaces, done.stderr
    assert (out.read_bytes() == b"old") == (not writer.replaces)
    assert _made(out.parent) == {"out"}


@each_writer
@pytest.mark.parametrize("length", [255, 256])
def test_long_names(writer: Writer, length: int, place: Path) -> None:
    """Findings K9: 255 bytes are a name; more are refused before the work."""
    out = place / "outputs" / ("n" * length)
    done = _run(place, writer, out)
    _sane(done)
    assert (done.returncode == 0) == (length == 255), done.stderr
    assert _made(out.parent) == ({out.name} if length == 255 else set())


# ---- refusals of the system ----------------------------------------------------------------------

#: What a file system may lack, as strace injects it: the calls, and whether only those that name the output's folder.
REFUSALS: Mapping[str, tuple[bool, tuple[str, ...]]] = {
    "no links": (False, ("link,linkat:error=EPERM",)),
    "no links here": (True, ("link,linkat:error=EOPNOTSUPP",)),
    "no links, no renameat2": (False, ("link,linkat:error=EPERM", "renameat2:error=EINVAL")),
    "no files without a name": (True, ("openat:error=EOPNOTSUPP:when=2",)),
    "no modes": (False, ("fchmod:error=EPERM",)),
    "no modes at all": (False, ("fchmod,fchmodat,chmod:error=EPERM",)),
    "no modes for the second": (False, ("fchmod:error=EPERM:when=2",)),
    "no allocation": (False, ("fallocate:error=EOPNOTSUPP",)),
    "no sync of folders": (True, ("fsync:error=EINVAL",)),
    "a disk that fails at the folder": (True, ("fsync:error=EIO",)),
    "no sync": (False, ("fsync:error=EINVAL",)),
    "no locks": (False, ("flock:error=ENOLCK",)),
    "no renaming": (False, ("rename,renameat,renameat2:error=EXDEV",)),
    "full at the second": (False, ("pwrite64,write:error=ENOSPC:when=40+",)),
    "read-only": (True, ("openat:error=EROFS:when=2+",)),
}
#: What goes on all the same; whatever else is refused by a sentence.
MUST_WORK = {
    "no links",
    "no links here",
    "no links, no renameat2",
    "no files without a name",
    "no modes",
    "no modes for the second",
    "no allocation",
    "no sync of folders",
}
#: A backup holds the files of the store by links, on the data directory's own file system.
MAY_FAIL = {("backup", "no links"), ("backup", "no links, no renameat2")}
#: The backup was whole when the event log could not be signed, and the keys were wrapped by the kit when the disk was full
#: for the event that says so: they stay.
MAY_STAY = {("backup", "no renaming"), ("shares", "full at the second")}
EVERYBODY = {**WRITERS, **FOLDERS}


def _is_wrapped_by_a_kit(place: Path) -> bool:
    words = ["tsm", "security", "kms", "roots", "list", "--json"]
    listed = forked.run(
        [str(BIN / words[0]), *words[1:]],
        folder=place,
        environment=_environment_in(place, measured=False),
    )
    return any(root["kind"] == "shares" for root in json.loads(listed.stdout))


def _strace(place: Path, rules: tuple[str, ...], *, here: bool) -> tuple[str, ...]:
    injections = [f"--inject={rule}" for rule in rules]
    calls = ",".join(rule.partition(":")[0] for rule in rules)
    paths = ["-P", str(place / "outputs")] if here else []
    trace = ["-o", str(place / "trace"), f"--trace={calls}", *paths]
    # a filter in the kernel: only these calls stop the process, not the ten thousand others of its start
    return ("strace", "-f", "--seccomp-bpf", "-qq", *trace, *injections)


@pytest.mark.slow
@pytest.mark.crossed
@pytest.mark.parametrize("who", EVERYBODY)
@pytest.mark.parametrize("lack", REFUSALS)
def test_a_file_system_that_lacks_something(who: str, lack: str, place: Path) -> None:
    """Findings K9: it works all the same, or is refused with the cause; nothing half-done stays, and no half kit."""
    here, rules = REFUSALS[lack]
    folder, writer = place / "outputs", EVERYBODY[who]
    done = _run(place, writer, folder / "out", tracing=_strace(place, rules, here=here))
    _sane(done)
    made = _made(folder)
    if lack in MUST_WORK and (who, lack) not in MAY_FAIL:
        assert done.returncode == 0, done.stderr
    if done.returncode == 0:
        assert len(made) == len(writer.makes), made
        assert not any(Path(name).name.startswith(".") for name in made)
    elif (who, lack) in MAY_STAY:
        assert len(made) in {0, len(writer.makes)}, done.stderr
        if who == "shares":
            assert bool(made) == _is_wrapped_by_a_kit(place), done.stderr
    elif lack == "a disk that fails at the folder":
        assert "written, but" in done.stderr or made == set(), done.stderr
    else:
        assert made == set(), done.stderr


# ---- a data directory that cannot be written -----------------------------------------------------

_MOUNT = "mount --bind node node && mount -o remount,bind,ro node"


@pytest.mark.slow
def test_a_data_directory_that_is_mounted_for_reading(place: Path) -> None:
    """Findings K9: every command names the cause, and nothing is written beside it."""
    writers = [*EVERYBODY.values(), Writer(("tsm", "configuration", "get", "-k", "redis.port"))]
    for writer in writers:
        if "maintenance" in writer.words:
            continue  # their folder is a setting, which would have to be written
        seen = privileges.with_mounts(_MOUNT, _environment_in(place, measured=False))
        done = _run(place, writer, place / "outputs" / "out", tracing=tuple(seen))
        _sane(done)
        assert done.returncode == 41, (writer, done.stderr)
        assert "read-only" in done.stderr.lower() or "for reading only" in done.stderr, done.stderr
        assert _made(place / "outputs") == set(), writer
