"""A new machine has nothing but the file: whom to believe is in it, and its key for TLS is made on it (E11; issue 11 C)."""

import base64
import json
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from typing_extensions import override

from strongroom.cli.node import admission
from strongroom.crypto import node_certificates
from strongroom.errors import AuthenticationError, StateError
from strongroom.joining import admission_request, certificate_request, node_keys, own_certificate
from strongroom.joining.bearings import Addresses, Authorities, Bearings
from strongroom.joining.bootstrap_file import BootstrapFile
from strongroom.joining.node_keys import NodeKeys
from strongroom.joining.welcome import Welcome
from strongroom.node import certificates
from strongroom.node.outside import OutsideServices
from strongroom.repository import postgres_address
from strongroom.services.nodes import join
from strongroom.services.nodes.admit import BootstrapRequest, TopologyService
from tests.contract.cluster.commands import Run, nodes, opened
from tests.contract.joining.commands import told, url
from tests.support import tls, web_client
from tests.support.cluster_services import ClusterServices
from tests.support.web_client import Served

CREATED = "os:tests"


def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first node's machine has its files at paths that the new one has not."""
    welcome = OutsideServices.welcome

    def moved(self: OutsideServices) -> Welcome:
        found = welcome(self)
        nowhere = {"ca": "/nowhere/ca.pem", "certificate": "/nowhere/node1.pem"}
        postgres = {**found.repository, "sslrootcert": "/nowhere/ca.pem"}
        return found._replace(coordination={**found.coordination, **nowhere}, repository=postgres)

    monkeypatch.setattr(OutsideServices, "welcome", moved)


def test_a_new_machine_needs_no_authority_beside_the_file(
    cluster_home: Path,
    run: Run,
    tmp_path: Path,
    services: ClusterServices,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """E11: openssl accepts the node's certificate, whose key went nowhere; the node shows that one, to ZooKeeper as well.

    The tests' ZooKeeper believes clients of its own authority only, so it refuses that, and is given another.
    """
    elsewhere(monkeypatch)
    second, sent = tmp_path / "two", list[bytes]()
    post = admission._post

    def listened(server: str, request: Any, context: Any) -> Any:
        sent.append(admission_request.serialize(request))
        return post(server, request, context)

    monkeypatch.setattr(admission, "_post", listened)
    with web_client.serve(cluster_home) as served:
        made = served.node.topology.make_bootstrap_file(CREATED, BootstrapRequest("x", url(served)))
        Path("file").write_bytes(made.text.reveal())
        said = run("initialize-tsm", second, "-b", "file")
        assert said.code == StateError.exit_code
        assert "node2 is joining and not active: zookeeper" in said.err
        given = ("--zookeeper-certificate", str(services.ensemble.folder / "client.pem"))
        said = run("initialize-tsm", second, "-b", "file", *given)
        assert (said.code, "State: active" in said.out) == (0, True), said.err
        issued = [one for one in told(served.node, "NODE_CERTIFIED") if one["node_id"] == "node2"]
    assert not (second / "tsm" / "certificate-request.json").exists()
    with opened(second) as two:
        place = two.paths
        own = own_certificate.find(place)
        assert own is not None
        assert own.present is not None
        assert [one["fingerprint"] for one in issued] == [own.present.described.fingerprint]
        assert two.outside is not None
        places = two.outside.file.services
        assert places.zookeeper.ca == str(place.authority("zookeeper"))
        assert places.postgres["sslrootcert"] == str(place.authority("postgres"))
        _openssl_accepts(tmp_path, own.present.certificate, own.authorities)
        _is_of_the_request(sent[0], own.present.key.reveal())
        # the first look of the served node names this certificate, and makes no other
        assert certificates.service(two).follow(CREATED, "")
        shown = certificates.service(two).shown()["node2"].certificates
        assert shown == (own.present.certificate,)
        # another certificate is shown to ZooKeeper as well
        assert certificates.service(two).follow(CREATED, renew=True)
        after = own_certificate.find(place)
        assert after is not None
        assert after.present is not None
        [shown_there] = node_certificates.from_pem(place.zookeeper_certificate.read_bytes())
        assert shown_there == after.present.certificate != own.present.certificate
    assert nodes(run, second)["node2"]["state"] == "active"


def test_a_new_machine_needs_nothing_but_the_file(
    cluster_home: Path,
    run: Run,
    tmp_path: Path,
    services: ClusterServices,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """E11, ADR 60: a ZooKeeper that believes the installation's authority takes the certificate that the answer brought."""
    elsewhere(monkeypatch)
    second = tmp_path / "two"
    with opened(cluster_home) as one:
        certificates.service(one).follow(CREATED, "")
        known = certificates.service(one).find_authorities()
    assert known is not None
    with services.ensemble.believing(node_certificates.pem(known.certificates)):
        with web_client.serve(cluster_home) as served:
            wanted = BootstrapRequest("x", url(served))
            made = served.node.topology.make_bootstrap_file(CREATED, wanted)
            Path("file").write_bytes(made.text.reveal())
            said = run("initialize-tsm", second, "-b", "file")
        assert (said.code, "State: active" in said.out) == (0, True), said.err
        with opened(second) as two:
            assert two.outside is not None
            place = two.outside.file.services.zookeeper
            assert place.certificate == str(two.paths.zookeeper_certificate)
            own = own_certificate.find(two.paths)
        assert own is not None
        assert own.present is not None
        [shown] = node_certificates.from_pem(Path(place.certificate).read_bytes())
        assert shown == own.present.certificate
        assert nodes(run, second)["node2"]["state"] == "active"


def _openssl_accepts(folder: Path, certificate: bytes, authorities: tuple[bytes, ...]) -> None:
    (folder / "ca.pem").write_text(node_certificates.pem(authorities))
    (folder / "node2.pem").write_text(node_certificates.pem((certificate,)))
    for purpose in ("sslclient", "sslserver"):
        line = ["openssl", "verify", "-x509_strict", "-purpose", purpose, "-CAfile"]
        done = subprocess.run(
            [*line, str(folder / "ca.pem"), str(folder / "node2.pem")],
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert done.stdout.endswith(b"node2.pem: OK\n"), done.stderr


def _is_of_the_request(sent: bytes, key: bytes) -> None:
    """The request is one by openssl, too; of the key, only the public half is in what was sent."""
    asked = base64.b64decode(json.loads(sent)["certificate_request"])
    line = ["openssl", "req", "-inform", "DER", "-verify", "-noout", "-text"]
    done = subprocess.run(line, input=asked, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert b"CN=node2" in done.stdout.replace(b" ", b"")  # 3.5 writes no blanks
    # PKCS#8 of P-256: the secret number stands behind its header
    secret = key[36 : 36 + 32]
    assert secret
    for form in (secret, secret.hex().encode(), base64.b64encode(secret)[:40]):
        assert form not in sent
        assert form not in asked


def test_requests_for_certificates_that_are_refused(
    cluster_home: Path, run: Run, tmp_path: Path
) -> None:
    """Nobody is admitted by them; a repetition gets the same certificate, and one with another request nothing."""
    with web_client.serve(cluster_home) as served:
        reaches_a_service_nowhere(served, run, tmp_path / "four")
        topology = served.node.topology
        file = topology.make_bootstrap_file(CREATED, BootstrapRequest("x")).file
        node = file.node_id
        keys = node_keys.make(file.installation_id, node)
        name = node_certificates.NodeName(file.installation_id, node)
        good, other = (certificate_request.make(name) for _ in "ab")
        broken = bytearray(good.asked)
        broken[-1] ^= 1
        stranger = certificate_request.make(name._replace(node_id="node9")).asked
        for bad, words in (
            (bytes(broken), "not signed by its own key|damaged"),
            (stranger, "is of another node"),
            (b"x", "damaged"),
        ):
            with pytest.raises(AuthenticationError, match=words):
                _asked(topology, file, keys.asking(good._replace(asked=bad)))
        assert node not in served.node.peers.all()
        first, again = (_asked(topology, file, keys.asking(good)) for _ in "ab")
        assert first == again
        with pytest.raises(AuthenticationError, match="was used"):
            _asked(topology, file, keys.asking(other))
        issued = [one for one in told(served.node, "NODE_CERTIFIED") if one["node_id"] == node]
        assert len(issued) == 1
        # a node with a file of the form before asks for none, and makes its own when it is served
        before = topology.make_bootstrap_file(CREATED, BootstrapRequest("x")).file
        assert (
            _asked(topology, before, node_keys.make(before.installation_id, before.node_id)) == b""
        )


def _asked(topology: TopologyService, file: BootstrapFile, keys: NodeKeys) -> bytes:
    """The certificate in the answer to a request, past the network."""
    assert file.credential is not None
    assert file.signer is not None
    request = admission_request.make(keys, file.credential, file.identity)
    sealed = topology.admit(request)
    assert sealed is not None
    return join.opened(sealed, request, keys, file.signer).certificate


def reaches_a_service_nowhere(served: Served, run: Run, place: Path) -> None:
    """The credential is good still, and the cause is told: no name, no answer or a refusal."""
    admitted = len(told(served.node, "NODE_ADMITTED"))
    with pytest.MonkeyPatch.context() as patch:
        places = ("127.0.0.1:1", "nowhere.invalid:5432")
        patch.setattr(postgres_address, "places_of", lambda _: places)
        made = served.node.topology.make_bootstrap_file(CREATED, BootstrapRequest("x", url(served)))
    Path("file").write_bytes(made.text.reveal())
    said = run("initialize-tsm", place, "-b", "file")
    assert said.code == StateError.exit_code
    assert "does not reach PostgreSQL (127.0.0.1:1: Connection refused; nowhere" in said.err
    assert len(told(served.node, "NODE_ADMITTED")) == admitted
    assert made.file.node_id not in served.node.peers.all()


def test_the_web_service_is_believed_by_the_file(node_dir: Path, tmp_path: Path) -> None:
    """The server's own certificate is enough; without it in the file, nothing is sent, and the sentence says why."""
    authority, asked = tls.Authority(tmp_path / "tls"), list[bytes]()

    class Front(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"node_id": "node2"}')

        @override
        def log_request(self, code: object = "-", size: object = "-") -> None:
            """Says nothing."""

    with opened(node_dir) as node, HTTPServer(("127.0.0.1", 0), Front) as server:
        server.socket = authority.server_context().wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        address = f"https://localhost:{server.server_port}"
        file = node.topology.make_bootstrap_file(CREATED, BootstrapRequest("x", address)).file
        assert file.bearings == Bearings()
        own = node_keys.make(file.installation_id, file.node_id)
        leaf = (tmp_path / "tls" / "server.pem").read_bytes()
        chain = node_certificates.from_pem(leaf[leaf.index(b"-----BEGIN CERT") :])
        try:
            with pytest.raises(StateError, match="was not asked: the TLS") as refused:
                admission.ask(file, own)
            assert "neither among those that the bootstrap file names" in refused.value.hint
            assert asked == []
            _believe(file, chain)
            assert admission.ask(file, own).is_admitted
        finally:
            server.shutdown()
            thread.join()
    assert len(asked) == 1


def _believe(file: BootstrapFile, chain: tuple[bytes, ...]) -> None:
    object.__setattr__(file, "bearings", Bearings(Authorities(web=chain), Addresses()))
