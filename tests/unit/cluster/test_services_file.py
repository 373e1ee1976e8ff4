"""The bytes of docs/format/services-file.md, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from strongroom.cluster import enabling, services_file
from strongroom.cluster.services_file import Passwords, Services, ServicesFile, ZookeeperPlace
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import FormatError, KeystoreError, StateError
from strongroom.secrets.committed import ValueKey
from strongroom.system.durable import PRIVATE

INSTALLATION = "5b0f3f0c-3c0e-4f6e-9f7e-0c6a8a2f9d11"
KEY_ID = "0d6c1f0a-8c4b-4b53-8a51-9d4c7f6b2e33"
KEY = SecretBytes(bytes(range(32)))
PASSWORDS = {"zookeeper": SecretBytes(b"of zookeeper"), "postgres": SecretBytes(b"of postgres")}
SERVICES = Services(
    INSTALLATION,
    "7e1c2d3e-4f50-4162-8374-95a6b7c8d9e0",
    ZookeeperPlace(
        "zk1.example:2281", f"/strongroom/{INSTALLATION}", "tsm", "/tls/ca.pem", "/tls/node1.pem"
    ),
    {"host": "db.example", "dbname": "strongroom", "user": "strongroom"},
)


def open_key(key_id: str) -> SecretBytes:
    if key_id != KEY_ID:
        raise KeystoreError("no such key")
    return KEY


@pytest.fixture
def file() -> ServicesFile:
    return services_file.sealed(SERVICES, ValueKey(INSTALLATION, KEY_ID, KEY), PASSWORDS)


def test_the_bytes_that_are_bound() -> None:
    """2.2: SHA-256 of the document of version 1 without its secrets; these bytes never change."""
    assert services_file.KIND.dumps(SERVICES.fields()) == (
        b'{"installation_id":"5b0f3f0c-3c0e-4f6e-9f7e-0c6a8a2f9d11",'
        b'"postgres":{"dbname":"strongroom","host":"db.example","user":"strongroom"},'
        b'"run":"7e1c2d3e-4f50-4162-8374-95a6b7c8d9e0","v":1,'
        b'"zookeeper":{"ca":"/tls/ca.pem","certificate":"/tls/node1.pem",'
        b'"hosts":"zk1.example:2281",'
        b'"root":"/strongroom/5b0f3f0c-3c0e-4f6e-9f7e-0c6a8a2f9d11","user":"tsm"}}'
    )
    assert SERVICES.parameter("zookeeper") == (
        "services.zookeeper 154141c7b87d8dcca34a5467301a643372c27a0257cb7eb5e728f3d1b502be68"
    )


def test_a_round_trip(file: ServicesFile) -> None:
    again = services_file.parse(file.serialize())
    assert again == file
    for name, password in PASSWORDS.items():
        assert again.password(name, open_key).reveal() == password.reveal()
        assert password.reveal() not in file.serialize()
    assert again.key_ids == {KEY_ID}


@pytest.mark.parametrize(
    "change",
    [
        lambda one: one._replace(zookeeper=one.zookeeper._replace(hosts="evil.example:2281")),
        lambda one: one._replace(zookeeper=one.zookeeper._replace(ca="/tmp/ca.pem")),
        lambda one: one._replace(zookeeper=one.zookeeper._replace(user="other")),
        lambda one: one._replace(postgres={**one.postgres, "host": "evil.example"}),
        lambda one: one._replace(postgres={**one.postgres, "sslrootcert": "/tmp/ca.pem"}),
        lambda one: one._replace(installation_id="9b0f3f0c-3c0e-4f6e-9f7e-0c6a8a2f9d11"),
    ],
    ids=["hosts", "ca", "user", "host", "sslrootcert", "installation"],
)
def test_a_password_is_for_these_addresses_alone(
    change: Callable[[Services], Services], file: ServicesFile
) -> None:
    """services-file.md 2.2."""
    changed = file._replace(services=change(SERVICES))
    for name in PASSWORDS:
        with pytest.raises(StateError, match="for other addresses"):
            changed.password(name, open_key)


def test_the_passwords_cannot_be_exchanged(file: ServicesFile) -> None:
    secrets = {"zookeeper": file.secrets["postgres"], "postgres": file.secrets["zookeeper"]}
    with pytest.raises(StateError, match="for other addresses"):
        file._replace(secrets=secrets).password("zookeeper", open_key)


def test_another_key(file: ServicesFile) -> None:
    new_id, new = "1d6c1f0a-8c4b-4b53-8a51-9d4c7f6b2e33", SecretBytes(bytes(32))
    resealed = file.resealed(ValueKey(INSTALLATION, new_id, new), open_key)
    assert resealed.services == SERVICES
    assert resealed.key_ids == {new_id}
    with pytest.raises(KeystoreError):
        resealed.password("zookeeper", open_key)
    assert resealed.password("zookeeper", lambda _: new).reveal() == b"of zookeeper"


def test_a_document_of_version_1_is_read_and_written_as_one_of_version_2(
    file: ServicesFile,
) -> None:
    """1.1: its seals stay as they are."""
    old = {**json.loads(file.serialize()), "v": 1}
    found = services_file.parse(services_file.KIND.dumps(old))
    assert found == file
    assert json.loads(found.serialize())["v"] == 2
    assert found.password("zookeeper", open_key) == PASSWORDS["zookeeper"]


@pytest.mark.parametrize("name", ["zookeeper", "postgres"])
def test_the_steps_of_a_change(name: str, file: ServicesFile) -> None:
    """services-file.md 4.1: between any two of them each password that may be needed is in the file."""
    key, old, new = ValueKey(INSTALLATION, KEY_ID, KEY), PASSWORDS[name], SecretBytes(b"new")

    def found(one: ServicesFile) -> Passwords:
        again = services_file.parse(one.serialize())
        assert again == one
        assert old.reveal() not in one.serialize()
        return again.passwords(name, lambda who, text: one.open(who, text, open_key))

    assert found(file) == Passwords(old)
    begun = file.begun(name, new, key)
    assert found(begun) == Passwords(old, next=new)
    assert found(begun).all == found(begun).valid == (old, new)
    in_force = begun.switched(name)
    assert found(in_force) == Passwords(new, former=old)
    assert (found(in_force).valid, found(in_force).all) == ((new,), (new, old))
    assert [one.is_changing(name) for one in (file, begun, in_force)] == [False, True, True]
    done = in_force.settled(name)
    assert found(done) == Passwords(new)
    assert found(begun.replaced(name, SecretBytes(b"other"), key)) == Passwords(
        SecretBytes(b"other")
    )
    assert begun.settled(name) == file


def test_a_regeneration_takes_every_password_along(file: ServicesFile) -> None:
    key, new_id = ValueKey(INSTALLATION, KEY_ID, KEY), "1d6c1f0a-8c4b-4b53-8a51-9d4c7f6b2e33"
    changing = file.begun("zookeeper", SecretBytes(b"new"), key).switched("zookeeper")
    changing = changing.begun("postgres", SecretBytes(b"next"), key)
    after = changing.resealed(ValueKey(INSTALLATION, new_id, SecretBytes(bytes(32))), open_key)
    assert after.key_ids == {new_id}
    assert changing._replace(secrets=after.secrets).key_ids == {new_id, KEY_ID}
    for name in PASSWORDS:
        before = changing.passwords(name, lambda who, text: changing.open(who, text, open_key))
        now = after.passwords(
            name, lambda who, text: after.open(who, text, lambda _: SecretBytes(bytes(32)))
        )
        assert before == now


@pytest.mark.parametrize(
    "change",
    [
        {"v": 3},
        {"v": 1, "next": {"zookeeper": "ENC()"}},
        {"more": 1},
        {"next": {}},
        {"former": {"redis": "ENC()"}},
        {"run": "no id"},
        {"postgres": {"host": 1}},
        {"secrets": {"zookeeper": "ENC()"}},
        {"zookeeper": {"hosts": "x"}},
    ],
    ids=str,
)
def test_what_is_no_file_of_services(change: dict[str, Any], file: ServicesFile) -> None:
    changed = {**json.loads(file.serialize()), **change}
    with pytest.raises(FormatError):
        services_file.parse(services_file.KIND.dumps(changed))
    with pytest.raises(FormatError):
        services_file.parse(file.serialize() + b" ")


def test_on_the_disk(file: ServicesFile, tmp_path: Path) -> None:
    path = tmp_path / "addresses.json"
    assert services_file.find(path) is None
    services_file.write(path, file, PRIVATE)
    assert path.stat().st_mode & 0o777 == 0o600
    assert services_file.find(path) == file
    path.chmod(0o666)
    with pytest.raises(StateError, match="others on this machine"):
        services_file.find(path)


def test_the_journal(tmp_path: Path) -> None:
    path, run = tmp_path / "enabling.json", SERVICES.run
    assert enabling.find(path) is None
    enabling.begin(path, run, PRIVATE)
    assert path.read_bytes() == b'{"run":"%s","v":1}' % run.encode()
    assert enabling.find(path) == run
    path.chmod(0o666)
    with pytest.raises(StateError, match="journal"):
        enabling.find(path)
    path.chmod(0o600)
    path.write_bytes(b'{"run":"%s","v":2}' % run.encode())
    with pytest.raises(FormatError):
        enabling.find(path)
    enabling.end(path)
    enabling.end(path)
    assert enabling.find(path) is None
