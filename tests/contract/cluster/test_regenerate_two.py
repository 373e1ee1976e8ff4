"""New keys of the keystore reach every node before anything is sealed under them (docs/format/key-changes.md 4; matrix 30)."""

import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from strongroom.coordination.base import Change
from strongroom.coordination.floors import Point
from strongroom.errors import NodesError
from strongroom.ids import new_id
from strongroom.joining import acknowledgements, key_bundles, node_keys, own_keys, registry
from strongroom.joining.key_bundles import KeyBundle, Occasion
from strongroom.joining.node_keys import NodeKeys
from strongroom.joining.registry import NodeState, RegisteredNode
from strongroom.keystore.replicas import FILE_NAME
from strongroom.kms.cache import Asking
from strongroom.node.opening import Node
from strongroom.repository.rows import SiteMode
from strongroom.services.keys import words
from strongroom.services.keys.regeneration import JOURNAL, Journal
from strongroom.services.keys.spread_keys import SpreadKeys
from strongroom.services.keys.words import Words
from tests.conftest import Torture
from tests.contract.cluster.commands import Run, at_work, opened
from tests.contract.joining.commands import told
from tests.support import web_client
from tests.support.memory_consumer import KilledError

ACTOR = "os:tests"
KEYS = ("keys",)


def key_files(node: Node) -> tuple[frozenset[str], bytes]:
    """The master keys, and the document of records."""
    keystore = node.keystore.load()
    for folder in node.keystore.folders:
        assert node.keystore.open(folder / FILE_NAME, node.keystore.password()) == keystore
    return frozenset(keystore.aliases), node.present_keys().path.read_bytes()


def test_after_a_regeneration_both_nodes_have_the_new_keys_and_none_of_the_old(
    cluster_home: Path, run: Run, second_home: Path
) -> None:
    """A-22, a2-6: by bundles, of which nothing is left; both read what was there, and take more."""
    with web_client.serve(cluster_home) as served:
        client = served.site("Sales", SiteMode.ENFORCED)
        item = client.publish("before").find("datasource").attrib["id"]
        one = served.node
        with at_work(second_home) as two:
            old_key = one.configuration.document().configuration_key_id
            (old_alias,) = one.keystore.load().aliases
            assert two.kms_store.prove().problems == ()
            done = one.regenerate.run(ACTOR, lambda _: None, KEYS)
            assert key_files(one) == key_files(two)
            aliases, records = key_files(two)
            assert aliases == {done.alias}
            assert old_alias not in aliases
            assert old_key.encode() not in records
            assert two.outside is not None
            assert two.outside.key_ids() == {done.configuration_key_id}
            assert two.configuration.document().configuration_key_id == done.configuration_key_id
            assert two.kms_store.prove().problems == ()
            left = [*one.coordinator.list("keystore/"), *one.coordinator.list("kms/")]
            assert left == []
            assert [event["place"] for event in told(two, "KEY_MOVED")].count("node2") >= 1
            key = "gateway.https.port"
            two.configuration.set(key, "9443", actor=ACTOR)
            two.configuration.apply(actor=ACTOR)
            assert one.configuration.effective(key) == "9443"
            for node in (one, two):
                assert node.state_faults() == ()
                assert node.event_log_faults() == ()
        assert client.download(item).body == web_client.HYPER
    # and from nothing in memory
    with opened(second_home) as two:
        assert two.kms_store.prove().problems == ()
        assert two.state_faults() == ()
        assert two.event_log_faults() == ()
    with web_client.serve(second_home) as served:
        assert served.client("Sales").publish("after").status == 201


def test_a_regeneration_that_is_killed_anywhere_between_two_nodes_is_finished_by_the_next(
    cluster_home: Path,
    run: Run,
    second_home: Path,
    monkeypatch: pytest.MonkeyPatch,
    torture: Torture,
) -> None:
    """Matrix 29: before keys are given, when they are given and nobody has waited for the word, and when they were.

    A run kills at a third of the points, by its seed.
    """
    points, met = Counter[str](), set[str]()

    def die(point: str) -> None:
        if point in met:
            return
        met.add(point)
        if torture.whole or random.Random(f"{torture.seed} {point}").random() < 0.3:
            raise KilledError(point)

    def killed_once(kind: type, name: str) -> None:
        real = getattr(kind, name)

        def call(self: Any, *args: object, **more: object) -> object:
            # each attempt gives the keys before it goes on with a step
            journal = self._ports.coordinator.get(JOURNAL) if points[name] else None
            step = Journal.parse(journal.value).step if journal else "its beginning"
            die(f"before {name} at {step}")
            result = real(self, *args, **more)
            die(f"after {name} at {step}")
            points[name] += 1
            return result

        monkeypatch.setattr(kind, name, call)

    killed_once(SpreadKeys, "give")
    killed_once(Words, "wait")
    with at_work(second_home) as two:
        for _ in range(60):
            points.clear()
            try:
                with opened(cluster_home) as one:
                    one.regenerate.run(ACTOR, lambda _: None, KEYS)
                break
            except KilledError:
                two.kms_cache.opened(asking=Asking.ITSELF)
                two.configuration.effective("gateway.https.port")
        else:
            pytest.fail(f"it never ended: {sorted(met)}")
        assert len({point for point in met if "give" in point}) >= 8, sorted(met)
        with opened(cluster_home) as one:
            assert key_files(one) == key_files(two)
            assert len(one.keystore.load().aliases) == 1
            assert one.coordinator.list("keystore/") == {}
            for node in (one, two):
                assert node.state_faults() == ()
                assert node.event_log_faults() == ()


def test_a_node_that_does_not_take_the_keys_holds_the_run_up_before_anything_is_sealed_by_them(
    cluster_home: Path, run: Run, second_home: Path
) -> None:
    """Both serve on by the old ones; the same command goes on when the node is there."""
    with opened(cluster_home) as one:
        before = one.configuration.document().configuration_key_id
        with opened(second_home) as two, two.announced(), words.waiting(1):
            with pytest.raises(NodesError, match="node2: it did not answer within 1 s"):
                one.regenerate.run(ACTOR, lambda _: None, KEYS)
            for node in (one, two):
                assert node.configuration.document().configuration_key_id == before
                assert node.kms_store.prove().problems == ()
        with at_work(second_home) as two:
            done = one.regenerate.run(ACTOR, lambda _: None, KEYS)
            assert done.resumed
            assert two.configuration.document().configuration_key_id == done.configuration_key_id
            assert key_files(one) == key_files(two)


def test_keys_of_a_node_that_is_not_active_are_not_taken(
    cluster_home: Path, second_home: Path
) -> None:
    """(f) 4: nor older ones, nor what was given for another moment; the cause is told, and nothing is written."""
    with opened(cluster_home) as one, at_work(second_home) as two:
        own = own_keys.read(one.paths)
        present, node2 = one.present_keys().present, one.peers.all()["node2"]
        bundle = KeyBundle(
            one.keystore.primary.read_bytes(),
            one.keystore.password(),
            one.present_keys().path.read_bytes(),
        )
        generation, point, before = present.generation, one.kms_store.point(), key_files(two)

        def cause(occasion: Occasion, keys: NodeKeys) -> str:
            sealed = key_bundles.seal(bundle, occasion, ("node2", node2.keys), keys)
            name = key_bundles.entry("node2")
            put = Change(sealed.serialize(), one.coordinator.version(name))
            one.coordinator.put({name: put})
            word = acknowledgements.entry(occasion.change_id, "node2", acknowledgements.KEYS_PREFIX)
            end = time.monotonic() + 60
            while not one.coordinator.version(word) and time.monotonic() < end:
                time.sleep(0.05)
            entry = one.coordinator.get(word)
            assert entry is not None
            installation = own.installation_id
            public = node2.keys.signing
            return acknowledgements.parse(entry.value, installation, "node2", public).cause

        assert cause(Occasion(new_id(), generation, point), own) == ""
        later = Occasion(new_id(), generation, Point(point.number + 1, point.digest))
        assert "for another state" in cause(later, own)
        stranger = node_keys.make(own.installation_id, "node1")
        assert "signature" in cause(Occasion(new_id(), generation, point), stranger)
        unknown = node_keys.make(own.installation_id, "node7")
        assert "no active node" in cause(Occasion(new_id(), generation, point), unknown)
        now = "2026-11-30T00:00:00Z"
        out = RegisteredNode("node7", unknown.public, NodeState.LEFT_OUT, now)
        one.coordinator.put({registry.PREFIX + "node7": Change(out.serialize(), 0)})
        assert "no active node" in cause(Occasion(new_id(), generation, point), unknown)
        assert key_files(two) == before
