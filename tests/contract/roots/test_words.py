"""No secret comes back in the words of a library or of a server that echoes what it was sent (findings K5)."""

import base64
import json
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from strongroom.cli import dispatch
from strongroom.clock import SystemClock
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import RootError, RootUnavailableError, StrongroomError
from strongroom.ids import new_id
from strongroom.node.opening import Node
from strongroom.roots import aws, azure, gcp, openbao, tpm
from strongroom.roots.base import Context, RootProvider
from tests.support import cloud_kms, fault_server
from tests.support.fault_server import Request, Response
from tests.support.listener import listening
from tests.support.tls import Authority

pytestmark = pytest.mark.table

TOKEN, SESSION, SECRET_ID = "tok-s3cret-0f-openbao", "sess10n-t0ken-of-aws", "s3cret-id-of-the-role"
ARN = "arn:aws:kms:us-west-2:867530990073:key/1abc23de-fa45-6bcd-7e89-1f0aa1234567"
NAME = "projects/p/locations/l/keyRings/r/cryptoKeys/k"
STATUSES = (200, 302, 307, 400, 401, 403, 404, 429, 500, 503)


def echo(request: Request) -> str:
    """All that a server was sent, as one that is too helpful tells it."""
    return (
        f"cannot serve {request.path} with {request.headers} and {request.body.decode('latin-1')}"
    )


def told(request: Request, status: int) -> Response:
    """The same words in every place where one of the SDKs looks for them."""
    said = echo(request)
    body = {
        "errors": [said],
        "__type": said,
        "message": said,
        "Message": said,
        "error": {"code": status, "message": said, "status": said, "innererror": {"code": said}},
        "error_description": said,
    }
    one_line = " ".join(said.split())
    headers = {
        "Content-Type": "application/json",
        "Location": f"https://elsewhere.example.org/?{one_line}",
        "x-amzn-errortype": one_line,
        "x-amzn-requestid": one_line,
    }
    return Response(status, json.dumps(body).encode(), headers)


Made = tuple[RootProvider, tuple[str, ...]]
"""A root, and the secrets that must not be seen."""


def _openbao(url: str, ca_file: str, _: pytest.MonkeyPatch) -> Made:
    made = openbao.settings(url, "k", token=SecretBytes(TOKEN.encode()), ca_file=ca_file)
    return openbao.build(made, SystemClock()), (TOKEN,)


def _approle(url: str, ca_file: str, _: pytest.MonkeyPatch) -> Made:
    secret = SecretBytes(SECRET_ID.encode())
    made = openbao.settings(url, "k", role_id="r", secret_id=secret, ca_file=ca_file)
    return openbao.build(made, SystemClock()), (SECRET_ID,)


def _aws(url: str, ca_file: str, patch: pytest.MonkeyPatch) -> Made:
    for name, value in {
        "AWS_ENDPOINT_URL_KMS": url,
        "AWS_CA_BUNDLE": ca_file,
        "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "s3cret-access-key",
        "AWS_SESSION_TOKEN": SESSION,
        "AWS_MAX_ATTEMPTS": "1",
    }.items():
        patch.setenv(name, value)
    patch.setattr("strongroom.roots.aws_connection.ATTEMPTS", 1)
    patch.setattr(aws, "CONSISTENT_S", 0)
    root = aws.build(aws.settings(ARN, "us-west-2"), SystemClock())
    return root, (SESSION, "s3cret-access-key")


def _gcp(url: str, ca_file: str, patch: pytest.MonkeyPatch) -> Made:
    patch.setenv("REQUESTS_CA_BUNDLE", ca_file)
    account = cloud_kms.service_account(f"{url}/token")
    made = gcp.settings(NAME, credentials=SecretBytes(account), endpoint=url)
    key = json.loads(account)["private_key"]
    return gcp.build(made, SystemClock()), (key.split("\n")[1], key.split("\n")[2])


def _azure(url: str, ca_file: str, patch: pytest.MonkeyPatch) -> Made:
    patch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", url)
    patch.setattr(azure, "_PAUSE_S", 0.0)
    made = azure.settings("k", url.replace("http://", "https://"), ca_file=ca_file)
    return azure.build(made, SystemClock()), ()


ROOTS: dict[str, Callable[[str, str, pytest.MonkeyPatch], Made]] = {
    "openbao by a token": _openbao,
    "openbao by a role": _approle,
    "aws": _aws,
    "gcp": _gcp,
    "azure": _azure,
}


@contextmanager
def echoing(folder: Path, status: int) -> Iterator[tuple[str, str, Any]]:
    authority = Authority(folder / "tls")
    with fault_server.running(lambda request: told(request, status), authority) as server:
        yield server.url, str(authority.ca_file), server


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("name", ROOTS)
def test_a_server_that_echoes_what_it_got_makes_no_secret_seen(
    name: str, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with echoing(tmp_path, status) as (url, ca_file, server):
        root, secrets = ROOTS[name](url, ca_file, monkeypatch)
        key = SecretBytes(b"the plaintext of the RMK itself!")
        with pytest.raises(StrongroomError) as caught:
            root.wrap(key, Context(new_id(), new_id(), new_id()))
        assert server.requests
    seen = f"{caught.value.message} {caught.value.hint} {root.describe()}"
    seen += "".join(traceback.format_exception(caught.value))
    sent = base64.b64encode(key.reveal()).decode()
    for secret in (*secrets, key.reveal().decode(), sent.rstrip("=")):
        assert secret not in seen
        assert base64.b64encode(secret.encode()).decode()[:-4] not in seen
    assert len(caught.value.message) < 1500
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("name", ["openbao by a token", "gcp", "azure"])
def test_a_redirect_is_not_followed(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """findings K4: a token, or the RMK in a body, went to wherever a server pointed."""
    with listening() as elsewhere, ExitStack() as stack:
        authority = Authority(tmp_path / "tls")
        answer = Response(307, b"", {"Location": f"{elsewhere.url}/v1/x"})
        server = stack.enter_context(fault_server.running(lambda _: answer, authority))
        root, _ = ROOTS[name](server.url, str(authority.ca_file), monkeypatch)
        with pytest.raises(RootError):
            root.wrap(SecretBytes(bytes(32)), Context(new_id(), new_id(), new_id()))
        assert server.requests
        assert elsewhere.got == []


COMMANDS = {
    "openbao": (
        "--address http://127.0.0.1:1 --key k --token-file {}",
        "--address http://127.0.0.1:1 --key k --role-id r --secret-id-file {}",
    ),
    "pkcs11": ("--module {module} --token-label t --key-label k --pin-file {}",),
    "gcp": (f"--key-name {NAME} --credentials-file {{}}",),
    "tpm": ("--auth-file {}",),
}
LINES = [f"{kind} {line}" for kind, lines in COMMANDS.items() for line in lines]


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("ending", ["\n\n", "\n\nmore\n", "\x00", "\x1b[2J", "\r\r", "\u00e4"])
@pytest.mark.parametrize("verb", ["set-mode", "roots add"])
def test_a_credential_that_cannot_be_right_is_refused_at_once(
    line: str,
    ending: str,
    verb: str,
    node: Node,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """findings K5, with its own command: `printf 'tok-secret\\n\\n' >t; tsm security kms set-mode openbao …`."""
    file = tmp_path / "t"
    file.write_bytes(f"tok-secret{ending}".encode())
    words = line.format(file, module=__file__).split()
    code = dispatch.main(
        "tsm",
        ["security", "kms", *verb.split(), *words, "--data-dir", str(node.paths.root)],
    )
    out, err = capsys.readouterr()
    assert code == 2, err
    assert "tok-secret" not in out + err
    assert err.startswith("tsm: ")
    assert node.kms_store.root_settings() == ()


def test_a_machine_without_a_tpm_says_so_and_what_to_do(node: Node) -> None:
    """findings D21: "it is tried again by itself", of a command that is over."""
    with pytest.raises(
        RootUnavailableError, match="this machine has no device /dev/no-tpm"
    ) as caught:
        node.modes.set_mode(tpm.settings("device:/dev/no-tpm"), "os:tester")
    assert "tried again by itself" not in caught.value.hint
    assert "firmware" in caught.value.hint
    with pytest.raises(RootUnavailableError) as caught:
        node.modes.set_mode(tpm.settings("swtpm:path=/nonexistent"), "os:tester")
    assert "--tcti" in caught.value.hint


def test_errors_about_credentials_name_the_process_that_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """findings D10: each process has an environment of its own."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setattr("sys.argv", ["/usr/local/bin/strongroom", "serve", "--port", "0"])
    with pytest.raises(RootUnavailableError) as caught:
        aws.build(aws.settings(ARN, "us-west-2"), SystemClock()).check()
    assert "there are no AWS credentials in the environment of 'strongroom serve' (user " in (
        caught.value.message
    )
