"""The mail server for alerts: the account whose password is a secret parameter."""

from typing import TYPE_CHECKING

from strongroom.consumers.kinds import ConsumerKind, Effective, Setting, authority
from strongroom.system import values

if TYPE_CHECKING:
    from strongroom.consumers.base import Candidates, Consumer

_STEM = "svcmonitor.notification.smtp"


def build(effective: Effective, candidates: "Candidates") -> "tuple[Consumer, ...]":
    """The account, if a server is set."""
    del candidates  # the mail server's administrator is not ours
    host = effective(f"{_STEM}.server") or ""
    if not host:
        return ()
    from strongroom.consumers.smtp_account import SmtpConsumer, SmtpSettings

    settings = SmtpSettings(
        host,
        effective(f"{_STEM}.send_account") or "",
        port=int(effective(f"{_STEM}.port") or 0),
        ca_file=effective(f"{_STEM}.ca_file") or "",
        ehlo_name=effective(f"{_STEM}.ehlo_name") or "",
    )
    return (SmtpConsumer(settings),)


def _settings() -> tuple[Setting, ...]:
    host = "host of the mail server for alerts; none: not used"
    port = "port of the mail server; 465 is TLS from the start"
    own = "what this host calls itself to the mail server; without it, its full name or its address"
    ca_file = authority("the mail server", without="the system's")
    return (
        Setting(f"{_STEM}.server", None, values.host, host),
        Setting(f"{_STEM}.port", "587", values.port, port),
        Setting(f"{_STEM}.ehlo_name", None, values.host, own),
        Setting(f"{_STEM}.send_account", None, values.name, "who logs in there"),
        Setting(f"{_STEM}.ca_file", None, values.path, ca_file),
    )


CONSUMER = ConsumerKind("smtp", _settings(), build)
