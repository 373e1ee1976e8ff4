"""New passwords: from a file, from standard input, or asked for twice at a terminal."""

from strongroom.cli.named_files import small_files
from strongroom.cli.terminal import streams
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import UsageError

_LONGEST_PASSWORD = 1024


def read_password(
    file: str | None, prompt: str, *, option: str = "--admin-password-file"
) -> SecretBytes:
    """A new password from a file, from stdin (`-`) or asked for twice; one line break is cut off.

    Raises:
        UsageError: The password is empty or too long, or the command has no terminal to ask at.
        StorageError: The file cannot be read.
    """
    if file is not None:
        return SecretBytes(small_files.read_value(file, "the password", limit=_LONGEST_PASSWORD))
    if not streams.can_ask():
        raise UsageError("a password is needed", hint=f"give it with {option}")
    typed = streams.ask_hidden(f"{prompt}: ").encode()
    if not 0 < len(typed) <= _LONGEST_PASSWORD:
        raise UsageError(f"a password has 1 to {_LONGEST_PASSWORD} bytes")
    if streams.ask_hidden("once more: ").encode() != typed:
        raise UsageError("the two passwords differ")
    return SecretBytes(typed)
