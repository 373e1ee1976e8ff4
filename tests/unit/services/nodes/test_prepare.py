"""A new node takes the installation's answer by steps, each of which may be the last of its process (bootstrap-file.md §3.5)."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from strongroom.crypto import node_certificates
from strongroom.crypto.node_certificates import Issuing, NodeName
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import StateError
from strongroom.joining import admission_request, own_certificate, own_keys, prepared
from strongroom.joining.bootstrap_file import BootstrapFile
from strongroom.joining.node_keys import NodeKeys
from strongroom.joining.welcome import Welcome
from strongroom.node import create, joining
from strongroom.node.opening import Node
from strongroom.runtime.paths import DataPaths
from strongroom.services.nodes import admit, join
from strongroom.services.nodes.admit import BootstrapRequest, TopologyService
from strongroom.services.nodes.certificates import Certified
from strongroom.services.nodes.join import OwnPaths
from strongroom.services.nodes.prepare import Admitted
from strongroom.system import durable

PLACE = {
    "hosts": "zk.example:2281",
    "root": "/strongroom/x",
    "user": "tsm",
    "ca": "/ca.pem",
    "certificate": "/node1.pem",
}
POSTGRES = {"host": "db.example", "dbname": "x", "user": "x"}
PASSWORDS = {name: SecretBytes(b"x") for name in ("zookeeper", "postgres")}

_WANTED = BootstrapRequest("x")


class KilledError(BaseException):
    """The process ends."""


class Installation:
    """A node of a cluster that admits, by a process of its own for each request."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.file: BootstrapFile = node.topology.make_bootstrap_file("os:test", _WANTED).file
        now = datetime.now(UTC)
        self._authority = node_certificates.new_authority(self.file.installation_id, now)

    def ask(self, file: BootstrapFile, own: NodeKeys) -> Admitted:
        assert file.credential is not None
        assert file.signer is not None
        request = admission_request.make(own, file.credential, file.identity)
        sealed = self._service().admit(request)
        assert sealed is not None
        return Admitted(is_admitted=True, welcome=join.opened(sealed, request, own, file.signer))

    def ask_in_vain(self, file: BootstrapFile, own: NodeKeys) -> Admitted:
        """The node is admitted, and the answer is lost on its way."""
        self.ask(file, own)
        return Admitted(is_admitted=False)

    def _service(self) -> TopologyService:
        ports = replace(
            self._node.topology._ports,
            services=lambda: Welcome(PLACE, POSTGRES, PASSWORDS),
            certify=self._certify,
        )
        return admit.TopologyService(ports)

    def _certify(self, node_id: str, asked: bytes) -> Certified:
        name = NodeName(self.file.installation_id, node_id)
        made = Issuing(self._authority, datetime.now(UTC)).certify(asked, name)
        return Certified(made, (self._authority.certificate,))


def killed_before(number: int, steps: list[str]) -> pytest.MonkeyPatch:
    """Every step that the disk keeps is counted; the process ends before the step of this number."""
    patch = pytest.MonkeyPatch()

    def step(do: Callable[..., Any], name: str) -> Callable[..., Any]:
        def done(*arguments: Any) -> Any:
            if len(steps) == number:
                raise KilledError
            steps.append(name)
            return do(*arguments)

        return done

    for name in ("write_file", "make_folder"):
        patch.setattr(durable, name, step(getattr(durable, name), name))
    patch.setattr(own_keys, "forget_asked", step(own_keys.forget_asked, "forget_asked"))
    return patch


def goes_on(home: Path, installation: Installation) -> DataPaths:
    """The same command once more, as far as it goes without the services."""
    paths = DataPaths(home, installation.file.node_id)
    note = prepared.find(paths)
    assert note is not None
    if not note.is_joining:
        note = create.ask_again(home, installation.file, installation.ask)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(joining, "_point", unreached)
        with pytest.raises(StateError, match="so far"):
            joining.join(home, note, OwnPaths(), lambda _: None)
    return paths


def unreached(*_: object) -> None:
    raise StateError("so far")


def test_a_repeated_admission_survives_a_kill_between_any_two_steps(
    whole: Node, tmp_path: Path
) -> None:
    """The request is the same until the answer is kept, though a certificate is there already; then it is gone."""
    installation, home = Installation(whole), tmp_path / "two"
    first = create.prepare_node(str(home), installation.file, installation.ask_in_vain)
    assert not first.is_admitted
    shutil.copytree(home / "tabsvc", tmp_path / "asked")
    number, steps, is_whole = 0, list[str](), False
    while not is_whole:
        steps.clear()
        shutil.rmtree(home / "tabsvc")
        shutil.copytree(tmp_path / "asked", home / "tabsvc")
        # a kill behind the rename of the first run leaves the keys beside the node as well
        (home / own_keys.FOLDER).mkdir(exist_ok=True)
        patch = killed_before(number, steps)
        try:
            create.ask_again(home, installation.file, installation.ask)
            is_whole = True
        except KilledError:
            assert len(steps) == number
        finally:
            patch.undo()
        number += 1
        paths = goes_on(home, installation)
        own = own_certificate.find(paths)
        assert own is not None
        assert own.present is not None
        assert paths.services.exists()
        assert not paths.certificate_request.exists()
        assert not (home / own_keys.FOLDER).exists()
        assert own_keys.read(paths).asked is None
    assert steps[-1] == "forget_asked"
    assert steps.count("write_file") >= 3
