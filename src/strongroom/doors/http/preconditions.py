"""Conditional requests for downloads (RFC 9110 section 13): pure.

The validator is strong: it names the stored file, and every publication has one of its own. The time of publication
counts whole seconds, in which a file may be replaced twice; it is a weak one, and no range is ever joined by it.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from enum import Enum
from typing import Final

_CONDITIONS: Final = ("if-match", "if-unmodified-since", "if-none-match", "if-modified-since")


class Verdict(Enum):
    """The result of a request's conditions."""

    SEND = 200
    NOT_MODIFIED = 304
    FAILED = 412


def verdict(headers: Mapping[str, str], tag: str, changed: datetime) -> Verdict:
    """Whether to send, in the order of section 13.2.2.

    Args:
        headers: Of the request.
        tag: The strong entity tag of what would be sent, with its quotation marks.
        changed: The time of publication, in whole seconds.
    """
    match = headers.get("if-match")
    if match is not None:
        if not _lists(match, tag, weak=False):
            return Verdict.FAILED
    elif _before(headers.get("if-unmodified-since"), changed):
        return Verdict.FAILED
    none_match = headers.get("if-none-match")
    if none_match is not None:
        return Verdict.NOT_MODIFIED if _lists(none_match, tag, weak=True) else Verdict.SEND
    since = _date(headers.get("if-modified-since"))
    return Verdict.NOT_MODIFIED if since is not None and changed <= since else Verdict.SEND


def may_end_early(headers: Mapping[str, str]) -> bool:
    """Whether a request has a condition by which its answer may be another one than the file."""
    return any(name in headers for name in _CONDITIONS)


def range_header(headers: Mapping[str, str], tag: str) -> str:
    """The range that is asked for; none if it is of another file than the one that is there (section 13.1.5).

    A date in `If-Range` is never taken for the same file, so its sender gets the whole one.
    """
    condition = headers.get("if-range")
    return headers.get("range", "") if condition is None or condition.strip() == tag else ""


def entity_tag(version: str) -> str:
    """A version as a strong entity tag."""
    return f'"{version}"'


def http_date(moment: datetime) -> str:
    """A time as HTTP writes it."""
    return format_datetime(moment.astimezone(UTC), usegmt=True)


def _lists(header: str, tag: str, *, weak: bool) -> bool:
    """Whether a list of entity tags has ours; weak ones of the same file count only where comparison is weak."""
    tags = [part.strip() for part in header.split(",")]
    return "*" in tags or tag in tags or (weak and f"W/{tag}" in tags)


def _before(header: str | None, changed: datetime) -> bool:
    moment = _date(header)
    return moment is not None and changed > moment


def _date(header: str | None) -> datetime | None:
    """A date of a header; one that cannot be read is as if it were not there."""
    if header is None:
        return None
    try:
        moment = parsedate_to_datetime(header)
    except (TypeError, ValueError, OverflowError):
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
