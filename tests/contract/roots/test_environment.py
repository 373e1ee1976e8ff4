"""No variable leads a root's library to another server, or gives it others' credentials (findings K4)."""

import base64
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from strongroom.clock import Clock, SystemClock
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import RootUnavailableError
from strongroom.roots import aws, azure, gcp, openbao, outbound
from strongroom.roots.base import RootProvider
from strongroom.roots.settings import RootSettings
from tests.contract.roots.harness import FrontedLab, RootLab
from tests.contract.roots.providers import LABS
from tests.support import cloud_kms
from tests.support.listener import Listener, listening

pytestmark = pytest.mark.table

FOREIGN = "f0reign-credential"
#: Variables that lead a library to a server, to others' credentials or to another way: `{url}` is a listener's.
LEADING = {
    **{
        name: "{url}"
        for upper in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "GRPC_PROXY", "FTP_PROXY")
        for name in (upper, upper.lower())
    },
    **dict.fromkeys(
        (
            "AWS_ENDPOINT_URL",
            "AWS_ENDPOINT_URL_STS",
            "AZURE_AUTHORITY_HOST",
            "BAO_ADDR",
            "BAO_AGENT_ADDR",
            "BAO_PROXY_ADDR",
            "VAULT_ADDR",
            "VAULT_AGENT_ADDR",
            "VAULT_HTTP_PROXY",
            "VAULT_PROXY_ADDR",
            "GOOGLE_API_ENDPOINT",
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDKMS",
            "CLOUDSDK_PROXY_ADDRESS",
        ),
        "{url}",
    ),
    "GOOGLE_CLOUD_UNIVERSE_DOMAIN": "universe.example.org",
    "GOOGLE_API_USE_MTLS_ENDPOINT": "always",
    "VAULT_TOKEN": FOREIGN,
    "BAO_TOKEN": FOREIGN,
    "VAULT_NAMESPACE": FOREIGN,
    "BAO_NAMESPACE": FOREIGN,
    "NETRC": "{home}/other-netrc",
    "HOME": "{home}",
    # a file for certificates of the settings stands before these
    "SSL_CERT_FILE": "/nonexistent.pem",
    "VAULT_CACERT": "/nonexistent.pem",
    "VAULT_CAPATH": "/nonexistent",
    "TSS2_LOG": "all+trace",
    "TPM2TOOLS_TCTI": "device:/nonexistent",
}
every_root = pytest.mark.parametrize("lab", list(LABS), indirect=True)


@pytest.fixture
def listener() -> Iterator[Listener]:
    with listening() as found:
        yield found


def _with_netrc(home: Path) -> None:
    line = f"machine 127.0.0.1\nlogin nobody\npassword {FOREIGN}\ndefault\nlogin x\npassword {FOREIGN}\n"
    for name in (".netrc", "_netrc", "other-netrc"):
        (home / name).write_text(line)
        (home / name).chmod(0o600)
    (home / ".vault-token").write_text(FOREIGN)


@every_root
@pytest.mark.parametrize("variable", LEADING)
def test_no_variable_leads_to_another_server(
    lab: RootLab,
    variable: str,
    listener: Listener,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _with_netrc(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(variable, LEADING[variable].format(url=listener.url, home=tmp_path))
    if isinstance(lab, FrontedLab):
        lab.front.requests.clear()
    lab.root().check()
    assert listener.got == []
    for request in lab.front.requests if isinstance(lab, FrontedLab) else ():
        told = f"{request.path} {request.headers} ".encode() + request.body
        assert FOREIGN.encode() not in told
        assert base64.b64encode(FOREIGN.encode())[:-4] not in told
        assert "Basic" not in request.headers.get("Authorization", "")


AWS_ARN = "arn:aws:kms:eu-north-1:867530990073:key/1abc23de-fa45-6bcd-7e89-1f0aa1234567"
TOKEN = SecretBytes(b"tok-s3cret-of-the-test")
ACCOUNT = SecretBytes(cloud_kms.service_account("https://oauth2.example.org/token"))
#: Root far away → what its library asks of a proxy.
FAR: dict[str, tuple[Callable[[RootSettings, Clock], RootProvider], RootSettings, bytes]] = {
    "openbao": (
        openbao.build,
        openbao.settings("https://bao.example.org:8200", "k", token=TOKEN),
        b"CONNECT bao.example.org:8200",
    ),
    "aws": (
        aws.build,
        aws.settings(AWS_ARN, "eu-north-1"),
        b"CONNECT kms.eu-north-1.amazonaws.com:443",
    ),
    "azure": (
        azure.build,
        azure.settings("k", "https://v.vault.azure.net"),
        b"CONNECT v.vault.azure.net:443",
    ),
    "gcp": (
        gcp.build,
        gcp.settings("projects/p/locations/l/keyRings/r/cryptoKeys/k", credentials=ACCOUNT),
        b"CONNECT cloudkms.googleapis.com:443",
    ),
}


@pytest.mark.parametrize("name", FAR)
@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"])
def test_a_proxy_for_what_is_not_local_is_taken_and_named(
    name: str, variable: str, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    build, settings, asked = FAR[name]
    for key, value in {
        "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": FOREIGN,
        "AWS_CONFIG_FILE": "/nonexistent",
        "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
        "AWS_MAX_ATTEMPTS": "1",
        variable: f"http://proxy-user:pr0xy-secret@127.0.0.1:{listener.port}",
    }.items():
        monkeypatch.setenv(key, value)
    root = build(settings, SystemClock())
    with pytest.raises(RootUnavailableError) as caught:
        root.check()
    assert listener.got
    assert all(got.startswith(asked) for got in listener.got)
    assert not any(TOKEN.reveal() in got or FOREIGN.encode() in got for got in listener.got)
    assert root.describe().details["proxy"] == f"http://127.0.0.1:{listener.port}"
    assert "pr0xy-secret" not in caught.value.message + caught.value.hint
    monkeypatch.setenv("NO_PROXY", ".example.org,.amazonaws.com,.googleapis.com,.azure.net")
    assert "proxy" not in build(settings, SystemClock()).describe().details


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.9.9.9",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "localhost",
        "LOCALHOST.",
        "a.localhost",
        "169.254.169.254",
        "metadata.google.internal",
        "[fe80::1]",
        "0.0.0.0",
        "here.example.org",
    ],
)
def test_what_is_here_takes_no_proxy(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.getaddrinfo", _resolve)
    monkeypatch.setenv("HTTP_PROXY", "proxy.example.org:3128")
    monkeypatch.setenv("ALL_PROXY", "socks5://proxy.example.org")
    assert outbound.proxy_for(f"http://{host}:8200") == ""
    assert outbound.proxies_for(f"http://{host}:8200") == {}
    assert outbound.proxy_for("http://there.example.org:8200") == "http://proxy.example.org:3128"
    assert outbound.proxy_for("http://unknown.example.org") == "http://proxy.example.org:3128"


def _resolve(name: str, _: object) -> list[tuple[object, ...]]:
    if name == "here.example.org":
        return [(2, 1, 6, "", ("127.0.1.1", 0)), (10, 1, 6, "", ("::1", 0, 0, 0))]
    if name == "there.example.org":
        return [(2, 1, 6, "", ("192.0.2.1", 0)), (2, 1, 6, "", ("127.0.0.1", 0))]
    raise OSError("unknown")
