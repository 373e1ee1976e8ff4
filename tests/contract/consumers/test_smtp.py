"""What is the mail server's own: TLS, and the ways of saying no."""

import threading
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom.consumers import smtp_account
from strongroom.consumers.base import Credential
from strongroom.consumers.smtp_account import PARAMETER, SmtpConsumer, SmtpSettings
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import ConsumerRefusedError, ConsumerUnavailableError, UsageError
from tests.support.mail_server import MailServer
from tests.support.tls import Authority

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
    monkeypatch.setattr(smtp_account, "_TLS_PORT", mail.port)
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


WORDS = {
    "closing": ({"greeting": b"421 4.7.0 no service for localhost"}, ConsumerUnavailableError),
    "name-refused": ({"greeting": b"550 5.7.1 HELO name is not acceptable"}, ConsumerRefusedError),
    "app-password": ({"refusal": b"534 5.7.9 an app password is needed"}, ConsumerRefusedError),
    "too-many": ({"refusal": b"454 4.7.0 too many logins"}, ConsumerUnavailableError),
    "blocked": (
        {"refusal": b"535 5.7.139 SMTP AUTH is disabled for the tenant"},
        ConsumerRefusedError,
    ),
    "only-oauth": ({"ways": b"XOAUTH2 OAUTHBEARER"}, ConsumerRefusedError),
}


@pytest.mark.parametrize("case", WORDS)
def test_the_mail_servers_own_words_are_told(mail: MailServer, case: str) -> None:
    """Findings K16: `does not answer` was said of servers that answered with a code and a reason."""
    settings, error = WORDS[case]
    (told,) = settings.values()
    for name, value in settings.items():
        setattr(mail, name, value)
    with pytest.raises(error) as caught:
        consumer(mail).login(BAD)
    assert all(word in caught.value.message for word in told.decode().split())
    assert "does not answer" not in caught.value.message


def test_a_password_that_the_mail_server_repeats_is_masked(mail: MailServer) -> None:
    """Findings K5, K16."""
    mail.refusal = b"535 5.7.8 not a password: " + BAD.only().reveal()
    with pytest.raises(ConsumerRefusedError) as caught:
        consumer(mail).login(BAD)
    told = "".join(traceback.format_exception(caught.value))
    assert "535 5.7.8" in told
    assert BAD.only().reveal().decode() not in told


@pytest.mark.parametrize(
    ("own", "named"),
    [
        ("alerts.example.org", "alerts.example.org"),
        ("alerts", "[127.0.0.1]"),
        ("localhost", "[127.0.0.1]"),
        ("localhost.localdomain", "[127.0.0.1]"),
        ("bücher.example", "[127.0.0.1]"),
    ],
)
def test_it_calls_itself_by_its_full_name_or_its_address(
    mail: MailServer, own: str, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Findings K16: servers answer 421 to `EHLO localhost`."""
    monkeypatch.setattr("socket.getfqdn", lambda: own)
    consumer(mail).login(GOOD)
    assert mail.name == named


def test_a_name_service_that_hangs_is_not_waited_for(
    mail: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging = threading.Event()
    monkeypatch.setattr("socket.getfqdn", hanging.wait)
    consumer(mail).login(GOOD)
    assert mail.name == "[127.0.0.1]"
    hanging.set()


def test_the_name_is_a_setting(mail: MailServer) -> None:
    settings = SmtpSettings("127.0.0.1", mail.account, mail.port, ehlo_name="node1.example.org")
    SmtpConsumer(settings).login(GOOD)
    assert mail.name == "node1.example.org"
