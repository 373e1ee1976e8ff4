"""The life of a token of OpenBao; a part of `roots.openbao`, pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from strongroom.roots import ends
from strongroom.roots.base import CredentialEnd

SLACK_S = 60.0
NOTICE = "the token cannot be renewed beyond it; give a new one to the same 'set-mode' or 'roots add' command"


@dataclass(frozen=True)
class Lease:
    """The remaining life of a token, as the server reported it.

    Attributes:
        token: The token.
        since: The time of the report, in seconds of the monotonic clock.
        ttl_s: The seconds of life that remained then; 0 for a token that never ends.
        renewable: Whether the token can be renewed.
        end: The end of the token that no renewal can move, if it is known.
    """

    token: str = field(repr=False)
    since: float
    ttl_s: float
    renewable: bool
    end: CredentialEnd | None = None

    def is_due(self, at: float) -> bool:
        """Whether half of its time is over at a moment."""
        return self.renewable and self.ttl_s > 0 and at >= self.since + self.ttl_s / 2


def end_of(told: Mapping[str, Any], now: datetime) -> CredentialEnd | None:
    """The end of a token that no renewal can move, from the server's report; None if it can be renewed without end.

    A token without a period and an explicit maximum has the maximum of its mount, which the server does not report:
    only a renewal that gives less than the full time shows that the maximum is near.
    """
    ttl_s = float(told["ttl"])
    created = datetime.fromtimestamp(float(told.get("creation_time") or now.timestamp()), UTC)
    if ttl_s <= 0:  # the root token, which never ends
        return None
    expires = now + timedelta(seconds=ttl_s)
    if told.get("renewable"):
        explicit_s = float(told.get("explicit_max_ttl") or 0)
        renewed = float(told.get("last_renewal_time") or 0) + float(told.get("creation_ttl") or 0)
        if explicit_s > 0:
            expires = created + timedelta(seconds=explicit_s)
        elif told.get("period") or renewed < expires.timestamp() + SLACK_S:
            return None
    return ends.of(NOTICE, expires, expires - created)
