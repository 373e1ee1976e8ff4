"""The one parser for addresses of roots (findings K3, K4, K11)."""

from collections.abc import Callable

import pytest

from strongroom.crypto.secret import SecretBytes
from strongroom.errors import UsageError
from strongroom.roots import addresses, aws_connection, azure, gcp, openbao

TOKEN = SecretBytes(b"a-token")
NAME = "projects/p/locations/l/keyRings/r/cryptoKeys/k"
#: Every option and variable that takes an address, by what reads it.
READERS: dict[str, Callable[[str], object]] = {
    "openbao --address": lambda url: openbao.settings(url, "k", token=TOKEN),
    "gcp --endpoint": lambda url: gcp.settings(NAME, endpoint=url),
    "azure --vault-baseurl": lambda url: azure.settings("k", url),
}
WRONG = [
    "bao.example.org",
    "bao.example.org:8200",
    "ftp://bao.example.org",
    "https://",
    "https:///v1",
    "https://:8200",
    "https://bao.example.org:",
    "https://bao.example.org:0",
    "https://bao.example.org:99999",
    "https://bao.example.org:port",
    "https://bao.example.org/v1",
    "https://bao.example.org?x",
    "https://bao.example.org#x",
    "https://user:geheim@bao.example.org",
    "https://bao..example.org",
    "https://-bao.example.org",
    "https://bao example.org",
    "https://bao.example.org\n.evil.org",
    "https://bao.example.org\t",
    "https://[::1",
    "https://::1:8200",
    "https://[v1.x]:8200",
    "https://999.1.1.1",
    "https://2130706433",
    "https://0x7f000001",
    "https://127.1",
    "https://b\u00e4o.example.org",
    "https://" + "a" * 64 + ".org",
    "https://" + ".".join(["abcdefgh"] * 40),
    "http://bao.example.org:8200",
    "http://192.0.2.1",
    "http://localhost.example.org",
    "http://127.0.0.1.example.org",
    "http://[::ffff:192.0.2.1]",
]


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("url", WRONG)
def test_what_is_no_address_is_refused_when_it_is_set(reader: str, url: str) -> None:
    with pytest.raises(UsageError) as caught:
        READERS[reader](url if url.endswith("\t") is False else f"{url}x")
    assert "for example" in caught.value.hint
    assert "geheim" not in f"{caught.value.message}{caught.value.hint}"
    assert caught.value.message.isprintable()


def test_an_endpoint_of_the_environment_is_read_by_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    chain = aws_connection.DefaultChain("us-west-2")
    assert chain.way() == {}
    monkeypatch.setenv(
        "AWS_ENDPOINT_URL_KMS", "HTTPS://VPCE-1.kms.us-west-2.vpce.amazonaws.com:443/"
    )
    assert chain.way() == {"endpoint": "https://vpce-1.kms.us-west-2.vpce.amazonaws.com"}
    monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", "http://192.0.2.1")
    with pytest.raises(UsageError, match="AWS_ENDPOINT_URL_KMS"):
        chain.way()


@pytest.mark.parametrize(
    ("spelled", "canonical"),
    [
        ("https://bao.example.org:8200", "https://bao.example.org:8200"),
        (" 'HTTPS://Bao.Example.ORG.:8200//' ", "https://bao.example.org:8200"),
        ("https://bao.example.org:443/", "https://bao.example.org"),
        ("http://localhost:80", "http://localhost"),
        ("http://127.0.0.1:8200", "http://127.0.0.1:8200"),
        ("http://[0:0:0:0:0:0:0:1]:8200", "http://[::1]:8200"),
        ("http://[::ffff:127.0.0.1]:1", "http://127.0.0.1:1"),
        ("https://a_b.example.org", "https://a_b.example.org"),
    ],
)
def test_one_server_has_one_spelling(spelled: str, canonical: str) -> None:
    assert addresses.parse(spelled, what="x", example="y") == canonical
    assert addresses.parse(canonical, what="x", example="y") == canonical


def test_ids_are_compared_in_that_spelling() -> None:
    assert addresses.respelled("https://V.Vault.Azure.net:443/keys/K/1") == (
        "https://v.vault.azure.net/keys/K/1"
    )
    for other in (NAME, "https://a..b/keys/K", "tpm:device:/dev/tpmrm0"):
        assert addresses.respelled(other) == other
