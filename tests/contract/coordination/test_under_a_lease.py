"""The part of the Coordinator's contract that a controller needs: threads under one lease, and who holds a lock."""

from collections.abc import Callable
from pathlib import Path

import pytest

from strongroom.coordination.base import Change, Versioned
from strongroom.errors import ConflictError, UsageError
from tests.contract import test_coordinator
from tests.contract.test_coordinator import TAKERS, Opener, in_thread

opener = test_coordinator.opener


def test_services_that_know_of_no_lease_work_under_one(opener: Opener, tmp_path: Path) -> None:
    """b4, ADR 48: the duties of a controller, in threads of their own."""
    holder, other = opener(tmp_path), opener(tmp_path)

    def work(value: bytes, expected: int) -> Callable[[], None]:
        def put() -> None:
            with holder.under(lease):
                holder.put({"config": Change(value, expected)})

        return put

    with holder.lock("controller", wait_s=0) as lease:
        assert in_thread(work(b"held", 0)) is None
        assert holder.is_in_force(lease)
        TAKERS[opener](tmp_path, "controller")
        with other.lock("controller", wait_s=0):
            assert not holder.is_in_force(lease)
            assert isinstance(in_thread(work(b"late", 1)), ConflictError)
            # behind the block, a thread works for itself
            assert in_thread(lambda: holder.put({"another": Change(b"x", 0)})) is None
    assert not holder.is_in_force(lease)
    with pytest.raises(ConflictError, match="'controller' is no longer held"), holder.under(lease):
        holder.put({"config": Change(b"later", 1)})
    assert holder.get("config") == Versioned(b"held", 1)


def test_the_node_that_holds_a_lock_is_named(opener: Opener, tmp_path: Path) -> None:
    holder, other = opener(tmp_path), opener(tmp_path)
    assert other.holder("controller") == ""
    with holder.lock("controller", wait_s=0):
        assert other.holder("controller") == holder.holder("controller") == "node1"
    assert other.holder("controller") == ""
    with pytest.raises(UsageError):
        other.holder("../controller")
