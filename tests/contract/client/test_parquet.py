"""The KMS client for pyarrow on the Vault door of a node: what it wraps, whom it asks, and what it says (issue 13 C)."""

import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from pyarrow.parquet import encryption as pe

from strongroom.client.parquet import OPTIONS, StrongroomKmsClient
from strongroom.client.vault_service import AppRole, Token, VaultService
from strongroom.crypto.secret import SecretBytes
from strongroom.doors.vault import server as vault
from strongroom.errors import (
    AuthenticationError,
    IntegrityError,
    KeyServiceError,
    NotFoundError,
    PermissionDeniedError,
    StateError,
    UsageError,
)
from strongroom.node import opening
from strongroom.service_keys.model import KeyKind
from strongroom.services.service_keys.by import By
from strongroom.services.service_keys.keys import own
from strongroom.services.service_keys.mounts import APPROLE
from strongroom.services.service_keys.tokens import Wanted
from strongroom.system.compat import override
from tests.support import parquet_files
from tests.support.tls import Authority

BY = By("os:tester")
KEY = b"0123456789abcdef"
POLICY = """
path "transit/+/orders" { capabilities = ["update"] }
path "secret/*" { capabilities = ["create", "read", "update", "delete", "list"] }
"""


@dataclass(frozen=True)
class Door:
    """The Vault door of a node in this process, with a key `orders` and who may use it."""

    node: opening.Node
    url: str
    token: str
    token_file: Path


@pytest.fixture(scope="module")
def door(pristine_node: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    import shutil

    folder = tmp_path_factory.mktemp("door")
    node = opening.open_node(str(shutil.copytree(pristine_node, folder / "node")))
    parquet_files.make_keys(node, "orders", "others")
    node.service_policies.write(BY, "app", POLICY)
    made = node.service_tokens.create(BY, Wanted(policies=["app"], with_default=False))
    (folder / "token").write_bytes(made.secret.reveal() + b"\n")
    with vault.serving(node, "127.0.0.1", 0) as url:
        yield Door(node, url, made.secret.reveal().decode(), folder / "token")
    node.close()


def client(door: Door, token: str = "", **options: str) -> StrongroomKmsClient:
    config = pe.KmsConnectionConfig(
        kms_instance_url=door.url, key_access_token=token or door.token, custom_kms_conf=options
    )
    return StrongroomKmsClient(config)


def test_a_key_comes_back_from_every_version_that_wrapped_it(door: Door) -> None:
    keys = client(door)
    first = keys.wrap_key(KEY, "orders")
    door.node.service_keys.rotate(BY, own("orders"))
    second = keys.wrap_key(KEY, "orders")
    assert (first.split(":")[:2], second.split(":")[:2]) == (["vault", "v1"], ["vault", "v2"])
    assert keys.unwrap_key(first, "orders") == keys.unwrap_key(second, "orders") == KEY


REFUSALS: dict[str, tuple[type[Exception], str, str]] = {
    "nowhere": (NotFoundError, "the key 'nowhere' is not at", "strongroom keys create"),
    "others": (PermissionDeniedError, "may not use the key 'others'", 'path "transit/encrypt/oth'),
}


@pytest.mark.parametrize("key", REFUSALS)
def test_an_error_names_key_and_identity_and_what_to_do(door: Door, key: str) -> None:
    kind, words, hint = REFUSALS[key]
    root = door.node.service_tokens.create(BY, Wanted(policies=["root"])).secret.reveal().decode()
    with pytest.raises(kind, match=words) as caught:
        client(door, "" if key == "others" else root).wrap_key(KEY, key)
    assert hint in "".join(traceback.format_exception(caught.value)), "a traceback shows it"
    if key == "others":
        assert "the token in key_access_token" in str(caught.value)


def test_a_disabled_key_and_what_another_key_wrapped_are_told_apart(door: Door) -> None:
    keys = client(door)
    wrapped = keys.wrap_key(KEY, "orders")
    with pytest.raises(IntegrityError) as caught:
        keys.unwrap_key(wrapped[:-6] + "AAAA==", "orders")
    assert "'orders'" in caught.value.hint
    parquet_files.make_keys(door.node, "signer-of-none")
    door.node.service_keys.set_enabled(BY, own("orders"), enabled=False)
    try:
        with pytest.raises(StateError, match=r"'orders' .*is disabled.*keys enable"):
            keys.wrap_key(KEY, "orders")
    finally:
        door.node.service_keys.set_enabled(BY, own("orders"), enabled=True)


def test_a_token_that_is_not_valid_is_told_and_one_that_is_refreshed_is_used(door: Door) -> None:
    config = pe.KmsConnectionConfig(kms_instance_url=door.url, key_access_token="hvs.nobodys")
    keys = StrongroomKmsClient(config)
    with pytest.raises(AuthenticationError, match="key_access_token is not valid"):
        keys.wrap_key(KEY, "orders")
    config.refresh_key_access_token(door.token)
    assert keys.unwrap_key(keys.wrap_key(KEY, "orders"), "orders") == KEY


def test_a_token_in_a_file_is_read_anew_when_it_was_exchanged(door: Door, tmp_path: Path) -> None:
    place = tmp_path / "token"
    place.write_text("hvs.before")
    keys = client(door, token_file=str(place))
    with pytest.raises(AuthenticationError, match=f"the token in {place} is not valid"):
        keys.wrap_key(KEY, "orders")
    place.write_text(door.token)
    assert keys.wrap_key(KEY, "orders")
    for content, words in (("", "does not hold"), ("two words", "does not hold")):
        place.write_text(content)
        with pytest.raises(KeyServiceError, match=words):
            client(door, token_file=str(place)).wrap_key(KEY, "orders")
    place.unlink()
    with pytest.raises(KeyServiceError, match="cannot be read"):
        client(door, token_file=str(place)).wrap_key(KEY, "orders")


def test_a_role_signs_in_and_again_when_its_token_has_ended(door: Door, tmp_path: Path) -> None:
    roles, name = door.node.service_roles, "auth/approle/parquet"
    assert APPROLE in name
    roles.write(BY, name, {"token_policies": ["app"]})
    role_id = roles.read(BY, name).role_id
    made = roles.make_secret_id(BY, name, metadata={}, cidrs=[], own=None)
    secret = tmp_path / "secret-id"
    secret.write_bytes(made.secret.reveal())
    keys = client(door, role_id=role_id, secret_id_file=str(secret))
    wrapped = keys.wrap_key(KEY, "orders")
    for token in door.node.service_tokens.list():
        if token.origin.startswith("auth/approle"):
            door.node.service_tokens.revoke(BY, token)
    assert keys.unwrap_key(wrapped, "orders") == KEY
    secret.write_text("wrong")
    with pytest.raises(AuthenticationError, match=f"sign-in of the role {role_id}"):
        client(door, role_id=role_id, secret_id_file=str(secret)).wrap_key(KEY, "orders")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"url": "https://other.example:8200"}, "the token is not sent to http"),
        ({"tokenfile": "x"}, "custom_kms_conf has no 'tokenfile'"),
        ({"role_id": "x"}, "go together"),
        ({"secret_id_file": "x"}, "go together"),
        ({"timeout_s": "soon"}, "number of seconds"),
        ({"timeout_s": "0"}, "number of seconds"),
    ],
)
def test_a_configuration_that_cannot_be_right_is_refused(
    door: Door, options: dict[str, str], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        client(door, **options)


def test_no_url_no_identity_and_no_clear_text_over_a_network(door: Door) -> None:
    with pytest.raises(UsageError, match="no node is named"):
        StrongroomKmsClient(pe.KmsConnectionConfig(key_access_token="x"))
    with pytest.raises(UsageError, match="no identity is given"):
        StrongroomKmsClient(pe.KmsConnectionConfig(kms_instance_url=door.url))
    far = pe.KmsConnectionConfig(kms_instance_url="http://node.example:8200", key_access_token="x")
    with pytest.raises(UsageError, match="in clear"):
        StrongroomKmsClient(far)
    assert "token" not in OPTIONS, "a token belongs into key_access_token or a file"


def test_a_certificate_of_somebody_else_gets_no_token(door: Door, tmp_path: Path) -> None:
    from tests.support import fault_server

    ours, theirs = Authority(tmp_path / "ours"), Authority(tmp_path / "theirs")
    with fault_server.running(fault_server.forward_to(door.url), theirs) as front:

        def asked(ca: Path) -> str:
            config = pe.KmsConnectionConfig(
                kms_instance_url=front.url,
                key_access_token=door.token,
                custom_kms_conf={"ca_file": str(ca)},
            )
            return str(StrongroomKmsClient(config).wrap_key(KEY, "orders"))

        with pytest.raises(KeyServiceError, match="is not trusted"):
            asked(ours.ca_file)
        assert asked(theirs.ca_file).startswith("vault:v")


# ---- secrets, as keyring and `strongroom run` ask for them -----------------------------------------


def test_secrets_are_written_read_listed_and_removed(door: Door) -> None:
    with VaultService(door.url, Token(door.token_file)) as node:
        assert node.list_secrets("secret/app") == []
        node.write_secret("secret/app/a b%2F", {"password": "x"})
        found = node.read_secret("secret/app/a b%2F")
        assert (found.data, found.version) == ({"password": "x"}, 1)
        assert node.list_secrets("secret/app") == ["a b%2F"]
        node.remove_secret("secret/app/a b%2F")
        with pytest.raises(NotFoundError, match="the secret 'secret/app/a b%2F'"):
            node.read_secret("secret/app/a b%2F")
        for refused in (
            lambda: node.write_secret("kv/x", {"a": 1}),
            lambda: node.read_secret("kv/x"),
            lambda: node.remove_secret("kv/x"),
            lambda: node.list_secrets("kv/x"),
            lambda: node.read_secret("elsewhere/x"),
        ):
            with pytest.raises((PermissionDeniedError, NotFoundError)):
                refused()


def test_a_mount_of_ones_own_is_asked_for_its_versions(door: Door, tmp_path: Path) -> None:
    root = door.node.service_tokens.create(BY, Wanted(policies=["root"]))
    (tmp_path / "token").write_bytes(root.secret.reveal())
    door.node.service_mounts.enable(BY, "team/keys", "kv-v2", "", {})
    with VaultService(door.url, Token(tmp_path / "token")) as node:
        node.write_secret("team/keys/x", {"a": 1})
        assert node.read_secret("team/keys/x") == ({"a": 1}, 1)
        node.write_secret("kv/x", {"a": 2})
        assert node.read_secret("kv/x") == ({"a": 2}, 0)
        with pytest.raises(NotFoundError, match="no secrets lie at 'transit/x'"):
            node.read_secret("transit/x")


ANSWERS: dict[str, tuple[int, bytes, str]] = {
    "busy": (429, b'{"errors":["later"]}', "is busy"),
    "broken": (503, b'{"errors":["the installation cannot"]}', "answers 503: the installation"),
    "strange": (200, b"<html>", "answers 200: no node answers there"),
    "empty": (200, b"{}", "without a ciphertext"),
    "no text": (200, b'{"data":{"ciphertext":1}}', "without a ciphertext"),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_an_answer_that_makes_no_sense_is_an_error_with_the_url(case: str, door: Door) -> None:
    status, body, words = ANSWERS[case]
    with answering(status, body) as url:
        node = VaultService(url, Token(door.token_file))
        with pytest.raises(KeyServiceError, match=words) as caught:
            node.encrypt("orders", SecretBytes(KEY))
        assert url in caught.value.message


@pytest.mark.parametrize("body", [b"{}", b'{"data":{"plaintext":"?"}}'])
def test_an_answer_without_what_was_asked_for_is_an_error(body: bytes, door: Door) -> None:
    asks: tuple[Callable[[VaultService], object], ...] = (
        lambda node: node.decrypt("orders", "vault:v1:"),
        lambda node: node.read_secret("secret/x"),
    )
    with answering(200, body) as url:
        for ask in asks[1:] if body == b"{}" else asks:
            with pytest.raises(KeyServiceError, match="answers without"):
                ask(VaultService(url, Token(door.token_file)))
        role = AppRole("role", door.token_file)
        with pytest.raises(KeyServiceError, match="holds no token"):
            VaultService(url, role).read_secret("secret/x")


class answering:  # noqa: N801 a context manager, named for its use
    """A server that always gives the same answer."""

    def __init__(self, status: int, body: bytes) -> None:
        class Same(BaseHTTPRequestHandler):
            @override
            def log_message(self, *_: object) -> None:
                pass

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("content-length", 0)))
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST  # noqa: N815 the base class looks for this name

        self._server = HTTPServer(("127.0.0.1", 0), Same)

    def __enter__(self) -> str:
        Thread(target=self._server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self._server.server_port}"

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def test_a_key_that_does_not_encrypt_is_told(door: Door) -> None:
    door.node.service_keys.create(BY, own("signs"), KeyKind.ED25519)
    door.node.service_policies.write(
        BY, "app", POLICY + 'path "transit/+/signs" { capabilities = ["update"] }'
    )
    with pytest.raises(StateError, match="does not support encryption"):
        client(door).wrap_key(KEY, "signs")
