"""Reports a missing library with the extra that installs it, for libraries that only some installations need."""

from types import TracebackType

from strongroom.errors import StrongroomError


class needed:  # noqa: N801 reads as a word of `with`
    """A `with` block around the import of an extra's library; if the library is missing, the error names the extra.

    Args:
        sentence: The message: which library is missing, and who needs it.
        extra: The extra of the distribution.
        error: The class of error to raise.
    """

    def __init__(self, sentence: str, extra: str, error: type[StrongroomError]) -> None:
        self._refusal = error(sentence, hint=f"pip install 'strongroom[{extra}]'")

    def __enter__(self) -> None:
        """Begin the block."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Raise the error of ours in the place of an `ImportError`."""
        if isinstance(error, ImportError):
            raise self._refusal from error
