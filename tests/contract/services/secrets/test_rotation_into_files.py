"""Rotations whose components need no server of others: certificates in files, and a mail server's password."""

from pathlib import Path

import pytest

from strongroom.consumers.certificates_files import BUNDLE, PARAMETERS
from strongroom.consumers.smtp_account import PARAMETER
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import UsageError
from strongroom.node import consumers
from strongroom.node.opening import Node
from tests.support.mail_server import MailServer

ACTOR = "os:test"
SMTP = "svcmonitor.notification.smtp"


def apply(node: Node, values: dict[str, str]) -> None:
    for key, value in values.items():
        node.configuration.set(key, value, actor=ACTOR)
    node.configuration.apply(actor=ACTOR)


def value(node: Node, name: str) -> bytes:
    return node.configuration.open_secret(name).reveal()


def test_the_internal_certificates_rotate_into_their_files(node: Node, tmp_path: Path) -> None:
    """The chain in the files is the configured one, and the old root is not trusted any more."""
    directory = tmp_path / "ssl"
    directory.mkdir(mode=0o700)
    apply(node, {"indexandsearchserver.ssl.directory": str(directory)})
    before = {name: value(node, name) for name in PARAMETERS}
    (outcome,) = node.rotation.rotate(ACTOR, ["certs"])
    assert (outcome.state, outcome.consumer) == ("rotated", "certificates/indexandsearchserver")
    after = {name: value(node, name) for name in PARAMETERS}
    assert all(after[name] != before[name] for name in PARAMETERS)
    root = "indexandsearchserver.ssl.root.cert.bytes"
    assert (directory / BUNDLE).read_bytes() == after[root]
    for role in ("admin", "node"):
        shown = (directory / f"{role}.pem").read_bytes()
        assert after[f"indexandsearchserver.ssl.{role}.cert.bytes"] in shown
        assert after[f"indexandsearchserver.ssl.{role}.key.file_bytes"] in shown


def test_certificates_without_their_directory_stay_as_they_are(node: Node, tmp_path: Path) -> None:
    apply(node, {"indexandsearchserver.ssl.directory": str(tmp_path / "nowhere")})
    before = {name: value(node, name) for name in PARAMETERS}
    (outcome,) = node.rotation.rotate(ACTOR, ["certs"])
    assert (outcome.state, outcome.stage) == ("kept", "admit")
    assert {name: value(node, name) for name in PARAMETERS} == before


def test_a_mail_password_is_taken_only_when_it_works(node: Node) -> None:
    """C-01: an administrator makes it; a typing error never becomes the configured value."""
    mail = MailServer(password="set by the provider")
    with mail.listening():
        account = {f"{SMTP}.send_account": mail.account, f"{SMTP}.port": str(mail.port)}
        apply(node, {f"{SMTP}.server": "127.0.0.1", **account, PARAMETER: "of last year"})
        with pytest.raises(UsageError):
            node.rotation.rotate(ACTOR, [PARAMETER])
        typed = SecretBytes(b"set by the provder")
        (outcome,) = node.rotation.rotate(ACTOR, [PARAMETER], value=typed)
        assert (outcome.state, outcome.stage) == ("kept", "login")
        assert value(node, PARAMETER) == b"of last year"
        right = SecretBytes(b"set by the provider")
        (outcome,) = node.rotation.rotate(ACTOR, [PARAMETER], value=right)
        assert outcome.state == "rotated"
        assert value(node, PARAMETER) == b"set by the provider"


def test_a_first_mail_password_is_proved_and_taken(node: Node) -> None:
    mail = MailServer(password="set by the provider")
    with mail.listening():
        account = {f"{SMTP}.send_account": mail.account, f"{SMTP}.port": str(mail.port)}
        apply(node, {f"{SMTP}.server": "127.0.0.1", **account})
        given = SecretBytes(b"set by the provider")
        (outcome,) = node.rotation.rotate(ACTOR, [PARAMETER], value=given)
        assert outcome.state == "rotated"
    assert value(node, PARAMETER) == b"set by the provider"


def test_verify_says_whether_the_configured_value_is_let_in(node: Node) -> None:
    """An administrator's value that was set and applied is proved by a login."""
    assert node.rotation.verify() == []
    with pytest.raises(UsageError, match="no configured component"):
        node.rotation.verify(["redis.password"])
    mail = MailServer(password="set by the provider")
    with mail.listening():
        account = {f"{SMTP}.send_account": mail.account, f"{SMTP}.port": str(mail.port)}
        apply(node, {f"{SMTP}.server": "127.0.0.1", **account})
        (found,) = node.rotation.verify()
        assert "is not set" in found.problem
        apply(node, {PARAMETER: "set by the provder"})
        (found,) = node.rotation.verify([PARAMETER])
        assert "refused" in found.problem
        apply(node, {PARAMETER: "set by the provider"})
        (found,) = node.rotation.verify()
        assert (found.parameters, found.consumer, found.problem) == (
            (PARAMETER,),
            "smtp/alerts",
            "",
        )
    (found,) = node.rotation.verify()
    assert "does not answer" in found.problem


def test_components_are_those_that_are_configured() -> None:
    settings = {
        "indexandsearchserver.ssl.directory": "/nowhere",
        "pgsql.host": "/nowhere",
        "pgsql.port": "5432",
        "pgsql.database": "postgres",
        "pgsql.adminusername": "tblwgadmin",
        "redis.socket": "/nowhere",
        "redis.user": "strongroom",
        f"{SMTP}.server": "mail.example.org",
        f"{SMTP}.send_account": "alerts@example.org",
        f"{SMTP}.port": "587",
        "zookeeper.hosts": "127.0.0.1:2181",
        "zookeeper.root": "/strongroom",
    }

    def effective(name: str) -> str | None:
        return settings.get(name)

    found = consumers.configured(effective, lambda _: ())
    assert [one.describe().id for one in found] == [
        "certificates/indexandsearchserver",
        "postgresql/rails",
        "postgresql/readonly",
        "postgresql/tableau",
        "postgresql/tblwgadmin",
        "redis/strongroom",
        "smtp/alerts",
        "zookeeper/clustercontroller",
        "zookeeper/filestore",
        "zookeeper/tsm",
    ]
    assert consumers.configured(lambda _: None, lambda _: ()) == ()
