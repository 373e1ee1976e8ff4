"""Certificates between nodes: their duty, removal, an end of all of them, and a renewal without services (issue 11 C)."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from strongroom.clock import FixedClock, SystemClock, format_utc
from strongroom.coordination.base import Change
from strongroom.crypto import node_certificates
from strongroom.doors.control import remote_tls
from strongroom.doors.control.remote_client import Called
from strongroom.errors import PermissionDeniedError
from strongroom.joining import node_keys, own_certificate, own_keys, shown_certificates
from strongroom.node import certificates, joining, opening
from strongroom.node.opening import Node
from strongroom.services.keys.peers import PREFIX
from strongroom.services.nodes.certificates import Lives
from strongroom.system import hosts
from tests.conftest import Torture
from tests.contract.cluster.commands import Run, joined
from tests.support import web_client
from tests.support.control_service import Controlled, controlled


def now() -> datetime:
    """The present, asked at each test: the module may have been read long before, and commands have the real clock."""
    return SystemClock().now()


def called(one: Controlled, other: str) -> Called:
    """Another node, as a node calls it."""
    links = certificates.links(one.node)
    shown = certificates.service(one.node).shown()[other]
    return Called(
        other,
        hosts.endpoint(shown.address),
        remote_tls.client_context(links.material()),
        lambda certificate: links.check(other, certificate),
    )


def node_said(one: Controlled, other: str) -> object:
    found = called(one, other).ask({"verb": "hello", "arguments": {}})["result"]
    assert isinstance(found, dict)
    return found["node"]


@contextmanager
def at(home: Path, moment: datetime) -> Iterator[Node]:
    """A node whose clock stands."""
    node = Node(opening.enter(str(home)), FixedClock(moment))
    yield node
    node.close()


def followed(home: Path, moment: datetime) -> None:
    with at(home, moment) as node:
        certificates.service(node).follow("os:tests")


def test_nodes_call_each_other_and_a_removed_one_is_refused_at_once(
    cluster_home: Path, run: Run, second_home: Path
) -> None:
    """Row 39: by the registry as it is at the call, not by the certificate, which is good for months."""
    with controlled(cluster_home) as one, controlled(second_home) as two:
        for each in (one, two):
            certificates.service(each.node).follow("os:tests", each.endpoint.text)
        assert (node_said(one, "node2"), node_said(two, "node1")) == ("node2", "node1")
        said = run("strongroom", cluster_home, "cluster", "check")
        assert said.code == 0, said.err
        assert f"OK     node2 {two.endpoint.text}, control service: TLS 1.3" in said.out
        said = run("strongroom", cluster_home, "cluster", "list-certificates")
        assert said.out.count("Authority: ") == 1
        shown = own_certificate.find(two.node.paths)
        assert shown is not None
        assert shown.present is not None
        assert f"node2: valid until {format_utc(shown.present.described.ends)}" in said.out
        links, right = certificates.links(one.node), called(one, "node2")
        wrong = Called("node1", right.endpoint, right.context, lambda c: links.check("node1", c))
        with pytest.raises(PermissionDeniedError, match="the certificate is that of node2, not of"):
            wrong.ask({})
        with pytest.raises(
            PermissionDeniedError, match=r"node1 asks for .kms\.rotate., which is change"
        ):
            called(one, "node2").ask({"verb": "kms.rotate", "arguments": {}})
        before = called(two, "node1")
        name = PREFIX + "node2"
        removed = one.node.peers.all()["node2"].removed("2026-11-30T12:00:00Z")
        version = one.node.coordinator.version(name)
        one.node.coordinator.put({name: Change(removed.serialize(), version)})
        with pytest.raises(PermissionDeniedError, match="node2 is removed since 2026-11-30"):
            before.ask({"verb": "hello", "arguments": {}})
        with pytest.raises(KeyError):
            called(one, "node2")


def test_a_certificate_that_its_node_did_not_name_is_refused(cluster_home: Path) -> None:
    """Design (f) 2: whoever has the key of the authority makes any certificate, and no signature of the node."""
    with controlled(cluster_home) as one:
        own = own_certificate.find(one.node.paths)
        known = certificates.service(one.node).find_authorities()
        assert own is not None
        assert known is not None
        key = node_certificates.new_key()
        forged = node_certificates.Issuing(known.present, now()).certify(
            node_certificates.request(key, own.name), own.name
        )
        with pytest.raises(PermissionDeniedError, match="node1 did not name the certificate"):
            certificates.links(one.node).caller(forged)
        assert own.present is not None
        assert certificates.links(one.node).caller(own.present.certificate) == "node1"


def test_everything_has_expired_and_the_node_renews_all_by_itself(cluster_home: Path) -> None:
    """k3s #2550, charmed-kubernetes #723: no certificate is needed to make another one."""
    followed(cluster_home, now() - timedelta(days=6 * 365))
    with at(cluster_home, now()) as node:
        old = certificates.service(node).find_authorities()
        assert old is not None
        assert not node_certificates.describe(old.present.certificate).holds(now())
        assert certificates.service(node).follow("os:tests")
        own = own_certificate.find(node.paths)
        known = certificates.service(node).find_authorities()
        assert own is not None
        assert own.present is not None
        assert known is not None
        assert own.present.described.holds(now())
        assert known.has_issued((own.present.certificate,))
        assert old.present.certificate in known.former
        assert (
            certificates.service(node).shown()["node1"].certificates[0] == own.present.certificate
        )


def test_a_node_with_new_keys_shows_its_certificate_by_them(cluster_home: Path) -> None:
    """After a recovery, the entry of its former keys is nobody's word, and keeps the node from no renewal."""
    moment = now()
    followed(cluster_home, moment)
    with at(cluster_home, moment) as node:
        installation = node.configuration.document().installation_id
        log = own_keys.read(node.paths).log
        own_keys.write(node.paths, node_keys.make(installation, "node1").with_log(log))
        joining.service(node).take_place("os:tests")
        assert certificates.service(node).follow("os:tests")
        own = own_certificate.find(node.paths)
        assert own is not None
        assert certificates.service(node).shown()["node1"].certificates == own.certificates


def test_offline_all_is_renewed_on_one_node_and_taken_over_at_its_next_start(
    cluster_home: Path, run: Run, services: object
) -> None:
    """Row 11: with nothing but its files; the authority that it made is then that of all."""
    followed(cluster_home, now() - timedelta(days=6 * 365))
    file = cluster_home / "tabsvc/addresses.json"
    there = file.read_bytes()
    file.write_bytes(there.replace(b"localhost", b"nowhere.invalid"))
    said = run("strongroom", cluster_home, "cluster", "renew", "--offline")
    assert said.code == 0, said.err
    assert "new authority: " in said.err
    assert "new certificate of node1, valid until" in said.err
    file.write_bytes(there)
    with at(cluster_home, now()) as node:
        made = own_certificate.find(node.paths)
        assert made is not None
        certificates.service(node).follow("os:tests")
        known = certificates.service(node).find_authorities()
        own = own_certificate.find(node.paths)
        assert known is not None
        assert own is not None
        assert known.present.certificate == made.authorities[0]
        assert own.present is not None
        assert made.present is not None
        assert own.present.certificate == made.present.certificate
        entry = node.coordinator.get(shown_certificates.PREFIX + "node1")
        assert entry is not None
        assert certificates.service(node).shown()["node1"].certificates == (
            made.present.certificate,
        )


def test_two_authorities_overlap_until_no_node_needs_the_first(
    cluster_home: Path, run: Run
) -> None:
    """Renewed by hand: nobody is refused in between, and the one before goes by itself."""
    before = now()
    followed(cluster_home, before)
    said = run("strongroom", cluster_home, "cluster", "renew", "--authority")
    assert said.code == 0, said.err
    with at(cluster_home, before) as node:
        service = certificates.service(node)
        service.follow("os:tests")
        both, own = service.find_authorities(), own_certificate.find(node.paths)
        assert both is not None
        assert own is not None
        assert own.present is not None
        assert own.authorities == both.certificates
        assert len(both.certificates) == 2
        # too young: another node may not have heard of it
        assert not both.has_issued((own.present.certificate,))
    for _ in range(2):
        followed(cluster_home, now() + timedelta(minutes=10))
    with at(cluster_home, now() + timedelta(minutes=10)) as node:
        assert not certificates.service(node).follow("os:tests")
        known = certificates.service(node).find_authorities()
        assert known is not None
        assert known.certificates == both.certificates[:1]
    said = run("strongroom", cluster_home, "cluster", "renew")
    assert said.code == 0, said.err


class Caller:
    """A node that calls another one without a pause."""

    def __init__(self, own: Controlled, other: str) -> None:
        self._own, self._other = own, other
        self.called = 0
        self.seen: set[bytes] = set()
        self.failed: list[str] = []

    def call(self, ended: threading.Event) -> None:
        while not ended.is_set():
            try:
                assert node_said(self._own, self._other) == self._other
            except Exception as error:  # noqa: BLE001 whatever a caller would have seen
                self.failed.append(repr(error))
            self.called += 1
            own = own_certificate.find(self._own.node.paths)
            assert own is not None
            self.seen.update(own.certificates)


@pytest.mark.cluster
def test_certificates_of_short_life_are_renewed_under_load(
    cluster_home: Path,
    run: Run,
    tmp_path: Path,
    torture: Torture,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
) -> None:
    """E21: certificates of two minutes, for three lives; in a sample of 40 seconds, for two. No call fails."""
    second, life_s = tmp_path / "two", 120 if torture.whole else 40
    with web_client.serve(cluster_home) as served:
        joined(served, run, second)
    ended = threading.Event()
    # the node's own duty renews them
    monkeypatch.setattr(certificates, "Lives", lambda: Lives(node=timedelta(seconds=life_s)))
    monkeypatch.setattr(certificates, "EVERY_S", 1.0)
    with controlled(cluster_home) as one, controlled(second) as two:
        for each in (one, two):
            certificates.service(each.node).follow("os:tests", each.endpoint.text, renew=True)
        callers = [Caller(one, "node2"), Caller(two, "node1")]
        threads = [threading.Thread(target=each.call, args=(ended,)) for each in callers]
        for thread in threads:
            thread.start()
        time.sleep(3 * life_s if torture.whole else 2 * life_s)
        ended.set()
        for thread in threads:
            thread.join(60)
    count, kinds = sum(each.called for each in callers), [len(each.seen) for each in callers]
    record_property("torture", f"E21: {count} calls, {kinds} certificates of {life_s} s")
    assert [each.failed for each in callers] == [[], []]
    assert min(kinds) >= 3
    assert count > 20
