"""Proves a new password of the mail server for alerts, which an administrator of the mail server has made.

The node cannot change anything in the mail server. A rotation takes the new password from an administrator, logs in
with it, and only then makes it the configured value, so that a typing error never gets there. The password is sent over
TLS, or within this machine.
"""

import smtplib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from strongroom import foreign_words
from strongroom.consumers import tls
from strongroom.consumers.base import ConsumerDescription, Credential, SecretCopy
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import (
    ConsumerError,
    ConsumerRefusedError,
    ConsumerUnavailableError,
    UsageError,
)
from strongroom.system import hosts

PARAMETER = "svcmonitor.notification.smtp.password"
_TLS_PORT = 465
_ANSWER_S = 4.0
_REFUSED, _PERMANENT = 400, 500
_CLOSING = 421
_NAME_S = 1.0
_PLACEHOLDER = "[127.0.0.1]"
"""The host's name before a connection exists; without a name the library would ask the name service."""
_KNOWN = ("CRAM-MD5", "PLAIN", "LOGIN")
"""The SASL mechanisms for a login with a password that the library knows."""


@dataclass(frozen=True)
class SmtpSettings:
    """The address of the mail server for alerts, and the account that sends.

    Attributes:
        host: The mail server.
        account: The account to log in to.
        port: The server's port; 465 uses TLS from the start, any other port STARTTLS.
        ca_file: The certificate authority that must have issued the server's certificate; empty for the system's.
        ehlo_name: The name by which this host introduces itself; empty for its full name or its address.
    """

    host: str
    account: str
    port: int = 587
    ca_file: str = ""
    ehlo_name: str = ""

    @property
    def is_plain(self) -> bool:
        """Whether the connection is unencrypted: the server is on this machine, and neither `ca_file` nor port 465 is set."""
        return not self.ca_file and self.port != _TLS_PORT and hosts.is_loopback(self.host)


class SmtpConsumer:
    """An account of a mail server."""

    def __init__(self, settings: SmtpSettings) -> None:
        """Check and keep the settings; sends no request.

        Raises:
            UsageError: The settings name no account.
        """
        if not settings.account:
            raise UsageError(
                "the mail server needs an account to log in to",
                hint="set svcmonitor.notification.smtp.send_account",
            )
        self._settings = settings

    def describe(self) -> ConsumerDescription:
        """An account, whose passwords the node can neither add nor end."""
        settings = self._settings
        where = f"{hosts.bracketed(settings.host)}:{settings.port}, account {settings.account}"
        return ConsumerDescription(
            "smtp/alerts", "smtp", (PARAMETER,), where, overlaps=False, ends_old=False
        )

    def admit(self, new: Credential, present: Credential) -> None:
        """Do nothing: the administrator of the mail server has set the password already."""
        del new, present

    def login(self, credential: Credential) -> None:
        """Log in with a real AUTH command."""
        password = credential.only()
        with self._translated(password), self._connected() as server:
            self._log_in(server, password)

    def take_back(self, new: Credential, present: Credential) -> None:
        """Do nothing, since `admit` has changed nothing."""
        del new, present

    def withdraw(self, old: Credential, present: Credential) -> None:
        """Do nothing: the administrator of the mail server ends the old password."""
        del old, present

    def remarks(self) -> tuple[str, ...]:
        """None."""
        return ()

    def copies(self) -> tuple[SecretCopy, ...]:
        """No copies: the mail server's own are not visible from here."""
        return ()

    # ---- inside ----------------------------------------------------------------------------------

    def _log_in(self, server: smtplib.SMTP, password: SecretBytes) -> None:
        _greet(server)
        offered = server.esmtp_features.get("auth", "").split()
        if offered and not set(offered) & set(_KNOWN):
            raise ConsumerRefusedError(
                f"the mail server at {self._where} offers only {', '.join(offered)}, and no login by a password",
                hint="its administrator may allow SMTP AUTH by password, or an app password, for this account",
            )
        server.login(self._settings.account, password.reveal().decode())

    @contextmanager
    def _connected(self) -> Iterator[smtplib.SMTP]:
        settings = self._settings
        context = tls.context(settings.ca_file)
        address = (settings.host, settings.port, settings.ehlo_name or _PLACEHOLDER)
        if settings.port == _TLS_PORT:
            connection: smtplib.SMTP = smtplib.SMTP_SSL(
                *address, timeout=_ANSWER_S, context=context
            )
        else:
            connection = smtplib.SMTP(*address, timeout=_ANSWER_S)
        with connection:
            # the library sends this name with its first command
            connection.local_hostname = settings.ehlo_name or _own_name(connection)
            if settings.port != _TLS_PORT and not settings.is_plain:
                _greet(connection)
                connection.starttls(context=context)
            yield connection

    @contextmanager
    def _translated(self, password: SecretBytes) -> Iterator[None]:
        try:
            yield
        except UnicodeError:
            # the text of the exception would quote the password
            raise ConsumerRefusedError("mail servers take passwords of ASCII only") from None
        except (OSError, smtplib.SMTPException) as error:
            raise self._error(error, password) from foreign_words.cause(error, password)

    def _error(self, error: Exception, password: SecretBytes) -> ConsumerError:
        code, said = _answer(error, password)
        login = isinstance(error, smtplib.SMTPAuthenticationError)
        if isinstance(error, smtplib.SMTPNotSupportedError) or (login and code >= _PERMANENT):
            return ConsumerRefusedError(
                f"the mail server refused the login at {self._where}: {said}",
                hint="have its administrator set the password, then give it here",
            )
        if login:
            return ConsumerUnavailableError(f"no login at {self._where} now: {said}")
        if code >= _PERMANENT:
            return ConsumerRefusedError(
                f"the mail server refused the conversation at {self._where}: {said}",
                hint="the name that this host gives is svcmonitor.notification.smtp.ehlo_name",
            )
        if code:
            return ConsumerUnavailableError(
                f"the mail server at {self._where} does not serve now: {said}",
                hint="the name that this host gives is svcmonitor.notification.smtp.ehlo_name",
            )
        return ConsumerUnavailableError(f"the mail server does not answer at {self._where}: {said}")

    @property
    def _where(self) -> str:
        return self.describe().where


def _answer(error: Exception, password: SecretBytes) -> tuple[int, str]:
    """Code and words of the mail server; 0 and the library's words if it gave none."""
    if isinstance(error, smtplib.SMTPResponseException):
        code = int(error.smtp_code)
        return code, f"{code} {foreign_words.of(error.smtp_error, password)}"
    return 0, foreign_words.of(error, password)


def _greet(server: smtplib.SMTP) -> None:
    """Send EHLO, or HELO if the server does not know EHLO; raises the reason of a server that hangs up (RFC 5321 3.8)."""
    code, said = server.ehlo()
    if code >= _REFUSED and code != _CLOSING:
        code, said = server.helo()
    if code >= _REFUSED:
        raise smtplib.SMTPHeloError(code, said)


def _own_name(connection: smtplib.SMTP) -> str:
    """The name of this host for EHLO: its full name, or its own address in this connection (RFC 5321 4.1.3, 4.1.4).

    Mail servers refuse a name like `localhost`.
    """
    name = _full_name()
    if "." in name.strip(".") and name.isascii() and not name.startswith("localhost"):
        return name
    own = str(connection.sock.getsockname()[0]) if connection.sock else "127.0.0.1"
    return f"[IPv6:{own}]" if ":" in own else f"[{own}]"


def _full_name() -> str:
    """The full name of this host by its name service, with a short limit, since a mail server would hang up meanwhile."""
    found: list[str] = []
    asking = threading.Thread(target=lambda: found.append(socket.getfqdn()), daemon=True)
    asking.start()
    asking.join(_NAME_S)
    return found[0] if found else ""
