"""Judges each key of imported settings: accepted, unchanged, or refused with a reason (format/settings.md §4; P10).

Pure: encrypted texts are opened by a function of the caller. A reason never quotes a value.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from strongroom.config import catalog
from strongroom.config.document import ConfigDocument, check_name
from strongroom.config.pending import PendingChanges
from strongroom.config.transfer import Settings
from strongroom.errors import FormatError, IntegrityError, KeyNotFoundError, UsageError
from strongroom.secrets import catalog as secrets
from strongroom.secrets import committed, enc

OpenText = Callable[[str, str], bytes]
"""Decrypts a parameter's value, given its name and its `ENC(...)` text."""

_OBSOLETE = ".servicepassword"
_RESERVED = ("kms.", "asset.")
_KINDS = {dict: "an object", list: "a list", bool: "true or false", type(None): "null"}
_LOCAL_IDENTITY = {"_type": "identityStoreType", "type": "local"}


class Outcome(StrEnum):
    """The outcomes for a key."""

    ACCEPTED = "accepted"
    UNCHANGED = "unchanged"
    REFUSED = "refused"


@dataclass(frozen=True)
class Verdict:
    """The verdict on a key, a line of an import's report.

    Attributes:
        key: Name of the parameter, entity or part.
        outcome: The outcome for the key.
        why: The reason of a refusal.
        value: The new value of an accepted key.
    """

    key: str
    outcome: Outcome
    why: str = ""
    value: str | None = field(default=None, repr=False)


class _RefusedError(Exception):
    """A key is refused; the message gives the reason."""


@dataclass(frozen=True)
class Rules:
    """The rules by which keys are judged.

    Attributes:
        document: The applied configuration.
        pending: The changes that are pending already.
        open_text: Opens encrypted texts.
        force: Whether ordinary keys that are not in the catalogue are accepted.
        suggests: Whether to name known keys that resemble an unknown one, which takes a millisecond for each.
    """

    document: ConfigDocument
    pending: PendingChanges
    open_text: OpenText
    force: bool = False
    suggests: bool = True

    def judge_keys(self, settings: Settings) -> list[Verdict]:
        """A verdict for each parameter, sorted by name."""
        return [self._judge(name, value) for name, value in sorted(settings.keys.items())]

    def _judge(self, name: str, value: object) -> Verdict:
        try:
            text = self._checked(name, value)
        except _RefusedError as refused:
            return Verdict(name, Outcome.REFUSED, str(refused))
        if self._present(name) == text:
            return Verdict(name, Outcome.UNCHANGED)
        return Verdict(name, Outcome.ACCEPTED, value=text)

    def _checked(self, name: str, value: object) -> str:
        """The value in the form in which it would be set; checked in the order of format/settings.md §4.2."""
        _check_form(name)
        text = _as_text(value)
        self._check_known(name)
        if enc.is_enc(text):
            return self._opened(name, text)
        return _allowed(name, text)

    def _check_known(self, name: str) -> None:
        if catalog.is_known(name) or name in self.document.values:
            return
        if not self.force:
            hint = f"; {catalog.unknown_key(name).hint}" if self.suggests else ""
            raise _RefusedError(f"nobody knows it{hint}")
        if name.startswith(_RESERVED):
            raise _RefusedError("such names belong to the key management, and are not forced")

    def _opened(self, name: str, text: str) -> str:
        if not secrets.is_secret(name):
            raise _RefusedError("only secrets are stored encrypted, and it is an ordinary key")
        key_id = ""
        try:
            key_id = committed.key_id_of(text)
            return _allowed(name, self.open_text(name, text).decode())
        except KeyNotFoundError:
            raise _RefusedError(
                f"it is encrypted under the configuration key {key_id}, which is not of this installation"
            ) from None
        except IntegrityError:
            raise _RefusedError("it is encrypted, and does not open as this key's value") from None
        except (FormatError, UnicodeDecodeError):
            raise _RefusedError("it is encrypted, and damaged") from None

    def _present(self, name: str) -> str | None:
        """The value that the key has, or will have after an apply; None if it is not set, or does not open."""
        changes = self.pending.changes
        text = changes[name] if name in changes else self.document.values.get(name)
        if text is None or not enc.is_enc(text):
            return text
        try:
            return self.open_text(name, text).decode()
        except (IntegrityError, KeyNotFoundError, FormatError, UnicodeDecodeError):
            return None


def judge_entities(settings: Settings) -> list[Verdict]:
    """A verdict for each entity; this version knows a single entity, in a single form."""
    return [
        Verdict(f"configEntities.{name}", Outcome.UNCHANGED)
        if name == "identityStore" and said == _LOCAL_IDENTITY
        else Verdict(
            f"configEntities.{name}",
            Outcome.REFUSED,
            "this version has no such entity, or only its local form; take it out of the file",
        )
        for name, said in sorted(settings.entities.items())
    ]


def judge_topology(settings: Settings, present: Mapping[str, object]) -> list[Verdict]:
    """A verdict on the topology as a whole (format/settings.md §4.5)."""
    if not settings.topology:
        return []
    if settings.topology == present:
        return [Verdict("topologyVersion", Outcome.UNCHANGED)]
    why = "it is another topology, which an import does not change; --config-only imports the rest"
    return [Verdict("topologyVersion", Outcome.REFUSED, why)]


def entities() -> dict[str, object]:
    """The entities that an export has."""
    return {"identityStore": dict(_LOCAL_IDENTITY)}


def _check_form(name: str) -> None:
    try:
        check_name(name)
    except UsageError as error:
        raise _RefusedError(f"this is no key's name: {error.hint}") from error
    if secrets.is_key_hierarchy(name):
        raise _RefusedError("the key management alone changes it")
    if name.lower().endswith(_OBSOLETE):
        raise _RefusedError("it is an obsolete secret of an old version; take it out of the file")


def _as_text(value: object) -> str:
    if not isinstance(value, str):
        kind = _KINDS.get(type(value), "a number")
        raise _RefusedError(f"its value is {kind}, not a text in quotation marks")
    try:
        value.encode()
    except UnicodeEncodeError:
        # from None: the cause would carry the value
        raise _RefusedError("its value is no text in UTF-8") from None
    return value


def _allowed(name: str, text: str) -> str:
    if secrets.is_secret(name):
        if len(text.encode()) > enc.MAX_VALUE_BYTES:
            raise _RefusedError(f"it is longer than {enc.MAX_VALUE_BYTES} bytes")
        return text
    try:
        return catalog.check_value(name, text)
    except UsageError as error:
        raise _RefusedError(error.hint) from None
