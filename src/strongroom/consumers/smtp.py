"""The mail server for alerts: a password that its provider's administrator makes, and that is only proved here.

Nothing in the mail server is ours to change. A rotation takes the new password from an administrator, logs in with it, and
only then promotes it: a typing error never becomes the configured value. It is sent over TLS, or within this machine.
"""

import ipaddress
import smtplib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from strongroom.consumers.base import ConsumerDescription, Credential, SecretCopy
from strongroom.errors import ConsumerRefusedError, ConsumerUnavailableError, UsageError

PARAMETER = "svcmonitor.notification.smtp.password"
_TLS_PORT = 465
_ANSWER_S = 4.0
_OWN_NAME = "localhost"
"""Told to the server; the library would ask the name service for one."""


@dataclass(frozen=True)
class SmtpSettings:
    """Where mail for alerts goes, and who sends it.

    Attributes:
        host: The mail server.
        account: Who logs in.
        port: 465 speaks TLS from the start; others by STARTTLS.
        ca_file: The authority of its TLS certificate; without it, the system's.
    """

    host: str
    account: str
    port: int = 587
    ca_file: str = ""

    @property
    def is_plain(self) -> bool:
        """Whether nothing leaves this machine, and no TLS was asked for."""
        return not self.ca_file and self.port != _TLS_PORT and _is_loopback(self.host)


class SmtpConsumer:
    """One account of a mail server."""

    def __init__(self, settings: SmtpSettings) -> None:
        """Take the settings; nobody is asked.

        Raises:
            UsageError: No account is named.
        """
        if not settings.account:
            raise UsageError(
                "the mail server needs an account to log in to",
                hint="set svcmonitor.notification.smtp.send_account",
            )
        self._settings = settings

    def describe(self) -> ConsumerDescription:
        """What the provider lets overlap, or ends, is not known here."""
        settings = self._settings
        where = f"{settings.host}:{settings.port}, account {settings.account}"
        return ConsumerDescription(
            "smtp/alerts", "smtp", (PARAMETER,), where, overlaps=False, ends_old=False
        )

    def admit(self, new: Credential, present: Credential) -> None:
        """The administrator of the mail server did it."""
        del new, present

    def login(self, credential: Credential) -> None:
        """A real AUTH."""
        with self._translated(), self._connected() as server:
            server.login(self._settings.account, credential.only().reveal().decode())

    def withdraw(self, old: Credential, present: Credential) -> None:
        """The administrator of the mail server does it."""
        del old, present

    def copies(self) -> tuple[SecretCopy, ...]:
        """None that we know of."""
        return ()

    # ---- inside ----------------------------------------------------------------------------------

    @contextmanager
    def _connected(self) -> Iterator[smtplib.SMTP]:
        settings = self._settings
        tls = ssl.create_default_context(cafile=settings.ca_file or None)
        address = (settings.host, settings.port, _OWN_NAME)
        if settings.port == _TLS_PORT:
            connection: smtplib.SMTP = smtplib.SMTP_SSL(*address, timeout=_ANSWER_S, context=tls)
        else:
            connection = smtplib.SMTP(*address, timeout=_ANSWER_S)
        with connection:
            if settings.port != _TLS_PORT and not settings.is_plain:
                connection.starttls(context=tls)
            yield connection

    @contextmanager
    def _translated(self) -> Iterator[None]:
        where = self.describe().where
        try:
            yield
        except (smtplib.SMTPAuthenticationError, smtplib.SMTPNotSupportedError) as error:
            if isinstance(error, smtplib.SMTPAuthenticationError) and error.smtp_code < 500:
                raise ConsumerUnavailableError(f"no login at {where} now") from error
            raise ConsumerRefusedError(
                f"the mail server refused the login at {where}",
                hint="have its administrator set the password, then give it here",
            ) from error
        except UnicodeError:
            # its text would quote the password
            raise ConsumerRefusedError("mail servers take passwords of ASCII only") from None
        except (OSError, smtplib.SMTPException) as error:
            raise ConsumerUnavailableError(f"the mail server does not answer at {where}") from error


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
