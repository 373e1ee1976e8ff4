"""The options of a role as a client sends them: of AppRole, and of tokens; each says which it knows, and of what kind."""

from collections.abc import Mapping
from dataclasses import dataclass

from strongroom.access.service_tokens import seconds
from strongroom.doors.vault.wire import Fields
from strongroom.errors import UsageError


@dataclass(frozen=True)
class RoleForm:
    """The options of one kind of role, each by its present name.

    Attributes:
        times: Options that are spans of time.
        counts: Options that are whole numbers.
        truths: Options that are true or false.
        names: Options that are lists of names of policies, which are kept in lower case.
        texts: Options that are texts, each with the texts that are taken, and as what these are kept; none for any.
        older: The present names by older ones that clients send still.
        only_empty: Options that are taken as long as they say nothing.
        passed_over: Options that say nothing of the role, whatever they say.
    """

    times: frozenset[str]
    counts: frozenset[str]
    truths: frozenset[str]
    names: frozenset[str]
    texts: Mapping[str, Mapping[str, str]]
    older: Mapping[str, str]
    only_empty: frozenset[str]
    passed_over: frozenset[str] = frozenset()

    def read(self, fields: Fields) -> dict[str, object]:
        """The options that a body has, by their present names.

        Raises:
            UsageError: An option is not known, or has no value of its kind.
        """
        options = dict[str, object]()
        for name in fields.members:
            if name not in fields:
                continue
            target = self.older.get(name, name)
            if self._is_known(target):
                options[target] = self._value(fields, name, target)
            elif target not in self.passed_over and (
                target not in self.only_empty or fields.members[name]
            ):
                raise _not_understood(name)
        return options

    def _is_known(self, target: str) -> bool:
        kinds = (self.times, self.counts, self.truths, self.names, self.texts)
        return any(target in one for one in kinds)

    def _value(self, fields: Fields, name: str, target: str) -> object:
        if target in self.times:
            return seconds(fields.members[name], name)
        if target in self.counts:
            return fields.number(name)
        if target in self.truths:
            return fields.truth(name)
        if target in self.names:
            return [one.lower() for one in fields.texts(name)]
        found, allowed = fields.text(name), self.texts[target]
        if allowed and found not in allowed:
            raise _not_understood(name)
        return allowed.get(found, found)


def _not_understood(name: str) -> UsageError:
    return UsageError(f"{name[:60]} is not understood")
