"""What only Azure Blob Storage has: keys and tokens, blocks without a beginning, folders (ADR 65; format 9)."""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from strongroom.crypto.secret import SecretBytes
from strongroom.errors import StorageError
from strongroom.objectstore import azure_connection, heads, proof, registry, sweep
from strongroom.objectstore.base import Bucket
from strongroom.objectstore.web import Request
from tests.contract.objectstore.test_sweep import NOW
from tests.support import fake_azure_blobs, fault_server
from tests.support.fake_azure_blobs import ACCOUNT, KEY, AzureBlobs
from tests.support.fault_server import FaultServer
from tests.support.key_vault import KeyVault
from tests.support.tls import Authority

CONTAINER = "extracts"
NAME = heads.body_place("one", "0" * 32)


@pytest.fixture(scope="module")
def kind() -> None:
    """This module has its own server."""


@pytest.fixture(scope="module", autouse=True)
def server() -> None:
    """This module has its own server."""


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(azure_connection.KEY, raising=False)


@pytest.fixture
def service() -> Iterator[tuple[str, AzureBlobs]]:
    with fake_azure_blobs.running(CONTAINER) as running:
        yield running


@pytest.fixture
def own(service: tuple[str, AzureBlobs], monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """The objects, by the key of the account."""
    monkeypatch.setenv(azure_connection.KEY, KEY)
    return opened(service[0])


@dataclass(frozen=True)
class Machine:
    """A machine with an identity, and the service over TLS."""

    url: str
    service: AzureBlobs
    identity: FaultServer
    tokens: KeyVault


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    authority, tokens = Authority(tmp_path / "tls"), KeyVault()
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.ca_file))
    with (
        fake_azure_blobs.running(CONTAINER, authority) as (url, service),
        fault_server.running(tokens.issue_token) as identity,
    ):
        service.tokens = tokens.tokens
        monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", identity.url)
        yield Machine(url, service, identity, tokens)


def opened(url: str, options: str = "") -> Bucket:
    address = f"az://{ACCOUNT}/{CONTAINER}/p?endpoint={url}{options}"
    return registry.bucket(registry.parse(address))


def test_the_signature_is_that_of_the_documentation() -> None:
    """The fake computes it by code of its own, from the words of the documentation."""
    headers = {
        "x-ms-version": "2019-07-07",
        "x-ms-date": "Tue, 01 Dec 2026 03:00:00 GMT",
        "if-match": '"0x1"',
    }
    request = Request("PUT", "/a/c/p%20q", {"comp": "block", "blockid": "MQ=="}, headers, b"xyz")
    key = base64.b64decode(KEY)
    found = azure_connection.signature(ACCOUNT, SecretBytes(key), request)
    asked = fake_azure_blobs.asked_of(request)
    assert fake_azure_blobs.signature(asked) == f"SharedKey {ACCOUNT}:{found}"
    other = azure_connection.signature(ACCOUNT, SecretBytes(key), request._replace(data=b""))
    assert other != found


def test_a_machine_is_let_in_by_its_identity(machine: Machine) -> None:
    bucket = opened(machine.url, "&client_id=of-the-node")
    proof.prove(bucket)
    assert machine.tokens.client_ids == ["of-the-node"]
    assert "resource=https://storage.azure.com&" in machine.identity.requests[0].path


def test_a_token_that_is_not_taken_is_had_anew(machine: Machine) -> None:
    """A vault of tokens may be emptied at any time: a request that was not done is done once more."""
    bucket = opened(machine.url)
    bucket.write("head/one", b"x")
    machine.tokens.tokens.clear()
    assert bucket.read("head/one").data == b"x"
    assert len(machine.identity.calls) == 2


def test_a_machine_without_an_identity_is_told(machine: Machine) -> None:
    with (
        machine.identity.broken(fault_server.Fault.UNREACHABLE),
        pytest.raises(StorageError, match="no credentials") as caught,
    ):
        opened(machine.url).read("head/one")
    assert "Storage Blob Data Contributor" in caught.value.hint


def test_no_token_goes_over_plain_http(service: tuple[str, AzureBlobs], machine: Machine) -> None:
    with pytest.raises(StorageError, match="no token is sent over plain http"):
        opened(service[0]).read("head/one")
    assert not machine.identity.calls


@pytest.mark.parametrize("key", ["no base64 of a secret!", base64.b64encode(b"other").decode()])
def test_a_wrong_key_is_told_and_not_shown(
    key: str, service: tuple[str, AzureBlobs], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(azure_connection.KEY, key)
    with pytest.raises(StorageError) as caught:
        opened(service[0]).read("head/one")
    assert "AZURE_STORAGE_KEY" in caught.value.with_hint
    assert key not in caught.value.with_hint


def test_the_environments_proxy_is_not_for_what_is_local(
    own: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    own.write("head/one", b"x")


def test_names_that_make_folders_are_refused(own: Bucket, service: tuple[str, AzureBlobs]) -> None:
    """An account with a hierarchical namespace lists its folders as blobs."""
    service[1].folders = True
    with pytest.raises(StorageError, match="makes folders of names"):
        proof.prove(own)


@pytest.mark.parametrize(
    ("ignored", "words"),
    [("if-none-match", "created twice"), ("if-match", "another version")],
)
def test_a_service_that_looks_at_no_conditions_is_refused(
    own: Bucket, service: tuple[str, AzureBlobs], ignored: str, words: str
) -> None:
    service[1].ignored.add(ignored)
    with pytest.raises(StorageError, match=words):
        proof.prove(own)


def test_blocks_are_never_put_over_an_object(own: Bucket) -> None:
    """A list of blocks is committed on the condition that there is nothing."""
    upload = own.begin_parts(NAME)
    tag = own.write_part(NAME, upload, 1, b"late")
    own.create(NAME, b"there")
    own.complete_parts(NAME, upload, [tag])
    assert own.read(NAME).data == b"there"


def test_to_give_up_an_upload_takes_no_object_away(own: Bucket) -> None:
    upload = own.begin_parts(NAME)
    own.complete_parts(NAME, upload, [own.write_part(NAME, upload, 1, b"whole")])
    own.abort_parts(NAME, upload)
    assert own.read(NAME).data == b"whole"


def test_an_upload_that_was_given_up_leaves_nothing(
    own: Bucket, service: tuple[str, AzureBlobs]
) -> None:
    upload = own.begin_parts(NAME)
    own.write_part(NAME, upload, 1, b"x")
    own.abort_parts(NAME, upload)
    own.abort_parts(NAME, upload)
    assert (list(own.list("body")), service[1].blocks) == ([], {})


def test_an_upload_begins_by_the_stores_clock(own: Bucket) -> None:
    before = own.now()
    upload = own.begin_parts(NAME)
    own.write_part(NAME, upload, 1, b"x")
    [found] = own.open_uploads()
    assert found[:2] == (NAME, upload)
    assert before <= found.begun <= own.now()


def test_blocks_of_other_names_are_left_alone(own: Bucket, service: tuple[str, AzureBlobs]) -> None:
    """Another program's upload is not ours to take away: Azure forgets it by itself."""
    service[1].blocks[f"p/{NAME}"] = {base64.b64encode(b"block-000001").decode(): b"x"}
    service[1].blocks["p/body/x/1"] = {base64.b64encode(b"\xff").decode(): b"x"}
    assert list(own.open_uploads()) == []
    assert sweep.sweep(own, NOW) == 0
    assert len(service[1].blocks) == 2


@pytest.mark.usefixtures("own")
def test_an_answer_that_is_no_list_is_told() -> None:
    with (
        fault_server.running(lambda _: fault_server.Response(200, b"<html>")) as other,
        pytest.raises(StorageError, match="something else than its lists"),
    ):
        list(opened(other.url).list("head"))
