"""Service logs (A-16, A-17): names, form, masking, rotation."""

import logging
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom.config import catalog
from strongroom.errors import UsageError
from strongroom.runtime import log_archive, service_logs
from strongroom.runtime.paths import DataPaths
from strongroom.runtime.service_logs import ServiceLogHandler
from strongroom.system import durable
from tests.support import loggers


@pytest.fixture
def paths(tmp_path: Path) -> Iterator[DataPaths]:
    with loggers.as_before():
        yield DataPaths(tmp_path)


def test_lines_go_to_the_log_of_their_service_under_the_seeds_names(paths: DataPaths) -> None:
    """A-16."""
    service_logs.configure(paths, "vizportal")
    logging.getLogger("vizqlserver.AwsKmsEncryptionEnvelope").info("Using RMK with ID %s", "r")
    logging.getLogger("uvicorn.error").warning("elsewhere")
    assert sorted(path.name for path in paths.logs.iterdir()) == [
        "vizportal_node1-0.log",
        "vizqlserver_node1-0.log",
    ]
    line = paths.service_log("vizqlserver").read_text()
    form = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO    \d+ AwsKmsEncryptionEnvelope: "
    assert re.fullmatch(form + r"Using RMK with ID r\n", line)
    assert "uvicorn.error: elsewhere" in paths.service_log("vizportal").read_text()


def test_each_further_process_of_a_service_has_logs_of_its_own(paths: DataPaths) -> None:
    """ADR 61: what one backgrounder did is not read between the lines of seven others."""
    for place in (0, 2):
        service_logs.configure(paths, "backgrounder", number=place)
        logging.getLogger("backgrounder.Jobs").info("a job of place %d", place)
        logging.getLogger("vizqlserver.X").info("opened in place %d", place)
        logging.getLogger("sqlalchemy").warning("told by a library in place %d", place)
    for service, lines in (("backgrounder", 2), ("vizqlserver", 1)):
        for place in (0, 2):
            text = paths.service_log(service, place).read_text()
            assert text.count(f"in place {place}") + text.count(f"of place {place}") == lines
            assert text.count("\n") == lines
    assert len(list(paths.logs.iterdir())) == 4
    assert {name for name, _ in log_archive.logs(paths)} == {
        f"logs/{service}_node1-{place}.log"
        for service in ("backgrounder", "vizqlserver")
        for place in (0, 2)
    }


def test_configuring_twice_writes_each_line_once(paths: DataPaths) -> None:
    service_logs.configure(paths, "vizportal")
    service_logs.configure(paths, "backgrounder")
    logging.getLogger("x").warning("once")
    assert paths.service_log("backgrounder").read_text().count("once") == 1
    assert not paths.service_log("vizportal").exists()


def test_a_level_is_of_one_service(paths: DataPaths) -> None:
    service_logs.configure(paths, "vizportal")
    service_logs.set_level("vizqlserver", "warn")
    for name in ("vizqlserver.X", "backgrounder.X", "strongroom.x"):
        logging.getLogger(name).info("at info")
        logging.getLogger(name).warning("at warning")
    assert paths.service_log("vizqlserver").read_text().count("at ") == 1
    assert paths.service_log("backgrounder").read_text().count("at ") == 2
    assert paths.service_log("vizportal").read_text().count("at ") == 2


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("trace", ["TRACE", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]),
        ("debug", ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]),
        ("info", ["INFO", "WARNING", "ERROR", "CRITICAL"]),
        ("warn", ["WARNING", "ERROR", "CRITICAL"]),
        ("error", ["ERROR", "CRITICAL"]),
        ("fatal", ["CRITICAL"]),
        ("off", []),
    ],
)
def test_what_is_written_at_each_level(paths: DataPaths, name: str, written: list[str]) -> None:
    """Of our own lines; a library's are never written below info, and at `off` neither."""
    library = logging.getLogger("library.with.a.level")
    library.setLevel(logging.DEBUG)
    service_logs.configure(paths, "vizportal")
    service_logs.set_level("vizportal", name, of_process=True)
    for level in (service_logs.TRACE, 10, 20, 30, 40, 50):
        logging.getLogger("strongroom.web").log(level, "ours")
        logging.getLogger("urllib3").log(level, "theirs")
    library.critical("theirs")
    library.setLevel(logging.NOTSET)
    log = paths.service_log("vizportal")
    lines = log.read_text().splitlines() if log.exists() else []
    assert [line.split()[1] for line in lines if "ours" in line] == written
    expected = [level for level in written if level not in {"TRACE", "DEBUG"}]
    assert [line.split()[1] for line in lines if "urllib3" in line] == expected
    assert ("library.with" in "".join(lines)) == bool(written)


def test_configuring_anew_writes_info_again(paths: DataPaths) -> None:
    service_logs.configure(paths, "vizportal")
    service_logs.set_level("vizportal", "off", of_process=True)
    service_logs.configure(paths, "backgrounder")
    logging.getLogger("strongroom.x").info("again")
    assert "again" in paths.service_log("backgrounder").read_text()


def test_the_configuration_takes_the_levels_that_there_are() -> None:
    for name in service_logs.LEVELS:
        assert catalog.check_value("vizqlserver.log.level", name.upper()) == name
    with pytest.raises(UsageError) as caught:
        catalog.check_value("vizqlserver.log.level", "warning")
    assert caught.value.hint == f"it should be one of {', '.join(service_logs.LEVELS)}"


def test_files_have_their_mode(paths: DataPaths) -> None:
    service_logs.configure(paths, "vizportal", file_modes=durable.FileModes(0o750, 0o640))
    logging.getLogger("x").warning("y")
    assert stat.S_IMODE(paths.service_log("vizportal").stat().st_mode) == 0o640
    assert stat.S_IMODE(paths.logs.stat().st_mode) == 0o750


def test_a_traceback_is_kept_and_masked(paths: DataPaths) -> None:
    service_logs.configure(paths, "vizportal")
    try:
        int("password=" + "geheim")
    except ValueError:
        logging.getLogger("x").exception("failed")
    text = paths.service_log("vizportal").read_text()
    assert "Traceback (most recent call last)" in text
    assert "password=********" in text
    assert "password=geheim" not in text


def test_a_message_cannot_forge_a_line(paths: DataPaths) -> None:
    service_logs.configure(paths, "vizportal")
    logging.getLogger("x").warning("a\n2026-11-21T20:00:00.000Z INFO\x1b[31m\r forged")
    text = paths.service_log("vizportal").read_text()
    assert text.count("\n") == 1
    assert r"a\n2026" in text
    assert r"\x1b[31m\r" in text


def test_a_full_file_is_rotated_and_a_few_are_kept(tmp_path: Path) -> None:
    handler = ServiceLogHandler(tmp_path / "s.log", max_bytes=200)
    # another process with the same file
    other = ServiceLogHandler(tmp_path / "s.log", max_bytes=10_000)
    logger = logging.getLogger("strongroom.tests.rotation")
    logger.propagate = False
    logger.addHandler(handler)
    logger.addHandler(other)
    for number in range(20):
        logger.warning("line %s %s", number, "x" * 60)
    handler.close()
    other.close()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [f"s.log.{n}" for n in range(1, 6)] or names == [
        "s.log", *(f"s.log.{n}" for n in range(1, 6)),
    ]  # fmt: skip
    lines = "".join(path.read_text() for path in tmp_path.iterdir()).splitlines()
    last = [line for line in lines if "line 19" in line]
    assert len(last) == 2
    assert all(len(line) > 60 for line in lines)


@pytest.fixture
def lost(tmp_path: Path) -> Iterator[logging.Logger]:
    """A logger whose file cannot be opened: a folder is in its place."""
    (tmp_path / "s.log").mkdir()
    handler = ServiceLogHandler(tmp_path / "s.log")
    logger = logging.getLogger("strongroom.tests.lost")
    logger.propagate = False
    logger.addHandler(handler)
    yield logger
    logger.removeHandler(handler)
    handler.close()


def test_lines_that_cannot_be_written_stop_nobody_and_are_told_in_one_sentence(
    lost: logging.Logger, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No traceback, and nothing of the line: it was not masked."""
    path = tmp_path / "s.log"
    told = f"warning: lines of the log {path} are lost: is a directory\n"
    lost.warning("password=%s", "hunter2")
    lost.warning("again")
    assert capsys.readouterr().err == told
    path.rmdir()
    lost.warning("written")
    assert "written" in path.read_text()
    path.unlink()
    path.mkdir()
    lost.warning("lost")
    assert capsys.readouterr().err == told


def test_a_line_that_cannot_be_made_is_told_without_its_arguments(
    lost: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    name = lost.name
    record = logging.LogRecord(name, logging.INFO, "/here/caller.py", 7, "%d", ("hunter2",), None)
    for handler in lost.handlers:
        if isinstance(handler, ServiceLogHandler):  # not that of pytest, which raises
            handler.handle(record)
    said = capsys.readouterr().err
    assert "is lost: TypeError from strongroom.tests.lost, caller.py:7" in said
    assert "hunter2" not in said


def test_a_lost_line_with_nowhere_to_tell_it(
    lost: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr", None)
    lost.warning("lost")
