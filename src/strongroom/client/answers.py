"""Translates a node's refusal over HTTP to the package's exceptions (format/data-keys.md 2)."""

from strongroom.errors import (
    AuthenticationError,
    ConflictError,
    FormatError,
    IntegrityError,
    KeyServiceError,
    PermissionDeniedError,
    StrongroomError,
    UsageError,
)

_SEALED = "4230"
_MOST = 500  # characters of a server's sentence

_BY_STATUS: dict[int, type[StrongroomError]] = {
    400: UsageError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    409: ConflictError,
    422: IntegrityError,
}
_BY_CODE: dict[str, type[StrongroomError]] = {"400011": FormatError}


def problem(url: str, status: int, message: dict[str, object] | None) -> StrongroomError:
    """The exception for an answer that reports a failure.

    Args:
        url: The URL of the server that answered.
        status: The HTTP status.
        message: The JSON object in the answer; None if the answer holds no JSON object.
    """
    error = (message or {}).get("error")
    fields = error if isinstance(error, dict) else {}
    code, detail = str(fields.get("code", "")), str(fields.get("detail", ""))[:_MOST]
    if not code:
        return KeyServiceError(f"{url} answers {status}: no node answers there")
    if status == 404:
        return KeyServiceError(f"{url} gives no data keys: it is a node of an older version")
    if status == 429:
        return KeyServiceError(f"{url} is busy: {detail}", hint="ask again in some seconds")
    if code.startswith(_SEALED):
        return _by_exit_code(code.removeprefix(_SEALED))(detail)
    return _BY_CODE.get(code, _BY_STATUS.get(status, KeyServiceError))(detail)


def _by_exit_code(text: str) -> type[StrongroomError]:
    """The class of our errors that has this exit code."""
    waiting: list[type[StrongroomError]] = [StrongroomError]
    while waiting:
        kind = waiting.pop()
        if str(kind.exit_code) == text:
            return kind
        waiting += kind.__subclasses__()
    return KeyServiceError
