"""What a new node makes of the answer, and of what it finds (docs/format/nodes.md §2.4, §3.4)."""

from collections.abc import Iterator

import pytest

from strongroom.cluster.services_file import Services, ZookeeperPlace
from strongroom.crypto import rng
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import FormatError, StateError
from strongroom.ids import new_id
from strongroom.joining.welcome import Welcome
from strongroom.secrets.committed import ValueKey
from strongroom.services.nodes import join
from strongroom.services.nodes.join import OwnPaths
from strongroom.system.findings import Finding, bad

INSTALLATION, KEY_ID = new_id(), new_id()
MATERIAL = rng.new_key()
KEY = ValueKey(INSTALLATION, KEY_ID, MATERIAL)
PLACE = ZookeeperPlace("zk.example:2281", "/strongroom/x", "tsm", "/ca.pem", "/node1.pem")
POSTGRES = {"host": "db.example", "sslrootcert": "/db.pem"}
PASSWORDS = {"zookeeper": SecretBytes(b"one"), "postgres": SecretBytes(b"two")}
WELCOME = Welcome(PLACE._asdict(), POSTGRES, PASSWORDS)


def test_the_passwords_are_sealed_under_the_key_of_the_node() -> None:
    file = join.file_of(WELCOME, INSTALLATION, KEY)
    assert file.services.zookeeper == PLACE
    assert b"one" not in file.serialize()
    assert file.password("zookeeper", lambda _: MATERIAL) == PASSWORDS["zookeeper"]
    assert file.key_ids == {KEY_ID}


@pytest.mark.parametrize(
    "found",
    [
        WELCOME._replace(coordination={"hosts": "x"}),
        WELCOME._replace(passwords={"zookeeper": SecretBytes(b"one")}),
    ],
    ids=["place", "passwords"],
)
def test_an_answer_that_lacks_something_is_refused(found: Welcome) -> None:
    with pytest.raises(FormatError):
        join.file_of(found, INSTALLATION, KEY)


def test_paths_of_this_machine_are_put_in() -> None:
    services = Services(INSTALLATION, new_id(), PLACE, POSTGRES)
    assert OwnPaths().applied(services) == services
    found = OwnPaths("/a.pem", "/b.pem", "/c.pem").applied(services)
    assert (found.zookeeper.ca, found.zookeeper.certificate) == ("/a.pem", "/b.pem")
    assert found.postgres == {"host": "db.example", "sslrootcert": "/c.pem"}
    assert services.postgres["sslrootcert"] == "/db.pem"


def test_the_first_thing_that_is_amiss_is_told() -> None:
    good = Finding("zookeeper", "tls", "TLS 1.3")
    wrong = bad("postgres", "tls", "no", "a hint")

    def broken() -> Iterator[Finding]:
        raise StateError("the disk is gone", hint="look")

    assert join.first_cause(lambda: [good], tuple) == ""
    assert join.first_cause(lambda: [good, wrong, good], tuple) == "postgres, tls: no"
    assert join.first_cause(lambda: [good], lambda: ("no root", "x")) == "keys: no root"
    assert "the disk is gone" in join.first_cause(broken, tuple)
