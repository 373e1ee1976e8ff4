"""The internal authority and those before it, as a secret of the configuration (docs/format/certificates.md 1); pure."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from strongroom.canonical import ASCII, Fields, Kind, to_base64
from strongroom.crypto import node_certificates
from strongroom.crypto.certificate_parts import BACKDATE
from strongroom.crypto.node_certificates import Authority
from strongroom.crypto.secret import SecretBytes

PARAMETER: Final = "installation.authority"
FORMAT: Final = "strongroom-authorities-1"
MOST_FORMER: Final = 3
"""Authorities that are still believed beside the present one: each ends by itself, or when no node needs it."""
_KIND = Kind("the internal authority", ASCII, most=64 << 10)


class Authorities(NamedTuple):
    """The authorities whose certificates count.

    Attributes:
        present: The authority that signs.
        former: Certificates of those before it, in DER, the newest first.
    """

    present: Authority
    former: tuple[bytes, ...] = ()

    @property
    def certificates(self) -> tuple[bytes, ...]:
        """The certificates of all, the present one first."""
        return (self.present.certificate, *self.former)

    def renewed(self, new: Authority) -> "Authorities":
        """The authorities with a new one, beside which the present one is believed still."""
        return Authorities(new, (self.present.certificate, *self.former)[:MOST_FORMER])

    def without_former(self) -> "Authorities":
        """The present authority alone."""
        return Authorities(self.present)

    def is_due(self, now: datetime) -> bool:
        """Whether there should be a new authority: two thirds of the life of this one are over.

        One that is not valid as yet is left alone: a node whose clock is behind must not replace it for all.
        """
        found = node_certificates.describe(self.present.certificate)
        return now >= found.begins and found.is_due(now)

    def is_used(self, now: datetime, spread: timedelta) -> bool:
        """Whether the present authority is old enough for its certificates to be shown: by then every node believes it."""
        begins = node_certificates.describe(self.present.certificate).begins
        return not self.former or now >= begins + BACKDATE + spread

    def has_issued(self, certificates: Iterable[bytes]) -> bool:
        """Whether all of these are of the present authority."""
        root = self.present.certificate
        return all(node_certificates.is_issued_by(one, root) for one in certificates)

    def serialize(self) -> SecretBytes:
        """The bytes of the secret."""
        members = {
            "format": FORMAT,
            "certificate": to_base64(self.present.certificate),
            "key": to_base64(self.present.key.reveal()),
            "former": [to_base64(one) for one in self.former],
        }
        return SecretBytes(_KIND.dumps(members))


def parse(secret: SecretBytes) -> Authorities:
    """The authorities of a secret.

    Raises:
        FormatError: The bytes are of another form; the message quotes none of them.
    """
    fields = _KIND.loads(secret.reveal())
    fields.check_version("format", FORMAT)
    fields.check_names(("format", "certificate", "key", "former"))
    return Authorities(_present(fields), fields.raws("former"))


def _present(fields: Fields) -> Authority:
    return Authority(fields.raw("certificate"), SecretBytes(fields.raw("key")))
