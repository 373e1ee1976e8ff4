"""A mail server whose administrator changes the password when a rotation begins."""

import smtplib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from strongroom.consumers.base import Credential
from strongroom.consumers.smtp_account import PARAMETER, SmtpConsumer, SmtpSettings
from strongroom.crypto import rng
from strongroom.system.compat import override
from tests.contract.consumers.harness import Address, ConsumerLab
from tests.support.mail_server import MailServer


class _WithAdministrator(SmtpConsumer):
    """The administrator of the mail server sets the password just before the rotation goes on."""

    mail: MailServer

    @override
    def admit(self, new: Credential, present: Credential) -> None:
        self.mail.password = _text(new)
        super().admit(new, present)


@dataclass
class SmtpLab(ConsumerLab):
    """Only proved here, never changed."""

    mail: MailServer
    listening: ExitStack = field(default_factory=ExitStack)
    changes_component = False
    silent = frozenset({"admit", "withdraw"})

    @property
    @override
    def address(self) -> Address:
        return ("127.0.0.1", self.mail.port)

    @override
    def consumer(
        self, *, address: Address | None = None, wrong_administrator: bool = False
    ) -> SmtpConsumer:
        consumer = _WithAdministrator(
            SmtpSettings("127.0.0.1", self.mail.account, port=self.mail.port)
        )
        consumer.mail = self.mail
        return consumer

    @override
    def reset(self) -> Credential:
        present = self.fresh(Credential({}))
        self.mail.password = _text(present)
        return present

    @override
    def fresh(self, present: Credential) -> Credential:
        return Credential({PARAMETER: rng.new_password()})

    @override
    def accepts(self, credential: Credential) -> bool:
        with smtplib.SMTP("127.0.0.1", self.mail.port, "localhost", timeout=60) as client:
            try:
                client.login(self.mail.account, _text(credential))
            except smtplib.SMTPAuthenticationError:
                return False
        return True

    @override
    def session(self, credential: Credential) -> AbstractContextManager[Callable[[], bool]]:
        raise NotImplementedError

    @override
    @contextmanager
    def down(self) -> Iterator[None]:
        self.listening.close()
        try:
            yield
        finally:
            self.listening.enter_context(self.mail.listening())

    @override
    @contextmanager
    def hung(self) -> Iterator[None]:
        self.mail.speaking.clear()
        try:
            yield
        finally:
            self.mail.speaking.set()

    @override
    def refusing(self) -> AbstractContextManager[None]:
        raise NotImplementedError

    @override
    def kill(self) -> None:
        raise NotImplementedError

    @override
    def traces(self) -> Iterable[bytes]:
        return [" ".join(self.mail.heard).encode()]


def _text(credential: Credential) -> str:
    return credential.only().reveal().decode()


@contextmanager
def start(folder: Path) -> Iterator[SmtpLab]:
    del folder
    lab = SmtpLab(MailServer())
    with lab.listening:
        lab.listening.enter_context(lab.mail.listening())
        yield lab
