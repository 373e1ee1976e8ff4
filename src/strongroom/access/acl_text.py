"""Reads the text of a policy, in HCL or JSON, as far as it can be kept (service-keys.md 4.3); pure.

What is written is what is in force: a constraint that nobody here checks, such as `allowed_parameters`, is refused by its
name, and not left out, since the rule without it would allow more than its author meant. Of HCL only what a policy needs
is understood: blocks `path "..." { capabilities = [...] }`, comments, and the older `policy = "write"`.
"""

import json
import re
from collections.abc import Iterator
from typing import NamedTuple

from strongroom.access.acl import Capability, Rules
from strongroom.errors import UsageError

MAX_BYTES = 64 * 1024
MAX_PATHS = 1000
MAX_PATH_CHARACTERS = 512
_OLDER = {
    "deny": {Capability.DENY},
    "read": {Capability.READ, Capability.LIST},
    "write": {
        Capability.CREATE,
        Capability.READ,
        Capability.UPDATE,
        Capability.DELETE,
        Capability.LIST,
    },
    "sudo": {
        Capability.CREATE,
        Capability.READ,
        Capability.UPDATE,
        Capability.DELETE,
        Capability.LIST,
        Capability.SUDO,
    },
}
_TOKEN = re.compile(
    r"""(?P<space>[\s]+|\#[^\n]*|//[^\n]*|/\*.*?\*/)
      | (?P<text>"(?:[^"\\\n]|\\["\\])*")
      | (?P<word>[A-Za-z_][A-Za-z0-9_.-]*)
      | (?P<mark>[{}\[\]=,])""",
    re.VERBOSE | re.DOTALL,
)
_HINT = "a rule here is a path with capabilities; what cannot be kept is not written"


class _Token(NamedTuple):
    kind: str
    text: str
    line: int


def parse(text: str) -> Rules:
    """The rules of a policy's text.

    Raises:
        UsageError: The text is no policy, or says more than can be kept here; the message names what.
    """
    if len(text.encode(errors="replace")) > MAX_BYTES:
        raise UsageError(f"a policy has at most {MAX_BYTES} bytes")
    rules: dict[str, frozenset[Capability]] = {}
    pairs = _of_json(text) if text.lstrip().startswith("{") else _Hcl(text).rules()
    for path, capabilities in pairs:
        clean = _checked_path(path)
        rules[clean] = rules.get(clean, frozenset()) | capabilities
        if len(rules) > MAX_PATHS:
            raise UsageError(f"a policy has at most {MAX_PATHS} paths")
    return rules


def _checked_path(path: str) -> str:
    clean = path.removeprefix("/")
    if not clean or len(clean) > MAX_PATH_CHARACTERS or not clean.isprintable():
        raise UsageError(f"no path of a policy: {path[:60]!r}")
    if "{{" in clean:
        raise UsageError(
            f"the path {path[:60]!r} is a template, which is not understood", hint=_HINT
        )
    if "*" in clean[:-1]:
        raise UsageError(f"in the path {path[:60]!r} a * stands elsewhere than at the end")
    if any("+" in one and one not in {"+", "+*"} for one in clean.split("/")):
        raise UsageError(f"in the path {path[:60]!r} a + is not a whole segment")
    return clean


def _capabilities(names: list[str]) -> frozenset[Capability]:
    known = {one.value for one in Capability}
    for name in names:
        if name not in known:
            raise UsageError(
                f"the capability {name[:40]!r} is not understood", hint=f"known: {', '.join(known)}"
            )
    return frozenset(map(Capability, names))


def _of_attribute(name: str, value: object) -> frozenset[Capability]:
    if name == "capabilities" and isinstance(value, list):
        if not all(isinstance(one, str) for one in value):
            raise UsageError("capabilities are a list of names")
        return _capabilities([str(one) for one in value])
    if name == "policy" and isinstance(value, str) and value in _OLDER:
        return frozenset(_OLDER[value])
    raise UsageError(f"in a policy, {name[:40]!r} with this value is not understood", hint=_HINT)


def _of_json(text: str) -> Iterator[tuple[str, frozenset[Capability]]]:
    try:
        document = json.loads(text, object_pairs_hook=_without_doubles)
    except (ValueError, RecursionError):
        raise UsageError("the policy begins as JSON, and is not JSON") from None
    for name in document:
        if name != "path":
            raise UsageError(f"in a policy, {name[:40]!r} is not understood", hint=_HINT)
    paths = document.get("path", {})
    if not isinstance(paths, dict):
        raise UsageError("in a policy, 'path' is an object of paths")
    for path, rule in paths.items():
        if not isinstance(rule, dict):
            raise UsageError(f"the rule of the path {path[:60]!r} is no object")
        found: frozenset[Capability] = frozenset()
        for name, value in rule.items():
            _check_attribute(name)
            found |= _of_attribute(name, value)
        yield path, found


def _without_doubles(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """The members of an object; of two with one name a reader of JSON drops the first, which may be a `deny`."""
    members = dict(pairs)
    if len(members) != len(pairs):
        names = [name for name, _ in pairs]
        double = next(one for one in names if names.count(one) > 1)
        raise UsageError(f"in a policy, {double[:60]!r} stands twice in one object", hint=_HINT)
    return members


def _check_attribute(name: str) -> None:
    """Refuse an attribute before its value is looked at, which may have any form."""
    if name not in {"capabilities", "policy"}:
        raise UsageError(f"in a policy, {name[:40]!r} is not understood", hint=_HINT)


class _Hcl:
    """The one kind of document in HCL that a policy is."""

    def __init__(self, text: str) -> None:
        self._tokens = list(_tokens(text))
        self._next = 0

    def rules(self) -> Iterator[tuple[str, frozenset[Capability]]]:
        """Each path with its capabilities."""
        while self._next < len(self._tokens):
            word = self._take("word", "text")
            if word != "path":
                raise UsageError(f"in a policy, {word[:40]!r} is not understood", hint=_HINT)
            yield self._take("text"), self._block()

    def _block(self) -> frozenset[Capability]:
        found: frozenset[Capability] = frozenset()
        self._mark("{")
        while not self._is_mark("}"):
            name = self._take("word", "text")
            _check_attribute(name)
            self._mark("=")
            found |= _of_attribute(name, self._value())
        self._mark("}")
        return found

    def _value(self) -> object:
        if not self._is_mark("["):
            return self._take("text")
        self._mark("[")
        values: list[str] = []
        while not self._is_mark("]"):
            values.append(self._take("text"))
            if not self._is_mark("]"):
                self._mark(",")
        self._mark("]")
        return values

    def _is_mark(self, mark: str) -> bool:
        token = self._tokens[self._next] if self._next < len(self._tokens) else None
        return token is not None and token.kind == "mark" and token.text == mark

    def _mark(self, mark: str) -> None:
        if not self._is_mark(mark):
            raise self._unexpected(f"'{mark}'")
        self._next += 1

    def _take(self, *kinds: str) -> str:
        token = self._tokens[self._next] if self._next < len(self._tokens) else None
        if token is None or token.kind not in kinds:
            raise self._unexpected("a name" if "word" in kinds else "a text in quotes")
        self._next += 1
        if token.kind == "text":
            return token.text[1:-1].replace('\\"', '"').replace("\\\\", "\\")
        return token.text

    def _unexpected(self, wanted: str) -> UsageError:
        if self._next >= len(self._tokens):
            return UsageError(f"the policy ends where {wanted} is expected")
        token = self._tokens[self._next]
        return UsageError(
            f"in line {token.line} of the policy stands {token.text[:40]!r}, and not {wanted}"
        )


def _tokens(text: str) -> Iterator[_Token]:
    place, line = 0, 1
    while place < len(text):
        found = _TOKEN.match(text, place)
        if found is None:
            raise UsageError(
                f"in line {line} of the policy {text[place : place + 20]!r} is not understood"
            )
        kind = found.lastgroup or ""
        if kind != "space":
            yield _Token(kind, found.group(), line)
        line += found.group().count("\n")
        place = found.end()
