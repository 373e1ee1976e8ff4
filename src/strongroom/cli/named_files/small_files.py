r"""The one reader of small files that options name: passwords, tokens, PINs, identities, shares, certificates.

One rule, the same for a file, a pipe and standard input (`-`), read once to the end:

- a byte order mark of UTF-8 is left out; text in UTF-16 is refused by its name, and so is a zero byte;
- what is empty is refused, and what is longer than such a thing can be;
- where one value is expected (`read_value`), exactly one line break at the end (`\n` or `\r\n`) is not part of it, and
a
  second line is refused: which of the two is meant, is not guessed;
- where lines are expected (`read_lines`), they come as they are.

Neither a folder nor a device is read. Nothing of what was read is in a message.
"""

import codecs
import os
import stat
from pathlib import Path
from typing import NoReturn

from strongroom.cli.terminal import streams
from strongroom.errors import UsageError
from strongroom.system import disk

STDIN = "-"
LONGEST = 64 * 1024
"""Bytes, unless said otherwise: identity files, passphrases and shares are some hundred."""
_LONGEST_SETTING = 4 << 20
_CHUNK = 1 << 20
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_EMPTY_HINT = "look at what should have written it; nothing was changed"


def read_value(name: str, what: str, *, limit: int = LONGEST) -> bytes:
    """A value of one line, without the line break that an editor or echo puts behind it.

    Args:
        name: A path, or `-` for standard input.
        what: The name of the expected value, for messages: `the password`.
        limit: Most bytes that the value may have.

    Raises:
        UsageError: The value is empty, too long, several lines, or not text; or the path is a folder or a device.
        StorageError: The file cannot be read.
    """
    line_break = 2
    value = _text(read_bytes(name, what, limit=limit + line_break, line=True), name, what)
    value = value.removesuffix(b"\n").removesuffix(b"\r")
    if b"\n" in value or b"\r" in value:
        raise UsageError(
            f"there is more than one line in {shown(name)}: {what} is one line",
            hint="leave only that line in it, without blank ones; nothing was changed",
        )
    _check_bounds(value, name, what, limit)
    return value


def read_lines(name: str, what: str, *, limit: int = LONGEST) -> bytes:
    """A text of lines, as it is.

    Args:
        name: A path, or `-` for standard input.
        what: The name of the expected text, for messages: `the identity`.
        limit: The most bytes that the text may have.

    Raises:
        UsageError: The text is blank, too long, or not text; or the path is a folder or a device.
        StorageError: The file cannot be read.
    """
    text = _text(read_bytes(name, what, limit=limit), name, what)
    _check_bounds(text, name, what, limit)
    if not text.strip():
        _refuse_empty(name, what)
    return text


def read_setting(name: str, what: str, *, lines: bool) -> bytes:
    """The value of a setting: one line, or lines where the setting is a text such as a certificate.

    Raises:
        UsageError: As in `read_value` and `read_lines`; or the value is not text in UTF-8.
        StorageError: The file cannot be read.
    """
    read = read_lines if lines else read_value
    value = read(name, what, limit=_LONGEST_SETTING)
    try:
        value.decode()
    except UnicodeDecodeError:
        # from None: the cause would carry the value along
        raise UsageError(
            f"{shown(name)} is not text in UTF-8: {what} is text",
            hint="give certificates and keys as PEM; nothing was changed",
        ) from None
    return value


def read_bytes(name: str, what: str, *, limit: int, line: bool = False) -> bytes:
    """The bytes of a file, a pipe or standard input, read once to the end, but at most `limit` + 1 bytes.

    Args:
        name: A path, or `-` for standard input.
        what: The name of the expected content, for messages.
        limit: The most bytes that the caller accepts.
        line: Whether to read only the first line at a terminal.

    Raises:
        UsageError: The path is a folder or a device, or standard input is closed.
        StorageError: The input cannot be read.
    """
    try:
        if name == STDIN:
            return streams.read_input(limit, line=line)
        with Path(name).open("rb", buffering=0) as source:
            _check_kind(os.fstat(source.fileno()).st_mode, name, what)
            parts, left = bytearray(), limit + 1
            while left and (part := source.read(min(left, _CHUNK))):
                parts += part
                left -= len(part)
            return bytes(parts)
    except IsADirectoryError:
        raise _wrong_kind(name, what) from None
    except OSError as error:
        raise disk.problem(f"cannot read {what} from {shown(name)}", error) from error


def check_text_file(name: str, what: str) -> None:
    """Refuse a file that a library will read by itself, and would misread because of a byte order mark.

    Raises:
        UsageError: The file is blank, too long, or begins with a byte order mark.
        StorageError: The file cannot be read.
    """
    if read_bytes(name, what, limit=LONGEST).startswith(codecs.BOM_UTF8):
        raise UsageError(
            f"{name} begins with a byte order mark: {what} is not read rightly behind it",
            hint="save it as UTF-8 without one",
        )
    read_lines(name, what, limit=1 << 20)


def shown(name: str) -> str:
    """Where something is read from, in a message."""
    return "standard input" if name == STDIN else name


# ---- inside ----------------------------------------------------------------------------------------


def _text(data: bytes, name: str, what: str) -> bytes:
    if data.startswith(_UTF_16):
        raise UsageError(
            f"{shown(name)} is text in UTF-16: {what} is read as UTF-8",
            hint="save it as UTF-8; nothing was changed",
        )
    text = data.removeprefix(codecs.BOM_UTF8)
    if b"\0" in text:
        raise UsageError(
            f"there is a zero byte in {shown(name)}: {what} is text", hint="nothing was changed"
        )
    return text


def _check_bounds(text: bytes, name: str, what: str, limit: int) -> None:
    if not text:
        _refuse_empty(name, what)
    if len(text) > limit:
        raise UsageError(
            f"{shown(name)} has more than {limit} bytes: it is not {what}",
            hint="nothing was changed",
        )


def _refuse_empty(name: str, what: str) -> NoReturn:
    raise UsageError(f"{shown(name)} is empty: {what} is not in it", hint=_EMPTY_HINT)


def _check_kind(mode: int, name: str, what: str) -> None:
    if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
        raise _wrong_kind(name, what)


def _wrong_kind(name: str, what: str) -> UsageError:
    return UsageError(f"{name} is neither a file nor a pipe: {what} is not read from it")
