"""`override` for Python 3.11, which lacks it: type checkers see the real one, nothing happens at run time."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import override
else:

    def override(method):  # noqa: ANN001, ANN201 the type checker never sees this one
        """Mark a method that overrides one of a base class."""
        return method


__all__ = ["override"]
