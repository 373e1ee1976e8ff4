"""Service logs: `logs/<service>_<node>-<n>.log` (A-16, A-17), through the standard logging.

A logger's first name is its service: `logging.getLogger("vizqlserver.AwsKmsEncryptionEnvelope")`
goes to the log of vizqlserver, under the name after the dot; all else to the log of the process.
How much is written is a level for each service (`set_level`). Libraries' lines below info are never
written, at no level: what they tell there are whole requests.
Several processes may write one log: lines are appended whole, and whoever rotates holds a lock.
No line shows a secret: what looks like one is masked, in messages and in tracebacks.
"""

import fcntl
import logging
import os
import re
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from strongroom import durable
from strongroom.overriding import override
from strongroom.topology.paths import DataPaths
from strongroom.topology.processes import SERVICES

MAX_BYTES = 16 << 20  # of one file, before it is rotated
KEEP = 5  # rotated files: at most 96 MiB per service

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
"""The names of the configuration's levels; `off` is above all that is ever written."""
_OURS = "strongroom"
logging.addLevelName(TRACE, "TRACE")

MASK = "********"
_NAMES = r"[\w.-]*(?:passw(?:or)?d|passphrase|secret|token|data_key|master_key|private_key)[\w.-]*(?<!_id)"
_HEADERS = r"authorization|x-tableau-auth|cookie|set-cookie"
_VALUE = r"\"[^\"]*\"|'[^']*'|[^\s,;&)}\]<>\"']+"
_PATTERNS = (
    (
        re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*-----|\Z)", re.DOTALL),
        MASK,
    ),
    (re.compile(r"ENC\([A-Za-z0-9+/=]*\)?"), f"ENC({MASK})"),
    (re.compile(rf"(?i)\b({_HEADERS})([\"']?\s*[:=]\s*)[^\r\n]+"), rf"\1\2{MASK}"),
    (re.compile(rf"(?i)({_NAMES}[\"']?\s*[:=]\s*)(?:b?(?:{_VALUE}))"), rf"\1{MASK}"),
    (re.compile(r"(://[^\s/:@]+:)[^\s/@]+@"), rf"\1{MASK}@"),
)
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), 127)} | {9: "\t", 10: "\\n", 13: "\\r"}


def configure(
    paths: DataPaths,
    service: str,
    *,
    access: durable.Access = durable.PRIVATE,
) -> None:
    """Send this process's logging to the service logs; called once, by what starts the process.

    Info and above are written, until `set_level` says otherwise.

    Args:
        paths: Of the node.
        service: Whose log takes everything that names no service.
        access: Mode and group of the files.
    """
    durable.make_folder(paths.logs, access)
    for name in SERVICES:
        logger = logging.getLogger(name)
        logger.propagate = False
        _set_handler(logger, ServiceLogHandler(paths.service_log(name), access))
        logger.setLevel(logging.INFO)
    root = logging.getLogger()
    _set_handler(root, ServiceLogHandler(paths.service_log(service), access))
    root.setLevel(logging.INFO)
    logging.getLogger(_OURS).setLevel(logging.NOTSET)


def set_level(service: str, name: str, *, of_process: bool = False) -> None:
    """Write a service's lines from a level on; of this process, in all that is running.

    Args:
        service: Whose.
        name: One of `LEVELS`.
        of_process: Whether its log also takes what names no service.
    """
    level = LEVELS[name]
    logging.getLogger(service).setLevel(level)
    if not of_process:
        return
    logging.getLogger(_OURS).setLevel(level)
    root = logging.getLogger()
    root.setLevel(max(level, logging.INFO))
    # libraries whose loggers have a level of their own pass by that of the root
    for handler in [item for item in root.handlers if isinstance(item, ServiceLogHandler)]:
        handler.setLevel(level)


def _warn(sentence: str) -> None:
    with suppress(OSError, ValueError, AttributeError):  # full, closed, or there is none
        sys.stderr.write(f"warning: {sentence}\n")


def _set_handler(logger: logging.Logger, handler: "ServiceLogHandler") -> None:
    for old in [item for item in logger.handlers if isinstance(item, ServiceLogHandler)]:
        logger.removeHandler(old)
        old.close()
    logger.addHandler(handler)


def redact(text: str) -> str:
    """The text with everything masked that looks like a secret."""
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


class RedactingFormatter(logging.Formatter):
    """One line: UTC time, level, logger, message; then the traceback, if there is one."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        """The text of a record, without its newline."""
        moment = datetime.fromtimestamp(record.created, UTC)
        service, _, name = record.name.partition(".")
        shown = name if service in SERVICES and name else record.name
        time = moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
        # masked before control characters are, so that a key of several lines is seen as one
        message = redact(record.getMessage()).translate(_CONTROL)
        line = f"{time} {record.levelname:<7} {os.getpid()} {shown}: {message}"
        if record.exc_info:
            line += "\n" + redact(self.formatException(record.exc_info))
        return line


class ServiceLogHandler(logging.Handler):
    """Appends to one file; opened at the first line, rotated by size, shared by processes."""

    def __init__(
        self,
        path: Path,
        access: durable.Access = durable.PRIVATE,
        *,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        super().__init__()
        self.setFormatter(RedactingFormatter())
        self._path = path
        self._access = access
        self._max_bytes = max_bytes
        self._handle: int | None = None
        self._fails = False

    @override
    def emit(self, record: logging.LogRecord) -> None:
        """Write one record; what fails is told on stderr and stops nobody's work.

        Not by `handleError`: it shows a traceback and the arguments as they are, secrets too.
        """
        try:
            data = (self.format(record) + "\n").encode(errors="backslashreplace")
            handle = self._current()
            os.write(handle, data)
            if os.fstat(handle).st_size >= self._max_bytes:
                self._rotate(handle)
            self._fails = False
        except OSError as error:
            if not self._fails:  # once, not for each line until the disk has room again
                _warn(f"lines of the log {self._path} are lost: {error.strerror}")
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
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

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
            if self._access.group is not None:
                os.fchown(handle, -1, self._access.group)
            os.fchmod(handle, self._access.file_mode)
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
