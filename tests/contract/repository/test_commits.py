"""A commit whose answer is lost is done or not done, and the caller is told which (matrix 14; b11)."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from strongroom.errors import OutcomeUnknown, StorageError
from strongroom.repository import postgres as postgres_module
from strongroom.repository.unit_of_work import Repository
from tests.support.databases import PostgresDatabases, SqliteDatabases
from tests.support.postgres_link import AtCommit, Link, linked
from tests.support.rows import content

DONE = (AtCommit.ANSWER_LOST, AtCommit.ANSWER_HELD)
NOT_DONE = (AtCommit.LOST, AtCommit.HELD)


@pytest.fixture
def link(
    postgres_databases: PostgresDatabases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Link]:
    server = postgres_databases.server
    real = server.sockets / f".s.PGSQL.{server.port}"
    with linked(real, tmp_path_factory.mktemp("l"), server.port) as found:
        yield found


@pytest.fixture
def direct(postgres_databases: PostgresDatabases) -> Iterator[Repository]:
    """The same repository, past the link."""
    repository = Repository(postgres_databases.with_rows())
    yield repository
    repository.close()


@pytest.fixture
def repository(
    direct: Repository, link: Link, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Repository]:
    monkeypatch.setattr(postgres_module, "COMMIT_S", 0.5)
    url = make_url(direct._url)
    repository = Repository(url.update_query_dict({"host": str(link.folder)}))
    with repository.reading() as tx:
        assert tx.sites.get("site").name == "Default"
    yield repository
    repository.close()


def publish(repository: Repository, key: str = "c1") -> None:
    with repository.transaction() as tx:
        tx.contents.insert(content(key))


def is_there(repository: Repository, key: str = "c1") -> bool:
    with repository.reading() as tx:
        return tx.contents.find(key) is not None


@pytest.mark.parametrize("how", DONE)
def test_what_was_done_is_told_as_done(
    repository: Repository, direct: Repository, link: Link, how: AtCommit
) -> None:
    link.at_commit = how
    publish(repository)
    assert link.commits >= 2  # the lost one, and that of the claim
    assert is_there(direct)


@pytest.mark.parametrize("how", NOT_DONE)
def test_what_was_not_done_is_told_so_and_never_comes(
    repository: Repository, direct: Repository, link: Link, how: AtCommit
) -> None:
    link.at_commit = how
    with pytest.raises(StorageError, match="nothing was changed"):
        publish(repository)
    assert not is_there(direct)
    publish(repository)
    assert is_there(direct)


def test_an_outcome_that_nobody_can_tell_is_an_outcome_of_its_own(
    repository: Repository, direct: Repository, link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_module, "RESOLVE_S", 0.5)
    link.at_commit = AtCommit.GONE
    with pytest.raises(OutcomeUnknown, match="not known") as caught:
        publish(repository)
    assert caught.value.exit_code == 42
    link.is_down = False
    assert not is_there(repository)


def test_a_late_commit_finds_its_mark_taken(repository: Repository, direct: Repository) -> None:
    """The claim is the end of it: whatever the network still holds comes too late."""
    database = direct._database
    assert isinstance(database, postgres_module.PostgresDatabase)
    with repository._engine.connect() as late:
        late.exec_driver_sql("INSERT INTO commits VALUES ('mine', true, 0)")
        found: list[bool] = []
        asking = threading.Thread(target=lambda: found.append(database._is_done("mine")))
        asking.start()
        asking.join(0.3)
        assert asking.is_alive()  # it waits for the transaction's end
        late.commit()
        asking.join(60)
    assert found == [True]
    assert not database._is_done("theirs")
    with repository._engine.connect() as late, pytest.raises(Exception, match="23505"):
        late.exec_driver_sql("INSERT INTO commits VALUES ('theirs', true, 0)")


def test_a_connection_that_broke_meanwhile_is_made_anew(repository: Repository, link: Link) -> None:
    """After a restart of the server every pooled connection is dead, and no caller notices."""
    link.cut()
    link.is_down = False
    publish(repository)
    link.cut()
    link.is_down = False
    assert is_there(repository)


def test_an_answer_that_does_not_come_ends_with_its_limit(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_module, "ANSWER_S", 0.5)
    with (
        pytest.raises(StorageError, match="cannot be reached"),
        repository.transaction() as tx,
    ):
        tx._connection.exec_driver_sql("SELECT pg_sleep(30)")
    monkeypatch.undo()
    publish(repository)


def test_marks_of_commits_go_after_an_hour(
    direct: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_module, "_COLLECT_EVERY", 2)
    with direct.transaction() as tx:
        tx._connection.exec_driver_sql("INSERT INTO commits VALUES ('old', true, 0)")
    publish(direct)
    with direct._begin(read_only=True) as connection:
        left = connection.exec_driver_sql("SELECT count(*), min(at) > 0 FROM commits").one()
    assert left[0] >= 2
    assert left[1]


def test_sqlite_has_no_marks(sqlite_template: Path, tmp_path: Path) -> None:
    """Its COMMIT answers in this process: the embedded repository pays nothing for it."""
    repository = Repository(SqliteDatabases(sqlite_template, tmp_path).with_rows())
    publish(repository)
    with repository._begin(read_only=True) as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM commits").scalar_one() == 0
    repository.close()
