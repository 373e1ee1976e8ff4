"""Checks that a request holds nothing that its route would ignore: attributes, elements, and query parameters.

A route declares the values that it reads, and the values that it accepts because they ask for no change. Any other
value is refused before anything is done, and the error names the value. Otherwise a client would believe that the
server has done what the value asks for (findings T3).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from strongroom.doors.tableau.message import Element
from strongroom.errors import UsageError

_MOST = 60  # letters of a client's word in a sentence


@dataclass(frozen=True)
class Read:
    """The handler reads it."""


@dataclass(frozen=True)
class AsItIs:
    """Taken with the values that ask for nothing else than what is so anyway; real clients send those by default.

    Attributes:
        values: In lower case.
        why: Why no other value can be kept.
    """

    values: frozenset[str]
    why: str

    def check(self, what: str, value: str) -> None:
        """Accept a value that asks for no change.

        Raises:
            UsageError: The value asks for a change that the server cannot make.
        """
        if value.strip().lower() not in self.values | {""}:
            known = " or ".join(sorted(self.values))
            raise UsageError(
                f"{what} cannot be {value[:_MOST]!r} on this server: {self.why}",
                hint=f"leave it out, or send {known}" if known else "leave it out",
            )


Rule = Read | AsItIs
READ = Read()
Rules = Mapping[str, Rule]


def as_it_is(why: str, *values: str) -> AsItIs:
    """Only these values are taken, in any case."""
    return AsItIs(frozenset(value.lower() for value in values), why)


def read(*names: str) -> dict[str, Rule]:
    """Names that the handler reads."""
    return dict.fromkeys(names, READ)


@dataclass(frozen=True)
class Shape:
    """The attributes and children that a node of a request may have.

    Attributes:
        attributes: The rules for attributes, by name.
        children: The shapes of children, by name.
        holds_text: The handler reads its text.
        keeps_rest: Every other attribute is kept and shown again (sites).
    """

    attributes: Rules = field(default_factory=dict)
    children: Mapping[str, "Shape"] = field(default_factory=dict)
    holds_text: bool = False
    keeps_rest: bool = False

    def check(self, sent: Element) -> None:
        """Refuse what would be dropped.

        Raises:
            UsageError: Something that the route does not take.
        """
        for name, value in sent.attrib.items():
            self._check_attribute(sent.tag, name, str(value))
        if sent.text is not None and not self.holds_text:
            raise UsageError(f"<{sent.tag[:_MOST]}> must not hold text")
        for child in sent.children:
            shape = self.children.get(child.tag)
            if shape is None:
                raise UsageError(
                    f"<{child.tag[:_MOST]}> in <{sent.tag}> is not offered by this server",
                    hint=_known("elements", self.children),
                )
            shape.check(child)

    def _check_attribute(self, tag: str, name: str, value: str) -> None:
        rule = self.attributes.get(name)
        if isinstance(rule, AsItIs):
            rule.check(f"attribute {name} of <{tag}>", value)
        elif rule is None and not self.keeps_rest:
            raise UsageError(
                f"attribute {name[:_MOST]} of <{tag}> is not offered by this server",
                hint=_known("attributes", self.attributes),
            )


NOTHING = Shape()


def request(**children: Shape) -> Shape:
    """The shape of a whole request."""
    return Shape(children=children)


def check_query(rules: Rules, sent: Mapping[str, str]) -> None:
    """Refuse parameters that would be dropped.

    Raises:
        UsageError: The request has a parameter that the route does not know.
    """
    for name, value in sent.items():
        rule = rules.get(name)
        if isinstance(rule, AsItIs):
            rule.check(f"parameter {name}", value)
        elif rule is None:
            raise UsageError(
                f"parameter {name[:_MOST]!r} is not offered by this server",
                hint=_known("parameters", rules),
            )


def _known(what: str, names: Mapping[str, object]) -> str:
    return f"{what} here: {', '.join(sorted(names))}" if names else f"no {what} are taken here"
