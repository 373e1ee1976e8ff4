"""One side of the node's socket that takes the other for a stranger's process: only root could start a real one."""

from types import ModuleType, SimpleNamespace

import pytest

from strongroom.system import wire

STRANGER = 4_000_000_000


def as_by_a_stranger(side: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a module that uses `wire` see a user id that nobody has; the other side, in this process too, sees the real one."""
    own = SimpleNamespace(**{**vars(wire), "peer_uid": lambda _: STRANGER})
    monkeypatch.setattr(side, "wire", own)
