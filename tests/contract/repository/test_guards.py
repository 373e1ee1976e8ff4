"""What the repository itself refuses to a process that was cut off, and what it keeps for each node (b1, b7, b11)."""

from contextlib import closing

import pytest

from strongroom.errors import CoordinationError, StateError
from strongroom.repository.gateways.guards import MekState
from strongroom.repository.reach import ROWS
from strongroom.repository.unit_of_work import Repository, Shared


def test_a_lock_that_was_lost_lets_nobody_write(repository: Repository) -> None:
    """Matrix 6: the holder sleeps, another one takes over, the holder wakes."""
    with repository.transaction(ROWS) as tx:
        tx.fence.pass_under("kms", 4)
        tx.fence.pass_under("kms", 4)
        tx.marks.set("by", "first")
    with repository.transaction(ROWS) as tx:
        tx.fence.pass_under("kms", 5)
        tx.marks.set("by", "second")

    def wake() -> None:
        with repository.transaction(ROWS) as tx:
            tx.marks.set("by", "first again")
            tx.fence.pass_under("kms", 4)

    with pytest.raises(CoordinationError, match="'kms' was lost"):
        wake()
    with repository.transaction(ROWS) as tx:
        assert tx.marks.find("by") == "second"
        tx.fence.pass_under("another", 1)


def test_a_thread_that_works_under_a_lock_writes_nothing_after_its_loss(
    repository: Repository,
) -> None:
    """Matrix 6, ADR 48: the transactions of services that know of no lock, for a controller that was paused."""

    def write(by: str) -> None:
        with repository.transaction(ROWS) as tx:
            tx.marks.set("by", by)

    with repository.fenced("controller", 4):
        write("first")
        with repository.fenced("another", 1), repository.fenced("controller", 5):
            write("second")
        with pytest.raises(CoordinationError, match="'controller' was lost"):
            write("first again")
        with repository.reading() as tx:
            assert tx.marks.find("by") == "second"
    write("somebody who has no part in it")


def test_whoever_holds_a_lock_of_the_cluster_writes_under_its_number(
    repository: Repository, url: str
) -> None:
    """E4, b4: services that take a lock of the coordination service and know of no fence; the lock is lost meanwhile."""
    held: dict[str, int] = {"kms": 7}
    shared = Shared(lambda: None, lambda: held)
    with closing(Repository(url, shared=shared)) as other:

        def write(by: str) -> None:
            with other.transaction(ROWS) as tx:
                tx.marks.set("by", by)

        write("first")
        held["kms"] = 8
        write("second")
        held["kms"] = 7
        with pytest.raises(CoordinationError, match="'kms' was lost"):
            write("first again")
        # a place that counts anew: as after `anchor accept`, or a move into a cluster
        with repository.transaction(ROWS) as tx:
            tx.fence.begin_anew()
        write("first again")
        held.clear()
        write("somebody without a lock")
    with repository.reading() as tx:
        assert tx.marks.find("by") == "somebody without a lock"


def test_nothing_is_written_under_a_key_that_is_being_retired(repository: Repository) -> None:
    with repository.transaction(ROWS) as tx:
        tx.meks.check_usable("m")  # nobody has said anything of it
        assert tx.meks.set_state("m", MekState.RETIRING, 7)
        with pytest.raises(StateError, match="being retired"):
            tx.meks.check_usable("m")
        tx.meks.check_usable("other")
    with repository.transaction(ROWS) as tx:
        assert tx.meks.set_state("m", MekState.USABLE, 7)  # something used it after all
        tx.meks.check_usable("m")
        assert not tx.meks.set_state("m", MekState.RETIRED, 6)  # of a process that was cut off
        assert tx.meks.set_state("m", MekState.RETIRED, 8)
        assert not tx.meks.set_state("m", MekState.USABLE, 9)
        assert tx.meks.state("m") is MekState.RETIRED


def test_each_node_keeps_its_own_proof(repository: Repository) -> None:
    with repository.transaction(ROWS) as tx:
        assert tx.nodes.find_proof("node1") is None
        tx.nodes.set_proof("node1", "one")
        tx.nodes.set_proof("node2", "two")
        tx.nodes.set_proof("node1", "newer")
    with repository.reading() as tx:
        assert (tx.nodes.find_proof("node1"), tx.nodes.find_proof("node2")) == ("newer", "two")


def test_a_log_that_ends_earlier_than_it_was_seen_is_noticed(repository: Repository) -> None:
    with repository.transaction(ROWS) as tx:
        assert tx.nodes.find_head("node1") is None
        assert tx.nodes.see_head("node1", 10, "a")
        assert tx.nodes.see_head("node1", 10, "a")
        assert not tx.nodes.see_head("node1", 10, "b")  # a fork
        assert not tx.nodes.see_head("node1", 9, "a")  # cut
        assert tx.nodes.see_head("node1", 11, "c")
        assert tx.nodes.find_head("node1") == (11, "c")


def test_a_restored_database_has_another_life(repository: Repository) -> None:
    with repository.transaction(ROWS) as tx:
        assert tx.nodes.incarnation() is None
        tx.nodes.set_incarnation("first")
        tx.nodes.set_incarnation("second")
        assert tx.nodes.incarnation() == "second"
