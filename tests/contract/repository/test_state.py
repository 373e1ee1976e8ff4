"""Whether anything was committed since, as both databases say it (ADR 51, service-keys.md 4.5)."""

from contextlib import closing

import pytest
from sqlalchemy.exc import OperationalError

from strongroom.errors import StorageError, UsageError
from strongroom.repository.unit_of_work import Repository
from strongroom.repository.watching import Watch


def set_mark(repository: Repository, value: str) -> None:
    repository.replace_mark("a", value, lambda _: True)


def test_the_state_is_another_one_after_every_commit_and_no_other_time(
    repository: Repository, url: str
) -> None:
    """A commit of this process, and of another connection; not a look, and not what was rolled back on SQLite."""
    with closing(Repository(url)) as other:
        for writer in (repository, other):
            before = (repository.state(), other.state())
            assert (repository.state(), other.state()) == before
            with writer.reading() as tx:
                assert tx.sites.get("site").id == "site"
            assert (repository.state(), other.state()) == before
            set_mark(writer, "1")
            set_mark(writer, "2")
            after = (repository.state(), other.state())
            assert after[0] != before[0]
            assert after[1] != before[1]


def test_what_is_read_after_an_equal_state_is_what_was_read_before(
    repository: Repository, url: str
) -> None:
    """A writer that has not committed changes nothing that a reader sees, and its commit changes the state."""
    with closing(Repository(url)) as other:
        with other.transaction() as tx:
            tx.service_policies.delete("none")
            during = repository.state()
            assert during == repository.state()
            from strongroom.repository.service_rows import ServicePolicyRow

            tx.service_policies.insert(ServicePolicyRow("p", "", "2026-11-30T00:00:00Z"))
            held = repository.state()
            with repository.reading() as reader:
                assert reader.service_policies.find("p") is None
        assert repository.state() != held
        with repository.reading() as reader:
            assert reader.service_policies.find("p") is not None


class Broken:
    """A connection that answers some times, and then no more."""

    def __init__(self, answers: int) -> None:
        self.answers, self.is_closed = answers, False

    def ask(self) -> int:
        if not self.answers:
            raise OperationalError("", None, Exception("gone"))
        self.answers -= 1
        return 7

    def close(self) -> None:
        self.is_closed = True
        raise OperationalError("", None, Exception("gone"))


def test_a_connection_that_broke_is_replaced_and_nothing_before_counts() -> None:
    made = [Broken(2), Broken(1), Broken(0)]
    waiting = list(made)
    watch = Watch(lambda: waiting.pop(0))
    assert watch.state() == watch.state()
    first = watch.state()
    assert first != (1, 7)
    assert made[0].is_closed
    with pytest.raises(OperationalError):
        watch.state()
    assert made[1].is_closed
    assert made[2].is_closed
    watch.close()


def test_a_database_that_is_gone_is_told_as_such(repository: Repository) -> None:
    before = repository.state()
    repository.close()
    assert repository.state() != before

    def gone() -> Broken:
        return Broken(0)

    repository._watch.close()
    repository._watch = Watch(gone)
    with pytest.raises((StorageError, UsageError)):
        repository.state()
