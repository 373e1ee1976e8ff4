"""Service logs: `logs/<service>_<node>-<n>.log` (A-16, A-17), through the standard logging.

The first part of a logger's name is its service: lines of `logging.getLogger("vizqlserver.AwsKmsEncryptionEnvelope")`
go to the log of vizqlserver, under the name after the dot; lines of other loggers go to the log of the process. Each
service has a level (`set_level`). Lines of libraries below info are never written, since they contain whole requests.
The server and the first backgrounder of a node write to the same logs, and each further backgrounder to logs of its own
place: lines are appended whole, and a lock is held to rotate. Anything that looks like a secret is masked, in messages
and in tracebacks.
"""

import fcntl
import logging
import os
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from strongroom.runtime.paths import DataPaths
from strongroom.runtime.processes import SERVICES
from strongroom.system import disk, durable
from strongroom.system.compat import override
from strongroom.system.redaction import redact

MAX_BYTES = 16 << 20  # the size at which a log file is rotated
KEEP = 5  # how many rotated files stay: at most 96 MiB per service

TRACE = 5
LEVELS: Final = {
    "trace": TRACE,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "fatal": logging.CRITICAL,
    "off": logging.CRITICAL + 1,
}
"""The levels by their names in the configuration; `off` is above the level of every line."""
_OURS = "strongroom"
logging.addLevelName(TRACE, "TRACE")

_CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), 127)} | {9: "\t", 10: "\\n", 13: "\\r"}


def configure(
    paths: DataPaths,
    service: str,
    *,
    number: int = 0,
    file_modes: durable.FileModes = durable.PRIVATE,
) -> None:
    """Send this process's logging to the service logs; called once, at the start of the process.

    Info and above are written, until `set_level` sets another level.

    Args:
        paths: The paths of the node.
        service: The service of this process, to whose log lines of other loggers go.
        number: The number in the names of all files that this process writes: its place among several processes of its
            service, so that what each did is read in one piece.
        file_modes: Mode and group of the files.
    """
    durable.make_folder(paths.logs, file_modes)
    for name in SERVICES:
        logger = logging.getLogger(name)
        logger.propagate = False
        _set_handler(logger, ServiceLogHandler(paths.service_log(name, number), file_modes))
        logger.setLevel(logging.INFO)
    root = logging.getLogger()
    _set_handler(root, ServiceLogHandler(paths.service_log(service, number), file_modes))
    root.setLevel(logging.INFO)
    logging.getLogger(_OURS).setLevel(logging.NOTSET)


def set_level(service: str, name: str, *, of_process: bool = False) -> None:
    """Set the level from which a service's lines are written, in this process and at once.

    Args:
        service: The service.
        name: A name in `LEVELS`.
        of_process: Whether the service is that of this process, whose log also gets lines that name no service.
    """
    level = LEVELS[name]
    logging.getLogger(service).setLevel(level)
    if not of_process:
        return
    logging.getLogger(_OURS).setLevel(level)
    root = logging.getLogger()
    root.setLevel(max(level, logging.INFO))
    # the level of the root logger does not hold for libraries that set one for their own loggers, but the handler's
    # does
    for handler in [item for item in root.handlers if isinstance(item, ServiceLogHandler)]:
        handler.setLevel(level)


def _warn(sentence: str) -> None:
    # stderr may be a full disk, closed, or missing
    with suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(f"warning: {sentence}\n")


def _set_handler(logger: logging.Logger, handler: "ServiceLogHandler") -> None:
    for old in [item for item in logger.handlers if isinstance(item, ServiceLogHandler)]:
        logger.removeHandler(old)
        old.close()
    logger.addHandler(handler)


class RedactingFormatter(logging.Formatter):
    """Formats a record: a line with UTC time, level, logger and message, then the traceback, if any."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        """The text of a record, without its newline."""
        moment = datetime.fromtimestamp(record.created, UTC)
        service, _, name = record.name.partition(".")
        shown = name if service in SERVICES and name else record.name
        time = moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
        # secrets are masked before control characters are replaced, so that a PEM key of several lines is recognised
        message = redact(record.getMessage()).translate(_CONTROL)
        line = f"{time} {record.levelname:<7} {os.getpid()} {shown}: {message}"
        if record.exc_info:
            line += "\n" + redact(self.formatException(record.exc_info))
        return line


class ServiceLogHandler(logging.Handler):
    """Appends to a log file, which is opened at the first line, rotated by size, and shared by processes."""

    def __init__(
        self,
        path: Path,
        file_modes: durable.FileModes = durable.PRIVATE,
        *,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        super().__init__()
        self.setFormatter(RedactingFormatter())
        self._path = path
        self._file_modes = file_modes
        self._max_bytes = max_bytes
        self._handle: int | None = None
        self._fails = False

    @override
    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; a failure is reported on stderr, and does not stop the caller's work.

        `handleError` is not used: it would print a traceback and the arguments unmasked.
        """
        try:
            data = (self.format(record) + "\n").encode(errors="backslashreplace")
            handle = self._current()
            os.write(handle, data)
            if os.fstat(handle).st_size >= self._max_bytes:
                self._rotate(handle)
            self._fails = False
        except OSError as error:
            # reported once, and not for each line until the disk has room again
            if not self._fails:
                _warn(f"lines of the log {self._path} are lost: {disk.reason(error)}")
            self._fails = True
        except Exception as error:  # noqa: BLE001 logging.Handler's contract: a log line never raises
            origin = f"{record.name}, {record.filename}:{record.lineno}"
            _warn(f"a line of the log {self._path} is lost: {type(error).__name__} from {origin}")

    @override
    def close(self) -> None:
        """Close the file."""
        self.acquire()
        try:
            self._close_file()
        finally:
            self.release()
        super().close()

    def _close_file(self) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            os.close(handle)

    def _current(self) -> int:
        """The open file; another process may have rotated the one we had."""
        if self._handle is not None and not self._is_current(self._handle):
            self._close_file()
        if self._handle is None:
            self._handle = self._open()
        return self._handle

    def _is_current(self, handle: int) -> bool:
        with suppress(FileNotFoundError):
            return os.path.samestat(os.fstat(handle), self._path.stat())
        return False

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        handle = os.open(self._path, flags, 0o600)
        if os.fstat(handle).st_uid == os.geteuid():
            if self._file_modes.group is not None:
                os.fchown(handle, -1, self._file_modes.group)
            os.fchmod(handle, self._file_modes.file_mode)
        return handle

    def _rotate(self, handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX)
        if self._is_current(handle):
            for number in range(KEEP, 0, -1):
                older = self._numbered(number - 1)
                if older.exists():
                    older.replace(self._numbered(number))
        self._close_file()

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}") if number else self._path
