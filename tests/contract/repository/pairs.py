"""Pairs of actions of two nodes on the same rows, and what must be true whichever comes first."""

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from strongroom.backgrounder.worker import Advice, Place, Worker
from strongroom.clock import SystemClock
from strongroom.errors import AuthenticationError, CoordinationError, StateError
from strongroom.jobs.model import JobKind
from strongroom.repository.gateways.guards import MekState
from strongroom.repository.reach import ROWS, of_account
from strongroom.repository.rows import IntentRow, SessionRow, UserRow
from strongroom.services.directory.sign_in import Identity
from strongroom.services.jobs.gone import GoneNodes
from strongroom.services.jobs.heartbeat import Brake, Heartbeat, Tally, WorkerStopping
from strongroom.services.jobs.one import ItemWork
from tests.contract.repository.two_nodes import HEAD, Machine, Nodes
from tests.support.interleaved import Ended
from tests.support.jobs_lab import NOW, OTHER, SITE

OLD = HEAD + b"old" + b"." * 32
Action = Callable[[], object]


@dataclass(frozen=True)
class Pair:
    """Two actions on fresh rows, and what must be true afterwards."""

    first: Action
    second: Action
    check: Callable[[Ended, Ended], None]


def publish_and_switch(nodes: Nodes) -> Pair:
    """A user replaces a file while a job encrypts it: the job's older file must not come after it."""
    publish, switch, check = _publication_and_job(nodes.one, nodes.two)
    return Pair(publish, switch, check)


def switch_and_publish(nodes: Nodes) -> Pair:
    publish, switch, check = _publication_and_job(nodes.two, nodes.one)
    return Pair(switch, publish, lambda switched, published: check(published, switched))


def _publication_and_job(
    publishing: Machine, working: Machine
) -> tuple[Action, Action, Callable[[Ended, Ended], None]]:
    content_id = publishing.publish(OLD, encrypted=False)
    name = publishing.row(content_id).name
    publication = publishing.begun(name, b"new", replaces=True)
    job = working.start(JobKind.ENCRYPT, content_id)

    def check(published: Ended, switched: Ended) -> None:
        assert published.done, published.refused
        assert switched.done, switched.refused
        assert publishing.read(content_id)[len(HEAD) :].startswith(b"new")

    return publication.finish, lambda: settle(working, job.id, content_id), check


def settle(machine: Machine, job_id: str, content_id: str) -> object:
    work = ItemWork(machine.ports, machine.jobs.show(job_id))
    brake = Brake(0, threading.Event())
    return work.settle(content_id, Heartbeat(machine.repository, job_id, brake, Tally(0, 1, 0)))


def one_name_twice(nodes: Nodes) -> Pair:
    """Two publications of one new name: one item, and the other publication is refused."""
    publications = [machine.begun("sales", replaces=True) for machine in (nodes.one, nodes.two)]

    def check(*ended: Ended) -> None:
        assert sorted(one.done for one in ended) == [False, True]
        assert len(nodes.one.rows()) == 1

    return Pair(finished(publications[0]), finished(publications[1]), check)


def finished(publication: object) -> Action:
    def finish() -> object:
        with publication as begun:  # type: ignore[attr-defined]
            return begun.finish()

    return finish


def one_address_twice(nodes: Nodes) -> Pair:
    """Two names that would have one content URL."""
    publications = [nodes.one.begun("a b"), nodes.two.begun("ab")]

    def check(*ended: Ended) -> None:
        assert all(one.done for one in ended), ended
        assert sorted(row.content_url for row in nodes.one.rows()) == ["ab", "ab_1"]

    return Pair(finished(publications[0]), finished(publications[1]), check)


def one_quota_twice(nodes: Nodes) -> Pair:
    with nodes.one.repository.transaction() as tx:
        tx.sites.update(SITE, storage_quota=1)
    half = b"x" * 600_000
    publications = [nodes.one.begun("a", half), nodes.two.begun("b", half)]

    def check(*ended: Ended) -> None:
        assert sorted(one.done for one in ended) == [False, True]
        assert len(nodes.one.rows()) == 1

    return Pair(finished(publications[0]), finished(publications[1]), check)


def two_parts(nodes: Nodes) -> Pair:
    """Each part of an upload has the number behind the one before, whichever node took it."""
    upload = nodes.one.uploads.start(nodes.one.identity())
    parts = [machine.part(upload) for machine in (nodes.one, nodes.two)]

    def check(*ended: Ended) -> None:
        assert all(one.done for one in ended), ended
        with nodes.one.repository.reading() as tx:
            assert [part.number for part in tx.uploads.parts(upload.id)] == [1, 2]
            assert tx.uploads.get(upload.id).bytes == 2 * len(b"a part")

    return Pair(finished(parts[0]), finished(parts[1]), check)


def a_part_and_the_end(nodes: Nodes) -> Pair:
    """An upload goes while a part of it comes: no file is left that nobody announced."""
    upload = nodes.one.uploads.start(nodes.one.identity())
    first, second = nodes.one.part(upload), nodes.one.part(upload)
    first.finish()

    def check(_part: Ended, removed: Ended) -> None:
        assert removed.done
        with nodes.one.repository.reading() as tx:
            assert tx.uploads.storage_keys() == set()

    return Pair(finished(second), lambda: nodes.two.uploads._remove(upload), check)


def one_job_twice(nodes: Nodes) -> Pair:
    """Two requests for one piece of work: one job."""

    def enqueue(machine: Machine) -> Action:
        return lambda: machine.jobs.enqueue(JobKind.ENCRYPT, SITE, "os:test").id

    def check(one: Ended, two: Ended) -> None:
        assert one.value == two.value
        assert len(nodes.one.jobs.list()) == 1

    nodes.one.publish(OLD, encrypted=False)
    return Pair(enqueue(nodes.one), enqueue(nodes.two), check)


def two_jobs_of_one_site(nodes: Nodes) -> Pair:
    """Jobs that must not run beside each other, taken by two nodes."""
    content_id = nodes.one.publish(OLD, encrypted=False)
    jobs = [
        nodes.one.jobs.enqueue(kind, SITE, "os:test", content_ids=[content_id])
        for kind in (JobKind.ENCRYPT, JobKind.DECRYPT)
    ]
    workers = [worker(machine) for machine in (nodes.one, nodes.two)]

    def check(*ended: Ended) -> None:
        assert sorted(bool(one.value) for one in ended) == [False, True]

    return Pair(
        lambda: workers[0]._claim(jobs[0], set()), lambda: workers[1]._claim(jobs[1], set()), check
    )


def worker(machine: Machine) -> Worker:
    place = Place(machine.folder / f"{machine.owner.node_id}.db", machine.owner.node_id)
    return Worker(machine.ports, place, threading.Event(), Advice(lambda: (1, 0)))


def a_job_that_was_taken_over(nodes: Nodes) -> Pair:
    """The first owner slept, and wakes: it changes nothing more (matrix 33)."""
    content_id = nodes.one.publish(OLD, encrypted=False)
    job = nodes.one.start(JobKind.ENCRYPT, content_id)

    def take_over() -> bool:
        with nodes.two.repository.transaction() as tx:
            return tx.jobs.give_back(job.id, nodes.one.owner) and tx.jobs.claim(job.id, NOW)

    def work() -> object:
        # it is told in one way or another that the job is not its own
        with suppress(Exception, WorkerStopping):
            settle(nodes.one, job.id, content_id)
        with nodes.one.repository.transaction(ROWS) as tx:
            tx.jobs.progress(job.id, done=1, total=1, bytes_done=1)
            return tx.jobs.finish(job.id, "succeeded", finished_at=NOW, ours=True)

    def check(finished_by_first: Ended, taken: Ended) -> None:
        assert taken.value is not finished_by_first.value
        row = nodes.one.jobs.show(job.id)
        if taken.value:
            assert (row.state, row.owner, row.owner_epoch) == ("running", nodes.two.owner, 3)
        assert nodes.one.read(content_id) == OLD

    return Pair(work, take_over, check)


def a_dead_process_that_lives(nodes: Nodes) -> Pair:
    """The node's next process adopts the job while the one before ends it: one of them ends it."""
    job = nodes.one.start(JobKind.ENCRYPT)
    later = replace(nodes.one.owner, boot_id="later")
    after = Machine(nodes.one.folder, url=nodes.one.url, owner=later)

    def finish(machine: Machine) -> bool:
        with machine.repository.transaction(ROWS) as tx:
            return tx.jobs.finish(job.id, "succeeded", finished_at=NOW, ours=True)

    def adopt() -> tuple[int, bool]:
        try:
            with after.repository.transaction(ROWS) as tx:
                adopted = tx.jobs.adopt()
            return adopted, finish(after)
        finally:
            after.repository.close()

    def check(first: Ended, second: Ended) -> None:
        assert second.value in {(0, False), (1, True)}
        assert first.value is (second.value == (0, False))

    return Pair(lambda: finish(nodes.one), adopt, check)


def two_starts(nodes: Nodes) -> Pair:
    """A node that starts removes what its own dead processes left, and nothing of the other node (a2-1)."""
    for machine in (nodes.one, nodes.two):
        with machine.repository.transaction(ROWS) as tx:
            tx.intents.insert(
                IntentRow(f"{machine.owner.node_id}/ab/x.sealed", "", "", "publish", NOW)
            )
    publication = nodes.two.begun("sales")

    def check(started: Ended, published: Ended) -> None:
        assert started.done
        assert published.done, published.refused
        with nodes.one.repository.reading() as tx:
            assert tx.intents.storage_keys() == {"node2/ab/x.sealed"}
        (row,) = nodes.one.rows()
        assert nodes.one.read(row.id).startswith(HEAD)

    return Pair(nodes.one.stored.recover, finished(publication), check)


def a_publication_of_one_that_counts_as_gone(nodes: Nodes) -> Pair:
    """It was paused or cut off, and its unfinished files are removed: no row names a file that went (b11, matrix 33)."""
    publication = nodes.one.begun("sales")

    def check(published: Ended, removed: Ended) -> None:
        assert removed.done, removed.refused
        assert published.done is (len(nodes.one.rows()) == 1)
        assert published.done or isinstance(published.refused, StateError)

    return Pair(finished(publication), removing(nodes.two, of_jobs=False), check)


def a_switch_of_one_that_counts_as_gone(nodes: Nodes) -> Pair:
    """The same of a job that it took at the last moment: the extract is written anew, or stays as it was."""
    content_id = nodes.one.publish(OLD, encrypted=False)
    job = nodes.one.start(JobKind.ENCRYPT, content_id)

    def check(settled: Ended, removed: Ended) -> None:
        assert removed.done, removed.refused
        assert settled.done is bool(nodes.one.row(content_id).file_id)
        assert nodes.one.read(content_id) == OLD

    work = removing(nodes.two, of_jobs=True)
    return Pair(lambda: settle(nodes.one, job.id, content_id), work, check)


def removing(machine: Machine, *, of_jobs: bool) -> Action:
    gone = GoneNodes(machine.repository, machine.files, machine.jobs, SystemClock())
    return lambda: gone.remove_files("node1", of_jobs=of_jobs)


def a_site_that_goes(nodes: Nodes) -> Pair:
    """Whoever reaches everything excludes whoever reaches a site."""
    publication = nodes.one.begun("sales")

    def remove() -> None:
        with nodes.two.repository.transaction() as tx:
            keys = [row.storage_key for row in tx.contents.list_for_site(SITE)]
            tx.sites.delete(SITE)
            for key in keys:
                tx.intents.insert(IntentRow(key, "", "", "delete", NOW))

    return Pair(finished(publication), remove, lambda _, removed: _true(removed.done))


def _true(value: object) -> None:
    assert value


def two_failures(nodes: Nodes) -> Pair:
    """Each wrong password counts."""

    def fail(machine: Machine) -> Action:
        def failed() -> object:
            with machine.repository.reading() as tx:
                user = tx.users.get("user")
            now = machine.auth._clock.now()
            return type(machine.auth._password_failed("Admin", user, "", now))

        return failed

    def check(*ended: Ended) -> None:
        assert [one.value for one in ended] == [AuthenticationError] * 2
        with nodes.one.repository.reading() as tx:
            assert tx.users.get("user").failed_logins == 2

    return Pair(fail(nodes.one), fail(nodes.two), check)


def one_session_twice(nodes: Nodes) -> Pair:
    """A session that is changed for one on another site goes once."""
    identity = nodes.one.identity()
    with nodes.one.repository.transaction() as tx:
        token = nodes.one.auth._start(tx, identity, None, "password")

    def check(*ended: Ended) -> None:
        assert sorted(one.done for one in ended) == [False, True]
        with nodes.one.repository.reading() as tx:
            assert [one.site_id for one in tx.sessions.list(user_id="user")] == [OTHER]

    return Pair(
        lambda: nodes.one.auth.switch_site(token, "other"),
        lambda: nodes.two.auth.switch_site(token, "other"),
        check,
    )


def two_sign_ins(nodes: Nodes) -> Pair:
    """Each removes the sessions that ended over night: none waits for the other's in a circle."""
    with nodes.one.repository.transaction() as tx:
        for number in range(8):
            old = "2001-01-01T00:00:00Z"
            tx.sessions.insert(SessionRow(f"old{number}", "user", SITE, None, old, old))

        tx.users.insert(UserRow("second", "Second", "", None, True, NOW))

    def sign_in_on(machine: Machine, user_id: str) -> Action:
        def begin() -> object:
            with machine.repository.transaction(of_account(user_id)) as tx:
                identity = Identity(tx.users.get(user_id), tx.sites.get(SITE), "")
                return machine.auth._start(tx, identity, None, "password")

        return begin

    def check(*ended: Ended) -> None:
        assert all(one.done for one in ended), ended
        with nodes.one.repository.reading() as tx:
            assert sorted(one.user_id for one in tx.sessions.list()) == ["second", "user"]

    return Pair(sign_in_on(nodes.one, "user"), sign_in_on(nodes.two, "second"), check)


def a_mark_of_two(nodes: Nodes) -> Pair:
    def mark(machine: Machine) -> Action:
        def write() -> None:
            with machine.repository.transaction(ROWS) as tx:
                tx.marks.set("mark", machine.owner.node_id)

        return write

    def check(*ended: Ended) -> None:
        assert all(one.done for one in ended), ended

    return Pair(mark(nodes.one), mark(nodes.two), check)


def a_key_that_is_retired(nodes: Nodes) -> Pair:
    """Either the writer is refused, or whoever retires the key sees what was written under it (b7, matrix 31)."""

    def write() -> None:
        with nodes.one.repository.transaction(ROWS) as tx:
            tx.meks.check_usable("m")
            tx.intents.insert(IntentRow("files/x", "f", "m", "publish", NOW))

    def retire() -> list[str]:
        with nodes.two.repository.transaction(ROWS) as tx:
            tx.meks.set_state("m", MekState.RETIRING, 1)
        with nodes.two.repository.reading() as tx:
            return [one.mek_id for one in tx.intents.list()]

    def check(written: Ended, retired: Ended) -> None:
        assert written.done is (retired.value == ["m"])
        assert written.done or isinstance(written.refused, StateError)

    return Pair(write, retire, check)


def a_lock_that_was_lost(nodes: Nodes) -> Pair:
    """The later holder's change is the last one, whenever the earlier holder wakes (b4, matrix 6)."""

    def change(machine: Machine, epoch: int) -> Action:
        def work() -> None:
            with machine.repository.transaction(ROWS) as tx:
                tx.fence.pass_under("kms", epoch)
                tx.marks.set("by", str(epoch))

        return work

    def check(earlier: Ended, later: Ended) -> None:
        assert later.done
        assert earlier.done or isinstance(earlier.refused, CoordinationError)
        with nodes.one.repository.reading() as tx:
            assert tx.marks.find("by") == "5"

    return Pair(change(nodes.one, 4), change(nodes.two, 5), check)


PAIRS: tuple[Callable[[Nodes], Pair], ...] = (
    publish_and_switch,
    switch_and_publish,
    one_name_twice,
    one_address_twice,
    one_quota_twice,
    two_parts,
    a_part_and_the_end,
    one_job_twice,
    two_jobs_of_one_site,
    a_job_that_was_taken_over,
    a_dead_process_that_lives,
    two_starts,
    a_publication_of_one_that_counts_as_gone,
    a_switch_of_one_that_counts_as_gone,
    a_site_that_goes,
    two_failures,
    one_session_twice,
    two_sign_ins,
    a_mark_of_two,
    a_key_that_is_retired,
    a_lock_that_was_lost,
)
