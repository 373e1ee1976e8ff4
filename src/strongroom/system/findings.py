"""The results of checks of links: one line for people, one object for programs."""

from typing import NamedTuple


class Finding(NamedTuple):
    """The result of one check.

    Attributes:
        link: The link that was checked: `zookeeper zk1.example:2281`, `postgres`.
        check: The property of the link: `name`, `tls`, `rights`.
        detail: The state that was found, good or bad.
        is_ok: Whether the state is as it must be.
        hint: The next step for the reader; empty if nothing is to be done.
    """

    link: str
    check: str
    detail: str
    is_ok: bool = True
    hint: str = ""


def bad(link: str, check: str, detail: str, hint: str = "") -> Finding:
    """A finding that is not as it must be."""
    return Finding(link, check, detail, is_ok=False, hint=hint)
