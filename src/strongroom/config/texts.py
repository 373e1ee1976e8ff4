"""Values as text and as bytes; pure."""

from strongroom.errors import FormatError, UsageError


def check_text(key: str, value: str) -> None:
    """Refuse a text that cannot be encoded in UTF-8, such as a lone surrogate.

    Raises:
        UsageError: The value of this key is such a text.
    """
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise UsageError(
            f"the value of {key!r} is not text in UTF-8", hint="give certificates and keys as PEM"
        ) from error


def as_text(key: str, value: bytes) -> str:
    """A stored value as text, to be shown.

    Raises:
        FormatError: The value is no text.
    """
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise FormatError(f"the value of {key!r} is not text") from error
