"""When the end of a credential is due: by the rule of certificates, or in the last third of a short life (findings K21)."""

from datetime import datetime, timedelta

from strongroom.clock import format_utc
from strongroom.roots.base import CredentialEnd

#: The notice before an end, the same as for a certificate: longer than a holiday of the person who acts on it.
BEFORE = timedelta(days=30)


def of(notice: str, ends_at: datetime, whole: timedelta) -> CredentialEnd:
    """The end of a credential.

    Args:
        notice: The credential that ends and the action to take, in words.
        ends_at: The time of the end.
        whole: The whole life of the credential; the end is due in its last third at the earliest.
    """
    return CredentialEnd(format_utc(ends_at), format_utc(ends_at - min(BEFORE, whole / 3)), notice)


def unknown(notice: str, now: datetime) -> CredentialEnd:
    """An end that will come at a time that is not known; so it is due at once."""
    return CredentialEnd("", format_utc(now), notice)
