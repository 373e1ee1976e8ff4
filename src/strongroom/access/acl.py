"""Policies of services: paths, capabilities, and which of several rules decides; pure.

The rules are Vault's, so that policies move unchanged. Of all rules whose path fits, one decides: an exact path before
any pattern, then the more specific pattern. Rules of several policies for the same path are joined, and `deny` among
them wins.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Capability(StrEnum):
    """Capabilities: all that a rule may allow at a path."""

    CREATE = "create"
    READ = "read"
    UPDATE = "update"
    PATCH = "patch"
    DELETE = "delete"
    LIST = "list"
    SUDO = "sudo"
    DENY = "deny"


_ALL = frozenset(Capability) - {Capability.DENY}
_MOST_KNOWN = 256
"""Paths whose decision is remembered."""
_LONGEST_KNOWN = 1024
"""Characters of a path that is remembered; a caller may ask about longer ones, in a body."""

Rules = Mapping[str, frozenset[Capability]]
"""The rules of one policy: capabilities by path."""

ROOT = "root"
"""The policy that allows everything; it has no text."""
DEFAULT = "default"
"""The policy that every token has unless its maker says otherwise."""
DEFAULT_TEXT = """\
# what a token may do about itself
path "auth/token/lookup-self" {
  capabilities = ["read"]
}
path "auth/token/renew-self" {
  capabilities = ["update"]
}
path "auth/token/revoke-self" {
  capabilities = ["update"]
}
path "sys/capabilities-self" {
  capabilities = ["update"]
}
path "sys/internal/ui/mounts/*" {
  capabilities = ["read"]
}
path "sys/wrapping/lookup" {
  capabilities = ["update"]
}
path "sys/wrapping/unwrap" {
  capabilities = ["update"]
}
path "sys/wrapping/wrap" {
  capabilities = ["update"]
}
"""


@dataclass(frozen=True)
class Acl:
    """All rules of a caller.

    Attributes:
        rules: The joined rules by path.
        is_root: Whether the caller may do everything.
    """

    rules: Rules
    is_root: bool = False
    _known: dict[str, frozenset[Capability]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @classmethod
    def of(cls, policies: Iterable[Rules], *, is_root: bool = False) -> "Acl":
        """The rules of several policies, joined."""
        joined: dict[str, frozenset[Capability]] = {}
        for rules in policies:
            for path, capabilities in rules.items():
                joined[path] = joined.get(path, frozenset()) | capabilities
        return cls(joined, is_root)

    def capabilities(self, path: str) -> frozenset[Capability]:
        """The capabilities of the caller at a path; empty, or `deny` alone, is nothing."""
        if self.is_root:
            return _ALL
        found = self._known.get(path)
        if found is None and len(path) > _LONGEST_KNOWN:
            found = self._decided(path)
        elif found is None:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            found = self._known[path] = self._decided(path)
        return found

    def _decided(self, path: str) -> frozenset[Capability]:
        found = self.rules.get(path)
        if found is None:
            fitting = [one for one in self.rules if _fits(one, path)]
            if not fitting:
                return frozenset()
            found = self.rules[max(fitting, key=_precedence)]
        return frozenset({Capability.DENY}) if Capability.DENY in found else found

    def allows(self, path: str, capability: Capability) -> bool:
        """Whether the caller may do this at a path."""
        return capability in self.capabilities(path)


def _fits(pattern: str, path: str) -> bool:
    """Whether a path fits a pattern: `+` stands for one segment, `*` at the end for any rest."""
    is_open = pattern.endswith("*")
    wanted = (pattern[:-1] if is_open else pattern).split("/")
    given = path.split("/")
    if len(given) < len(wanted) or (len(given) > len(wanted) and not is_open):
        return False
    *inner, last = wanted
    if not all(_is_segment(one, other) for one, other in zip(inner, given, strict=False)):
        return False
    rest = "/".join(given[len(inner) :])
    if is_open:
        return rest.startswith(last) if last != "+" else True
    return _is_segment(last, rest)


def _is_segment(wanted: str, given: str) -> bool:
    return wanted in {"+", given}


def _precedence(pattern: str) -> tuple[int, bool, int, int, str]:
    """The rank of a pattern, the highest decides: a later first wildcard, no `*`, fewer `+`, a longer text."""
    plus = [i for i, one in enumerate(pattern) if one == "+" and _is_whole_segment(pattern, i)]
    ends: list[int] = [len(pattern) - 1] if pattern.endswith("*") else []
    first = min([*plus[:1], *ends], default=1 << 30)
    return first, not pattern.endswith("*"), -len(plus), len(pattern), pattern


def _is_whole_segment(pattern: str, place: int) -> bool:
    before = place == 0 or pattern[place - 1] == "/"
    after = place + 1 == len(pattern) or pattern[place + 1] in "/*"
    return before and after
