"""The anchors of a node on ZooKeeper and PostgreSQL (docs/format/anchor.md): they arrive, go on, and tell what was put back."""

import base64
import shutil
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest

from strongroom.cli.node import start_up
from strongroom.cli.terminal.session import Session, SessionOptions
from strongroom.coordination import anchor
from strongroom.coordination.anchor import Anchor
from strongroom.coordination.base import Change, Versioned
from strongroom.coordination.zookeeper.coordinator import ZookeeperCoordinator
from strongroom.errors import IntegrityError
from strongroom.node import joining
from strongroom.node.opening import Node
from strongroom.repository import marks_alone
from tests.contract.cluster.commands import Run, joined
from tests.contract.cluster.test_enable import command, enable, opened
from tests.contract.test_put_back_whole import late
from tests.support import web_client
from tests.support.cluster_services import ClusterServices

ACTOR = "os:tests"
REDIS = "redis.password"
RUN = "6f9e0c52-6d0a-4f0c-9d83-3f8f7a3a2a11"
Said = pytest.CaptureFixture[str]


@pytest.fixture
def home(node_dir: Path, services: ClusterServices) -> Path:
    """The data directory of a node of a cluster, which had a row before: the first put of a node is made without one."""
    with opened(node_dir) as node:
        applied(node, "single")
    assert enable(node_dir, services) == 0
    return node_dir


def applied(node: Node, value: str) -> None:
    node.configuration.set(REDIS, value, actor=ACTOR)
    node.configuration.apply(actor=ACTOR)


def row(node: Node) -> str:
    return marks_alone.read(node.marks, (anchor.MARK,))[anchor.MARK]


def number(text: str) -> int:
    return anchor.number_of(base64.b64decode(text))


def entry(node: Node) -> Anchor:
    found = node.coordinator.get(anchor.ENTRY)
    assert found
    return anchor.parse(found.value)


def stored_rows(services: ClusterServices) -> dict[str, str]:
    """The marks as they lie in PostgreSQL, by a foreign client."""
    return dict(services.query("SELECT name, value FROM marks"))


def told(home: Path) -> str:
    with opened(home) as node:
        return "; ".join((*node.state_faults(), *node.event_log_faults()))


# ---- what is right ------------------------------------------------------------------------------


def test_both_anchors_arrive_and_the_next_put_goes_on_from_them(
    node: Node, node_dir: Path, services: ClusterServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    applied(node, "first")
    before, lies = row(node), node.entry_store.get(anchor.ENTRY)
    node.close()
    # their puts would write the next anchors
    monkeypatch.setattr(joining, "ensure_registered", lambda *_: False)
    monkeypatch.setattr(joining, "ensure_log_key", lambda *_: False)
    assert enable(node_dir, services) == 0
    with opened(node_dir) as moved:
        assert moved.entry_store.get(anchor.ENTRY) == lies
        assert stored_rows(services)[anchor.MARK] == before
        assert (*moved.state_faults(), *moved.event_log_faults()) == ()
        applied(moved, "second")
        assert stored_rows(services)[anchor.MARK] == row(moved)
        assert number(row(moved)) == entry(moved).number > number(before)
        moved.meks.rotate(ACTOR)
        moved.regenerate.run(ACTOR, lambda _: None, ["keys"])
        assert number(row(moved)) == entry(moved).number
        assert not moved.paths.repository.exists()
    assert told(node_dir) == ""
    assert command(node_dir, "anchor", "verify") == 0


def test_a_put_that_ends_before_its_row_leaves_what_is_right(
    home: Path, services: ClusterServices
) -> None:
    """anchor.md 3.2: a kill in between, and a row that PostgreSQL refuses, which is no error of the put."""
    with opened(home) as node:
        before = row(node)
        services.query(f"REVOKE INSERT, UPDATE ON marks FROM {services.database}")
        node.coordinator.put({"journal/one": Change(b"{}", 0)})
        node.coordinator.put({"journal/one": Change(None, 1)})
        assert row(node) == before
        assert entry(node).number == number(before) + 2
        assert entry(node).repository == number(before)
        assert node.state_faults() == ()
        services.query(f"GRANT INSERT, UPDATE ON marks TO {services.database}")
        node.coordinator.put({})
        assert number(row(node)) == entry(node).number
    assert told(home) == ""


def test_a_postgresql_that_does_not_answer_lacks_no_anchor(
    home: Path, services: ClusterServices
) -> None:
    """anchor.md 2.2: a setting is changed all the same, and the row that was known before stays known."""
    with opened(home) as node:
        node.coordinator.put({})
        before = entry(node)
    services.postgres.run(f"ALTER ROLE {services.database} NOLOGIN")
    try:
        with opened(home) as node:
            assert node.marks.find((anchor.MARK,)) is None
            node.coordinator.put({})
            assert entry(node).repository == before.repository > 0
            assert entry(node).number == before.number + 1
    finally:
        services.postgres.run(f"ALTER ROLE {services.database} LOGIN")
    assert told(home) == ""


@pytest.mark.parametrize("is_anew", [False, True])
def test_a_writer_that_comes_late_leaves_the_row_of_a_later_put(
    home: Path, *, is_anew: bool
) -> None:
    """Of two nodes one may be slow between its put and its row; also while an administrator accepts a state."""
    with opened(home) as one, opened(home) as other:
        made = late(one, is_anew=is_anew)
        other.coordinator.put({})
        later = row(other)
        one.anchoring.keep(made)
        assert row(one) == later
        assert number(later) == entry(one).number
        assert one.state_faults() == ()


def test_a_mark_is_set_only_in_the_place_of_what_was_decided_on(home: Path) -> None:
    """Whoever writes between decision and change is seen by the statement itself, and it is decided anew."""
    with opened(home) as one, opened(home) as other:
        for present, written, asked_of in ((None, "5", [None, "5"]), ("5", "7", ["5", "7"])):
            assert one.marks.find(("count",)) == ({} if present is None else {"count": present})
            asked: list[str | None] = []

            def is_wanted(
                text: str | None, asked: list[str | None] = asked, written: str = written
            ) -> bool:
                asked.append(text)
                if len(asked) == 1:
                    assert other.marks.replace("count", written, lambda _: True)
                return len(asked) == 1

            assert not one.marks.replace("count", "6", is_wanted)
            assert asked == asked_of
            assert one.marks.find(("count",)) == {"count": written}


# ---- what was put back --------------------------------------------------------------------------


def put_back(home: Path, services: ClusterServices, old: Mapping[str, Versioned]) -> None:
    """Put the entries back to what they were, MACs and versions included, as whoever may write to ZooKeeper can."""
    with opened(home) as node:
        assert node.outside is not None
        installation = node.claimed_installation()
        settings = node.outside.zookeeper_settings()
    with services.ensemble.judge() as client:
        client.delete(f"/strongroom/{installation}", recursive=True)
    with closing(ZookeeperCoordinator(settings)) as target:
        target.bring(RUN, old)
        target.end_arrival(RUN)


def test_older_entries_in_zookeeper_are_noticed_and_may_be_accepted(
    home: Path, services: ClusterServices, capsys: Said
) -> None:
    with opened(home) as node:
        applied(node, "first")
        old = dict(node.entry_store.list(""))
        applied(node, "second")
        with node.repository.fenced("controller", 500), node.repository.transaction():
            pass
        put_back(home, services, old)
        with pytest.raises(IntegrityError, match="the anchor is older than it was") as caught:
            node.coordinator.put({})
        assert caught.value.exit_code == 20
    assert "the anchor is older than it was (as the repository says)" in told(home)
    assert command(home, "anchor", "verify") == 20
    assert command(home, "anchor", "accept", "--reason", "the copy of Monday") == 0
    capsys.readouterr()
    with opened(home) as node:
        assert number(row(node)) == entry(node).number
        applied(node, "third")
        # a ZooKeeper that was put back counts the holders of its locks from where it was (matrix 10)
        with node.repository.fenced("controller", 1), node.repository.transaction():
            pass
    assert told(home) == ""


def test_an_older_copy_of_zookeeper_is_served_by_no_node_until_it_is_accepted(
    home: Path, services: ClusterServices, run: Run, tmp_path: Path
) -> None:
    """Row 10: each node refuses to serve and names what is behind; one whose log tells of more has to be told itself."""
    second = tmp_path / "two"
    with web_client.serve(home) as served:
        joined(served, run, second)
    with opened(home) as node:
        applied(node, "first")
        old = dict(node.entry_store.list(""))
        applied(node, "second")
    put_back(home, services, old)
    for each in (home, second):
        with Session(SessionOptions(str(each))) as session, pytest.raises(IntegrityError) as caught:
            start_up.bring_in_order(session)
        assert "is not served: the anchor is older than it was" in caught.value.message
        assert "strongroom anchor accept" in caught.value.hint
    accept = ("anchor", "accept", "--reason", "of Monday")
    assert run("strongroom", second, *accept).code == 0
    assert told(second) == ""
    # the first node made what is gone, and its own log tells so
    assert told(home) == "the configuration document is older than it was (as the event log says)"
    assert run("strongroom", home, *accept).code == 0
    for each in (home, second):
        assert told(each) == ""
        with Session(SessionOptions(str(each))) as session:
            start_up.bring_in_order(session)


def test_an_older_row_in_postgresql_is_noticed(home: Path, services: ClusterServices) -> None:
    with opened(home) as node:
        node.coordinator.put({})
        old = row(node)
        applied(node, "second")
        services.query(f"UPDATE marks SET value = '{old}' WHERE name = '{anchor.MARK}'")
        assert "the anchor in the repository is older than it was" in "; ".join(node.state_faults())
        with pytest.raises(IntegrityError, match="the anchor in the repository is older"):
            node.coordinator.put({})
        services.query(f"UPDATE marks SET value = 'Pz8/' WHERE name = '{anchor.MARK}'")
        assert "it is cut short" in "; ".join(node.state_faults())
        assert node.accept_state(ACTOR, "well")
        assert number(row(node)) == entry(node).number
    assert told(home) == ""


def test_an_empty_database_lacks_its_row(home: Path, services: ClusterServices) -> None:
    """Like a file of SQLite that is gone, and unlike a database that cannot be read, by this program or at all."""
    services.query("UPDATE schema_version SET revision = '9999'")
    with opened(home) as node:
        assert node.marks.find((anchor.MARK,)) is None
    services.query(
        f"DROP SCHEMA public CASCADE; CREATE SCHEMA public AUTHORIZATION {services.database}"
    )
    with opened(home) as node:
        assert node.marks.find((anchor.MARK,)) == {}
        assert "the anchor in the repository is missing" in "; ".join(node.state_faults())
        with pytest.raises(IntegrityError, match="the anchor in the repository is missing"):
            node.coordinator.put({})


def test_a_node_that_was_put_back_is_not_brought_into_a_cluster(
    node: Node, node_dir: Path, services: ClusterServices, tmp_path: Path, capsys: Said
) -> None:
    """The anchors would be copied with all else, and the cluster would begin with a refusal of every change."""
    applied(node, "first")
    node.close()
    copy = shutil.copytree(node_dir / "tabsvc" / "coordination", tmp_path / "copy")
    with opened(node_dir) as again:
        applied(again, "second")
    shutil.rmtree(node_dir / "tabsvc" / "coordination")
    shutil.copytree(copy, node_dir / "tabsvc" / "coordination")
    assert enable(node_dir, services) == 20
    assert "put back or changed: the anchor is older than it was" in capsys.readouterr().err
    assert not (node_dir / "tabsvc" / "addresses.json").exists()
    assert not (node_dir / "tabsvc" / "enabling.json").exists()
