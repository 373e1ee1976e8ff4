"""What is the mail server's own: TLS, and the ways of saying no."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom.consumers import smtp
from strongroom.consumers.base import Credential
from strongroom.consumers.smtp import PARAMETER, SmtpConsumer, SmtpSettings
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import ConsumerRefusedError, ConsumerUnavailableError, UsageError
from tests.mail_server import MailServer
from tests.tls import Authority

GOOD = Credential({PARAMETER: SecretBytes(b"of the account")})
BAD = Credential({PARAMETER: SecretBytes(b"another one")})


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def mail(authority: Authority) -> Iterator[MailServer]:
    server = MailServer(password="of the account", tls=authority.server_context())
    with server.listening():
        yield server


def consumer(mail: MailServer, ca_file: Path | str = "") -> SmtpConsumer:
    return SmtpConsumer(SmtpSettings("127.0.0.1", mail.account, mail.port, str(ca_file)))


def test_the_password_goes_over_tls(mail: MailServer, authority: Authority) -> None:
    consumer(mail, authority.ca_file).login(GOOD)
    assert mail.heard.index("STARTTLS") < mail.heard.index("AUTH")
    with pytest.raises(ConsumerRefusedError):
        consumer(mail, authority.ca_file).login(BAD)


def test_a_stranger_is_told_no_password(mail: MailServer, tmp_path: Path) -> None:
    with pytest.raises(ConsumerUnavailableError):
        consumer(mail, tmp_path / "stranger-ca.pem").login(GOOD)
    assert "AUTH" not in mail.heard


def test_without_tls_another_machine_is_told_no_password(
    mail: MailServer, authority: Authority
) -> None:
    """The server does not offer STARTTLS, or somebody on the way took the offer out."""
    mail.tls = None
    with pytest.raises(ConsumerRefusedError):
        consumer(mail, authority.ca_file).login(GOOD)
    assert "AUTH" not in mail.heard
    assert not SmtpSettings("mail.example.org", "x").is_plain


def test_tls_from_the_start(
    mail: MailServer, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    mail.from_the_start = True
    monkeypatch.setattr(smtp, "_TLS_PORT", mail.port)
    consumer(mail, authority.ca_file).login(GOOD)
    assert "STARTTLS" not in mail.heard


def test_a_server_that_is_busy_has_not_refused(mail: MailServer) -> None:
    mail.refusal = b"454 4.7.0 temporary authentication failure"
    with pytest.raises(ConsumerUnavailableError):
        consumer(mail).login(BAD)


def test_a_password_that_mail_cannot_carry_is_refused_without_its_text(mail: MailServer) -> None:
    odd = Credential({PARAMETER: SecretBytes("gehéim".encode())})
    with pytest.raises(ConsumerRefusedError, match="ASCII") as caught:
        consumer(mail).login(odd)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_it_needs_an_account() -> None:
    with pytest.raises(UsageError):
        SmtpConsumer(SmtpSettings("localhost", ""))


def test_what_an_administrator_does_is_not_done_here(mail: MailServer) -> None:
    """Nothing was configured before: a first password is only proved."""
    one = consumer(mail)
    one.admit(GOOD, Credential({}))
    one.withdraw(Credential({}), GOOD)
    assert mail.heard == []
    assert not one.describe().ends_old
