"""Certificate, chain and key that cannot serve HTTPS: refused at apply, told by `status` when they go bad (findings K18)."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.x509.oid import NameOID

from strongroom.cli import dispatch
from strongroom.clock import FixedClock
from strongroom.errors import UsageError
from strongroom.node import opening
from strongroom.node.opening import Node
from strongroom.services.configuration import https_material

ACTOR = "os:tester"
NOW = datetime.now(UTC)
PHRASE = "opens the key"


@dataclass(frozen=True)
class Issued:
    certificate: x509.Certificate
    key: Any

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    def key_pem(self, phrase: str = "") -> str:
        lock = (
            serialization.BestAvailableEncryption(phrase.encode())
            if phrase
            else serialization.NoEncryption()
        )
        form = serialization.PrivateFormat.PKCS8
        return str(self.key.private_bytes(serialization.Encoding.PEM, form, lock), "ascii")


def _issue(
    name: str, issuer: Issued | None = None, key: Any = None, *, begin: int = -1, end: int = 90
) -> Issued:
    """A certificate, valid from and to so many days from now."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signer = issuer or Issued(None, key)  # type: ignore[arg-type]  # its own
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + timedelta(days=begin))
        .not_valid_after(NOW + timedelta(days=end))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .sign(signer.key, hashes.SHA256())
    )
    return Issued(certificate, key)


ROOT = _issue("root")
MIDDLE = _issue("middle", ROOT)
LEAF = _issue("leaf", MIDDLE)
OTHER = _issue("other", MIDDLE)
EXPIRED = _issue("expired", MIDDLE, begin=-9, end=-1)
EARLY = _issue("early", MIDDLE, begin=2)
OLD_MIDDLE = _issue("old middle", ROOT, begin=-9, end=-1)
UNDER_OLD = _issue("under old", OLD_MIDDLE)


def _values(leaf: Issued, chain: str = "", key: str = "", phrase: str = "") -> dict[str, str]:
    values = {
        "ssl.cert.file_bytes": leaf.pem,
        "ssl.chain.file_bytes": chain,
        "ssl.key.file_bytes": key or leaf.key_pem(),
        "ssl.key.passphrase": phrase,
    }
    return {name: text for name, text in values.items() if text}


def _of_kind(key: Any) -> Callable[[], dict[str, str]]:
    return lambda: _values(_issue("kind", MIDDLE, key), MIDDLE.pem)


BAD: dict[str, tuple[Callable[[], dict[str, str]], str]] = {
    "another key": (
        lambda: _values(LEAF, key=OTHER.key_pem()),
        "belongs to another certificate than 'CN=leaf'",
    ),
    "wrong passphrase": (
        lambda: _values(LEAF, key=LEAF.key_pem(PHRASE), phrase="wrong"),
        "the passphrase is wrong",
    ),
    "no passphrase": (lambda: _values(LEAF, key=LEAF.key_pem(PHRASE)), "there is no passphrase"),
    "expired": (lambda: _values(EXPIRED), "'CN=expired' ended on"),
    "not yet valid": (lambda: _values(EARLY), "'CN=early' is not valid before"),
    "expired chain": (lambda: _values(UNDER_OLD, OLD_MIDDLE.pem), "'CN=old middle' ended on"),
    "chain in the wrong order": (lambda: _values(LEAF, ROOT.pem + MIDDLE.pem), "wrong order"),
    "leaf not first": (
        lambda: {**_values(LEAF), "ssl.cert.file_bytes": MIDDLE.pem + LEAF.pem},
        "number 2, and must be the first",
    ),
    "chain of others": (lambda: _values(LEAF, ROOT.pem), "did not issue number 1"),
    "leaf twice": (lambda: _values(LEAF, LEAF.pem + MIDDLE.pem), "wrong order"),
    "DSA": (_of_kind(dsa.generate_private_key(2048)), "of a kind that TLS does not use"),
    "RSA of 1024 bits": (
        _of_kind(rsa.generate_private_key(65537, 1024)),
        "the TLS library refuses",
    ),
    "a curve that nobody uses": (
        _of_kind(ec.generate_private_key(ec.SECP192R1())),
        "the TLS library refuses",
    ),
    "garbage for a certificate": (
        lambda: {**_values(LEAF), "ssl.cert.file_bytes": "garbage"},
        "the certificate is damaged",
    ),
    "garbage in the chain": (lambda: _values(LEAF, "garbage"), "the chain is damaged"),
    "garbage for a key": (lambda: _values(LEAF, key="garbage"), "the private key is damaged"),
    "certificate for a key": (lambda: _values(LEAF, key=LEAF.pem), "the private key is damaged"),
    "a cut certificate": (
        lambda: {**_values(LEAF), "ssl.cert.file_bytes": LEAF.pem[:200]},
        "the certificate is damaged",
    ),
    "UTF-16": (
        lambda: {**_values(LEAF), "ssl.cert.file_bytes": "\x00".join(LEAF.pem[:80])},
        "damaged",
    ),
}
GOOD: dict[str, Callable[[], dict[str, str]]] = {
    "leaf alone": lambda: _values(LEAF),
    "with its chain": lambda: _values(LEAF, MIDDLE.pem),
    "with the root": lambda: _values(LEAF, MIDDLE.pem + ROOT.pem),
    "chain in the certificate": lambda: {
        **_values(LEAF),
        "ssl.cert.file_bytes": LEAF.pem + MIDDLE.pem,
    },
    "self-signed": lambda: _values(ROOT),
    "byte order marks": lambda: {
        name: "\ufeff" + text for name, text in _values(LEAF, MIDDLE.pem).items()
    },
    "CRLF": lambda: {
        name: text.replace("\n", "\r\n") for name, text in _values(LEAF, MIDDLE.pem).items()
    },
    "words before it": lambda: {
        **_values(LEAF),
        "ssl.cert.file_bytes": "Bag Attributes\n" + LEAF.pem,
    },
    "encrypted": lambda: _values(LEAF, key=LEAF.key_pem(PHRASE), phrase=PHRASE),
    "a passphrase for nothing": lambda: _values(LEAF, phrase=PHRASE),
    "RSA": _of_kind(rsa.generate_private_key(65537, 2048)),
    "P-384": _of_kind(ec.generate_private_key(ec.SECP384R1())),
    "Ed25519": _of_kind(ed25519.Ed25519PrivateKey.generate()),
    "Ed448": _of_kind(ed448.Ed448PrivateKey.generate()),
}


@pytest.fixture
def node(node_dir: Path) -> Iterator[Node]:
    opened = opening.open_node(str(node_dir))
    yield opened
    opened.close()


def _stage(node: Node, values: dict[str, str]) -> None:
    for name, text in values.items():
        node.configuration.set(name, text, actor=ACTOR)


def _status(node: Node, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    capsys.readouterr()
    code = dispatch.main("tsm", ["status", "--data-dir", str(node.paths.root)])
    return code, capsys.readouterr().err


@pytest.mark.parametrize("kind", BAD)
def test_what_cannot_serve_is_refused_at_apply(node: Node, kind: str) -> None:
    """findings K18: it was applied; there was no HTTPS, and status said RUNNING and 0."""
    make, why = BAD[kind]
    _stage(node, make())
    before = node.configuration.version
    with pytest.raises(UsageError, match="nothing was applied: HTTPS cannot be served") as refused:
        node.configuration.apply(actor=ACTOR)
    assert why in refused.value.message
    assert PHRASE not in str(refused.value)
    assert node.configuration.version == before
    assert node.configuration.has_pending
    _stage(node, {**GOOD["with its chain"](), "ssl.key.passphrase": "x"})
    node.configuration.apply(actor=ACTOR)


@pytest.mark.parametrize("kind", GOOD)
def test_what_can_serve_is_applied(
    node: Node, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _stage(node, {**GOOD[kind](), "gateway.https.port": "8443"})
    node.configuration.apply(actor=ACTOR)
    assert _status(node, capsys)[0] == 0
    assert https_material.problem(node.configuration, node.clock) == ""


def test_the_command_says_it_in_a_sentence(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    """findings K18"""
    _stage(node, BAD["another key"][0]())
    words = ["pending-changes", "apply", "--ignore-prompt", "--data-dir", str(node.paths.root)]
    assert dispatch.main("tsm", words) == 2
    said = capsys.readouterr().err
    assert "the private key belongs to another certificate than 'CN=leaf'" in said
    assert "in one transaction" in said


def test_status_says_when_it_has_gone_bad(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    """findings K18: it ends while it is in force; a node of the version before may hold anything."""
    _stage(node, {**GOOD["with its chain"](), "gateway.https.port": "8443"})
    node.configuration.apply(actor=ACTOR)
    later = FixedClock(NOW + timedelta(days=91))
    assert "'CN=leaf' ended on" in https_material.problem(node.configuration, later)
    node.configuration.checks.clear()  # as the version before, which had none
    for kind, (make, why) in BAD.items():
        gone = dict.fromkeys(GOOD["encrypted"](), "")
        for name in gone:
            node.configuration.reset(name, actor=ACTOR)
        node.configuration.reset("ssl.chain.file_bytes", actor=ACTOR)
        node.configuration.apply(actor=ACTOR)
        _stage(node, make())
        node.configuration.apply(actor=ACTOR)
        code, said = _status(node, capsys)
        assert code == 1, kind
        assert why in said, kind
        words = ["status", "--json", "--data-dir", str(node.paths.root)]
        assert dispatch.main("tsm", words) == 1
        assert why in json.loads(capsys.readouterr().out)["processes"]["https listener"]


@pytest.mark.parametrize("missing", ["ssl.cert.file_bytes", "ssl.key.file_bytes"])
def test_status_says_what_is_missing_for_https(
    node: Node, missing: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """findings K18: parts may be set one after the other, but a port without them is told."""
    values = GOOD["leaf alone"]()
    del values[missing]
    _stage(node, values)
    node.configuration.apply(actor=ACTOR)
    assert _status(node, capsys)[0] == 0  # nobody asked for HTTPS
    _stage(node, {"gateway.https.port": "8443"})
    node.configuration.apply(actor=ACTOR)
    code, said = _status(node, capsys)
    assert code == 1
    assert f"HTTPS on port 8443 has no {missing}" in said


@pytest.mark.parametrize("role", ["root", "admin", "node"])
def test_the_pairs_of_the_search_server_must_belong_together(node: Node, role: str) -> None:
    """findings K18, a sibling: its certificates are parameters too."""
    stem = f"indexandsearchserver.ssl.{role}"
    _stage(node, {f"{stem}.cert.bytes": LEAF.pem, f"{stem}.key.file_bytes": OTHER.key_pem()})
    with pytest.raises(UsageError, match="belongs to another certificate"):
        node.configuration.apply(actor=ACTOR)
    _stage(node, {f"{stem}.key.file_bytes": LEAF.key_pem()})
    node.configuration.apply(actor=ACTOR)
