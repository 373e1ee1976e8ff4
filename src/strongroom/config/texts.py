"""Values as text and as bytes; pure."""

from strongroom.errors import FormatError, UsageError


def check_text(key: str, value: str) -> None:
    """Refuse what has no form in UTF-8, such as half of a surrogate pair.

    Raises:
        UsageError: The value of this key is none.
    """
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise UsageError(
            f"the value of {key!r} is not text in UTF-8", hint="give certificates and keys as PEM"
        ) from error


def as_text(key: str, value: bytes) -> str:
    """A stored value as it is shown.

    Raises:
        FormatError: It is not text.
    """
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise FormatError(f"the value of {key!r} is not text") from error
