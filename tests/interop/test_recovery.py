"""Recovery end to end through the commands: the data directory on a fresh machine, the CMK gone, the keystore too (R13).

Identities are made by the real age-keygen, wraps are opened by the real age.
"""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from strongroom.crypto.secret import SecretBytes
from strongroom.node import opening
from tests.support import clouds
from tests.support.clouds import ARN
from tests.support.servers import TestNode, create_node, serving

pytestmark = pytest.mark.interop

PLAINTEXT = b"HyPe\x00 an extract that must not be lost " * 1000


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A node in AWS mode with a kit of 2 of 3 and an age identity, rotated since; the CMK is gone."""
    node = create_node(tmp_path_factory.mktemp("before"))
    with clouds.aws(node):
        node.run("tsm", *_words("security kms set-mode aws --aws-region us-west-2 --key-arn"), ARN)
        shares = _words("security kms roots add shares --threshold 2 --shares 3 --output kit")
        node.run("tsm", *shares)
        _run("age-keygen", "-o", str(node.folder / "safe.txt"))
        recipient = _run("age-keygen", "-y", str(node.folder / "safe.txt")).decode().strip()
        node.run("tsm", *_words("security kms roots add age --recipient"), recipient)
        (node.folder / "plain").write_bytes(PLAINTEXT)
        node.run("strongroom", "encrypt", "plain", "sealed")
        node.run("tsm", "security", "regenerate-internal-tokens")
        node.run("tsm", "security", "kms", "rotate")
    return node.folder


@pytest.fixture
def machine(home: Path, tmp_path: Path) -> TestNode:
    """A fresh machine: a copy of the data directory, the shares, the identity, no cloud."""
    folder = Path(shutil.copytree(home, tmp_path / "machine"))
    (folder / "plain").unlink()
    nowhere = {
        "AWS_ENDPOINT_URL_KMS": "http://127.0.0.1:1",
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_MAX_ATTEMPTS": "1",
    }
    return TestNode(folder, environment=nowhere)


def _words(text: str) -> list[str]:
    return text.split()


def _run(*words: str, data: bytes = b"") -> bytes:
    return subprocess.run(words, input=data, capture_output=True, check=True).stdout


def _lose_keystore(node: TestNode) -> None:
    for folder in (node.home / "tabsvc").rglob("keystores"):
        shutil.rmtree(folder)
    shutil.rmtree(node.home / "tabsvc" / "keystore")


def _shares(*numbers: int) -> list[str]:
    return [word for one in numbers for word in ("--share", f"kit/share-{one}-of-3.txt")]


@pytest.mark.parametrize(
    ("given", "keystore"),
    [(_shares(1, 3), False), (["--identity", "safe.txt"], True)],
    ids=["shares, keystore lost", "age, keystore there"],
)
def test_a_node_comes_back(machine: TestNode, given: list[str], *, keystore: bool) -> None:
    """Must show 6; all combinations are in tests/contract/kms."""
    if not keystore:
        _lose_keystore(machine)
    assert machine.run("tsm", "security", "kms", "status", check=False).code != 0
    assert machine.run("strongroom", "decrypt", "sealed", "out", check=False).code != 0
    machine.run("strongroom", "recover", "--drill", *given)
    machine.run("strongroom", "recover", *given)
    status = machine.run("tsm", "security", "kms", "status", "--json").json
    assert (status["status"], status["mode"]) == ("OK", "local")
    machine.run("strongroom", "decrypt", "sealed", "out")
    assert (machine.folder / "out").read_bytes() == PLAINTEXT
    roots = machine.run("tsm", "security", "kms", "roots", "verify", "--json").json
    assert [root["kind"] for root in roots] == ["local", "shares", "age"]
    machine.run("strongroom", "events", "verify")
    # the next recovery is prepared: the same shares and the same identity open what is new
    machine.run("strongroom", "recover", "--drill", *_shares(2, 3))
    machine.run("strongroom", "recover", "--drill", "--identity", "safe.txt")


def test_one_share_opens_nothing(machine: TestNode) -> None:
    for number in (1, 2, 3):
        refused = machine.run("strongroom", "recover", *_shares(number), check=False)
        assert refused.code == 2
        assert "1 more is missing" in refused.err


def test_a_node_that_is_served_is_not_recovered_under_its_server(tmp_path: Path) -> None:
    node = create_node(tmp_path)
    with serving(node):
        node.run("tsm", *_words("security kms roots add shares --threshold 1 --shares 1"), "--output", "kit")  # fmt: skip
        node.run("strongroom", "recover", "--drill", "--share", "kit/share-1-of-1.txt")
        refused = node.run("strongroom", "recover", "--share", "kit/share-1-of-1.txt", check=False)
        assert refused.code == 7
        assert "then tsm stop" in refused.err
        assert node.run("tsm", "security", "kms", "roots", "verify").code == 0
    done = node.run("strongroom", "recover", "--share", "kit/share-1-of-1.txt")
    assert "nothing was changed" in done.out


def test_the_real_age_opens_the_wraps(machine: TestNode) -> None:
    """docs/format/recovery.md 1.5: with the private half nobody needs strongroom."""
    node = opening.open_node(str(machine.home))
    store, _ = node.kms_store.current()
    wrap = next(wrap for wrap in store.wraps if wrap.kind == "age")
    node.close()
    identity = str(machine.folder / "safe.txt")
    opened = _run("age", "-d", "-i", identity, data=wrap.blob)
    assert opened.startswith(b"strongroom/v1/recovery/rmk")
    assert len(tuple(store.open_ring(store.rmk(SecretBytes(opened[-32:]))))) == 4
    copy = json.loads((machine.home / "tabsvc/recovery/configuration_keys.json").read_bytes())
    assert {wrap["kind"] for key in copy["keys"] for wrap in key["wraps"]} == {"recipient"}
