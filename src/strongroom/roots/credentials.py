"""The check of credentials for roots: a credential that cannot be right is refused before a request (findings K5)."""

from strongroom.crypto.secret import SecretBytes
from strongroom.errors import UsageError

_LONGEST = 4096


def checked(secret: SecretBytes, what: str) -> SecretBytes:
    """A token, a secret id, a PIN or a password, as it was given.

    Args:
        secret: The value.
        what: The name of the credential in an error: `the token`.

    Raises:
        UsageError: The value is empty or too long, or holds a line break, a control character, or a letter outside
            ASCII.
    """
    text = secret.reveal()
    if not 0 < len(text) <= _LONGEST:
        raise UsageError(f"{what} has 1 to {_LONGEST} characters of ASCII", hint=_HINT)
    if b"\n" in text or b"\r" in text:
        raise UsageError(f"{what} holds a line break: it is one line", hint=_HINT)
    if not all(0x20 <= byte < 0x7F for byte in text):
        raise UsageError(
            f"{what} holds a character that is not printable ASCII: it is one line of ASCII",
            hint=_HINT,
        )
    if text.strip() != text:
        raise UsageError(f"{what} begins or ends with a blank, where none belongs", hint=_HINT)
    return secret


_HINT = "look at the file that it comes from; its value is not shown here"
