"""The standard streams: the one way in which a command speaks, asks and is answered.

What is written goes to the descriptor at once, so results and messages keep their order wherever the two streams lead.
A character that a stream cannot say, and one that would steer a terminal, is escaped; nothing else of this program
prints.

A stream may be closed, full, or the end of a pipe that does not block or that nobody reads:

- Standard output that can take nothing is found before a command begins, and the command does nothing (`check_output`).
- Standard error that can take nothing loses messages, and no work.
- Standard input that is closed is refused by whoever wants to read it.
- The numbers of closed streams are taken (`occupy`), or the next database would be opened as standard error.
"""

import errno
import io
import json
import os
import re
import select
import stat
import sys
from contextlib import suppress
from typing import Any, TextIO

from strongroom.errors import StorageError, UsageError
from strongroom.system import disk

_STDIN, _STDOUT, _STDERR = 0, 1, 2
_SEND_IT = "send it to a file, a pipe or /dev/null"
_NOTHING_DONE = "nothing was done"
_WORK_STAYS = "what the command did before stays done; look at its state before you run it again"
_LONGEST_ANSWER = 4096
#: Control characters but tab and line break, marks that reorder a line, and bytes of names that are no text.
_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\udc80-\udcff]")
_BYTE_OF_A_NAME = 0xDC00


def occupy() -> None:
    """Give the numbers of closed standard streams to a place that refuses what the stream would be used for."""
    for number, refusing in (
        (_STDIN, os.O_WRONLY),
        (_STDOUT, os.O_RDONLY),
        (_STDERR, os.O_WRONLY),  # messages go nowhere; those of child processes too
    ):
        try:
            os.fstat(number)
        except OSError:
            with suppress(OSError):
                os.set_inheritable(os.open(os.devnull, refusing), True)


def settle() -> None:
    """At the end: what libraries left in a stream that cannot be written goes nowhere, or the interpreter ends with 120."""
    for stream, number in ((sys.stdout, _STDOUT), (sys.stderr, _STDERR)):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            with suppress(OSError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, number)
                os.close(nowhere)


# ---- results ---------------------------------------------------------------------------------------


def check_output() -> None:
    """Refuse to begin what could not tell its result.

    Raises:
        StorageError: Standard output is closed, or refuses to be written.
    """
    handle = _handle(sys.stdout)
    if handle is None:
        if _is_closed(sys.stdout):
            raise StorageError("standard output is closed", hint=f"{_SEND_IT}; {_NOTHING_DONE}")
        return
    try:
        os.write(
            handle, b""
        )  # enough for a descriptor that is closed or not for writing, and for /dev/full
    except BlockingIOError:
        return
    except OSError as error:
        raise _unwritable(error, _NOTHING_DONE) from error
    if _lost_its_reader(handle):
        raise StorageError(
            "nobody reads standard output any more", hint=f"{_SEND_IT}; {_NOTHING_DONE}"
        )


def out(text: str) -> None:
    """Write a part of a result, with control characters escaped.

    Raises:
        StorageError: Standard output cannot be written.
        BrokenPipeError: The reader of standard output has ended.
    """
    _write_result(_shown(text))


def out_exact(text: str) -> None:
    """Write a value as it is, since a script will use it; nothing in it is escaped.

    Raises:
        UsageError: The encoding of standard output cannot represent the value.
        StorageError: Standard output cannot be written.
        BrokenPipeError: The reader of standard output has ended.
    """
    encoding = _encoding(sys.stdout)
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        # from None: the cause would carry the value along
        raise UsageError(
            f"the value has characters that standard output cannot say: its encoding is {encoding}",
            hint="run it with PYTHONIOENCODING=utf-8, or in a locale of UTF-8",
        ) from None
    _write_result(text)


def out_json(value: object) -> None:
    """A result as JSON that stays JSON in every encoding."""
    _write_result(json_text(value) + "\n")


def json_text(value: object, *, indent: int | None = 2) -> str:
    """A value as JSON that standard output can say, and in which nothing steers a terminal."""
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    if _STEERING.search(text) or not _can_say(sys.stdout, text):
        text = json.dumps(value, indent=indent).replace("\x7f", "\\u007f")
    return text


def is_terminal() -> bool:
    """Whether results go to somebody's screen."""
    return _is_terminal(sys.stdout)


# ---- messages --------------------------------------------------------------------------------------


def note(text: str) -> None:
    """A message, with its line break; work is not lost for want of it."""
    _write_message(_shown(text) + "\n")


def note_lines(text: str) -> None:
    """Messages that have their line breaks already."""
    _write_message(_shown(text))


def raw_note(text: str) -> None:
    """Write a text that draws on the terminal, such as a progress line, to standard error as it is."""
    _write_message(text)


def message_can_say(text: str) -> bool:
    """Whether messages can hold these signs as they are."""
    return _can_say(sys.stderr, text)


def message_terminal() -> bool:
    """Whether messages go to somebody's screen."""
    return _is_terminal(sys.stderr)


# ---- input -----------------------------------------------------------------------------------------


def can_ask() -> bool:
    """Whether standard input is a terminal, so that a person can answer."""
    return _is_terminal(sys.stdin)


def ask(prompt: str) -> str:
    """Ask for a line of standard input, without its line break; an empty line at the end of the input."""
    _write_message(_shown(prompt))
    handle = _handle(sys.stdin)
    if handle is None:
        return "" if _is_closed(sys.stdin) else sys.stdin.readline().rstrip("\r\n")
    line = bytearray()
    # byte by byte, since the bytes behind the line belong to the next reader of standard input
    while len(line) < _LONGEST_ANSWER and (byte := _read_some(handle, 1)) not in {b"", b"\n"}:
        line += byte
    return line.decode(errors="replace").removesuffix("\r")


def ask_hidden(prompt: str) -> str:
    """Ask for a text at the terminal, which is not shown while it is typed.

    Raises:
        UsageError: Nothing was typed, or not text in UTF-8.
    """
    import getpass

    try:
        return getpass.getpass(_shown(prompt))
    except EOFError:
        raise UsageError(
            f"nothing was typed for: {prompt.strip(' :')}", hint="nothing was changed"
        ) from None
    except UnicodeDecodeError:
        # from None: the cause would carry what was typed
        raise UsageError(
            f"what was typed is not text in UTF-8: {prompt.strip(' :')}", hint="nothing was changed"
        ) from None


def check_input() -> None:
    """Refuse to read standard input that is closed.

    Raises:
        UsageError: Standard input is closed.
    """
    if _is_closed(sys.stdin):
        raise UsageError(
            "standard input is closed: there is nothing to read", hint="nothing was done"
        )


def read_input(limit: int, *, line: bool = False) -> bytes:
    """All of standard input, but at most `limit` + 1 bytes.

    Args:
        limit: The most bytes that the caller accepts.
        line: Whether to read only the first line at a terminal.

    Raises:
        UsageError: Standard input is closed.
        OSError: Standard input cannot be read.
    """
    check_input()
    handle = _handle(sys.stdin)
    if handle is None:
        return sys.stdin.buffer.read(limit + 1)
    ends = line and can_ask()
    parts, left = bytearray(), limit + 1
    while left and (part := _read_some(handle, left)):
        parts += part
        left -= len(part)
        if ends and part.endswith(b"\n"):
            break
    return bytes(parts)


# ---- inside ----------------------------------------------------------------------------------------


def _is_closed(stream: TextIO | None) -> bool:
    return stream is None or stream.closed


def _handle(stream: TextIO | None) -> int | None:
    """The descriptor of a stream; None for a closed one and for one in memory, as tests have."""
    if stream is None:
        return None
    try:
        return stream.fileno()
    except (io.UnsupportedOperation, ValueError):
        return None


def _is_terminal(stream: TextIO | None) -> bool:
    return not _is_closed(stream) and stream is not None and stream.isatty()


def _encoding(stream: TextIO | None) -> str:
    return getattr(stream, "encoding", None) or "utf-8"


def _can_say(stream: TextIO | None, text: str) -> bool:
    try:
        text.encode(_encoding(stream))
    except UnicodeEncodeError:
        return False
    return True


def _shown(text: str) -> str:
    return _STEERING.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code >= _BYTE_OF_A_NAME:
        code -= _BYTE_OF_A_NAME
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}"


def _unwritable(error: OSError, state: str) -> StorageError:
    return disk.problem("standard output cannot be written", error, _SEND_IT, always=state)


def _lost_its_reader(handle: int) -> bool:
    if not stat.S_ISFIFO(os.fstat(handle).st_mode):
        return False
    poll = select.poll()
    poll.register(handle, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _write_result(text: str) -> None:
    if _is_closed(sys.stdout):
        raise StorageError("standard output is closed", hint=_WORK_STAYS)
    try:
        _write(sys.stdout, text)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise _unwritable(error, _WORK_STAYS) from error


def _write_message(text: str) -> None:
    if not _is_closed(sys.stderr):
        with suppress(OSError, ValueError):
            _write(sys.stderr, text)


def _write(stream: Any, text: str) -> None:
    data = text.encode(_encoding(stream), "backslashreplace")
    handle = _handle(stream)
    if handle is None:
        stream.write(data.decode(_encoding(stream)))
        stream.flush()
        return
    stream.flush()  # writes out the bytes that a library has put into the buffer before
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(handle, view) :]
        except BlockingIOError:
            _await(handle, select.POLLOUT)


def _read_some(handle: int, most: int) -> bytes:
    while True:
        try:
            return os.read(handle, most)
        except BlockingIOError:
            _await(handle, select.POLLIN)


def _await(handle: int, event: int) -> None:
    """Until a pipe that does not block has room, or something in it."""
    poll = select.poll()
    poll.register(handle, event)
    poll.poll()
    if event == select.POLLOUT and _lost_its_reader(handle):
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
