"""What only Google Cloud Storage has: tokens of its library, generations, an interface of XML (ADR 66; format 9)."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom.errors import StorageError
from strongroom.objectstore import heads, proof, registry
from strongroom.objectstore.base import Bucket, ConditionError
from tests.support import fake_gcs, fault_server
from tests.support.fake_gcs import Gcs

BUCKET = "extracts"
NAME = heads.body_place("one", "0" * 32)


@pytest.fixture(scope="module")
def kind() -> None:
    """This module has its own server."""


@pytest.fixture(scope="module", autouse=True)
def server() -> None:
    """This module has its own server."""


@pytest.fixture
def service() -> Iterator[tuple[str, Gcs]]:
    with fake_gcs.running(BUCKET) as running:
        yield running


@pytest.fixture(autouse=True)
def credentials(service: tuple[str, Gcs], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = tmp_path / "key.json"
    key.write_bytes(fake_gcs.account(service[0]))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))


@pytest.fixture
def own(service: tuple[str, Gcs]) -> Bucket:
    return opened(service[0])


def opened(url: str) -> Bucket:
    return registry.bucket(registry.parse(f"gs://{BUCKET}/p?endpoint={url}"))


def test_a_token_that_is_not_taken_is_had_anew(own: Bucket, service: tuple[str, Gcs]) -> None:
    own.write("head/one", b"x")
    service[1].tokens.clear()
    assert own.read("head/one").data == b"x"
    assert len(service[1].tokens) == 1


def test_an_account_that_gets_no_token_is_told(
    own: Bucket, service: tuple[str, Gcs], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service[1], "gives_tokens", False)
    with pytest.raises(StorageError, match="no credentials") as caught:
        own.read("head/one")
    assert "GOOGLE_APPLICATION_CREDENTIALS" in caught.value.hint


def test_a_file_of_credentials_that_is_none_is_not_shown(
    own: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text("my secret key")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(bad))
    with pytest.raises(StorageError, match="no credentials") as caught:
        own.read("head/one")
    assert "secret" not in caught.value.with_hint


def test_the_environments_proxy_is_not_for_what_is_local(
    own: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    own.write("head/one", b"x")


def test_a_service_that_looks_at_no_conditions_is_refused(
    own: Bucket, service: tuple[str, Gcs]
) -> None:
    proof.prove(own)
    service[1].is_honest = False
    with pytest.raises(StorageError, match="created twice"):
        proof.prove(own)


def test_a_generation_comes_never_again(own: Bucket) -> None:
    """An object of the same bytes is another version: an ETag of bytes would be the same."""
    own.write("head/one", b"x")
    first = own.read("head/one").tag
    own.delete("head/one")
    with pytest.raises(ConditionError):
        own.replace("head/one", b"y", first)
    own.write("head/one", b"x")
    with pytest.raises(ConditionError):
        own.replace("head/one", b"y", first)
    own.replace("head/one", b"y", own.read("head/one").tag)


def test_uploads_are_listed_and_given_up_by_the_service(
    own: Bucket, service: tuple[str, Gcs]
) -> None:
    before = own.now()
    names = [f"{NAME[:-1]}{number}" for number in range(9)]
    ids = [own.begin_parts(name) for name in names]
    found = list(own.open_uploads())
    assert sorted((one.name, one.id) for one in found) == sorted(zip(names, ids, strict=True))
    assert all(before <= one.begun for one in found)
    for one in found:
        own.abort_parts(one.name, one.id)
        own.abort_parts(one.name, one.id)
    assert (list(own.open_uploads()), service[1].uploads) == ([], {})


def test_an_answer_that_is_no_list_is_told(service: tuple[str, Gcs]) -> None:
    def answer(request: fault_server.Request) -> fault_server.Response:
        assert request.headers["Authorization"].startswith("Bearer ya29.")
        return fault_server.Response(200, b"<html>")

    with (
        fault_server.running(answer) as other,
        pytest.raises(StorageError, match="something else than its lists"),
    ):
        list(opened(other.url).list("head"))
