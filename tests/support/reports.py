"""Makes every report of a test fit to be sent by a worker of xdist to the process that started it.

Between the two go plain values only, and texts only that are UTF-8. Where a test failed with a name of odd bytes in its
message, its worker could not tell, and ended; with no worker left the run stopped, and had counted no failure.
"""

from collections.abc import Generator
from typing import Any

import pytest

_PLAIN = (bool, int, float, bytes, type(None))


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, Any, Any]:
    """Every report of a test or a module, as a worker sends it."""
    return sendable((yield))


def sendable(value: Any) -> Any:
    """Copy a value into plain types: texts with escapes for what UTF-8 has not, and the `repr` of other things."""
    if type(value) in _PLAIN:
        return value
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, dict):
        return {sendable(key): sendable(one) for key, one in value.items()}
    if isinstance(value, list):
        return [sendable(one) for one in value]
    if isinstance(value, tuple):
        return tuple(sendable(one) for one in value)
    return sendable(repr(value))
