"""Settings as the text that is exported and imported (docs/format/settings.md; C-12).

Pure: bytes to values and back. No secret is opened, and no key is judged: keys of a text that was parsed may still be
refused (`import_rules`). No error quotes a value.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from strongroom.errors import FormatError

MAX_BYTES = 16 << 20
MAX_KEYS = 10_000
MAX_DEPTH = 12
"""Deepest nesting that is read; the documented shape has eight levels (format/settings.md §1.1)."""

_ENTITIES, _KEYS, _TOPOLOGY = "configEntities", "configKeys", "topologyVersion"
_MEMBERS = (_ENTITIES, _KEYS, _TOPOLOGY)
_FOREIGN_HINT = "give a file that 'tsm settings export' wrote"
_CUT_HINT = "it may be cut: look at what wrote it, and give it again"
_PGP_ARMOR = b"-----BEGIN PGP MESSAGE-----"
_PGP_PACKETS = (b"\x85", b"\x8c", b"\xc1", b"\xc3")
"""First octets of an encrypted session key, in both packet formats (RFC 9580 §4.2, §5.1, §5.3)."""


@dataclass(frozen=True)
class Settings:
    """The content of a text of settings, not checked yet.

    Attributes:
        keys: Parameter name → value; a valid value is a text, and may be a secret.
        entities: Entity name → its content.
        topology: The content of `topologyVersion`.
    """

    keys: Mapping[str, object] = field(default_factory=dict, repr=False)
    entities: Mapping[str, object] = field(default_factory=dict)
    topology: Mapping[str, object] = field(default_factory=dict)


def topology_of(nodes: Mapping[str, Iterable[str]]) -> dict[str, object]:
    """The topology of nodes with one instance of each of their services."""
    instances = {"instances": [{"instanceId": "0"}]}
    return {
        "nodes": {
            node: {"services": dict.fromkeys(services, instances)}
            for node, services in nodes.items()
        }
    }


def serialize(settings: Settings) -> bytes:
    """The text (format/settings.md §1.3)."""
    members = {
        _ENTITIES: dict(settings.entities),
        _KEYS: dict(settings.keys),
        _TOPOLOGY: dict(settings.topology),
    }
    text = json.dumps(members, indent=2, sort_keys=True, ensure_ascii=False)
    return text.encode("utf-8") + b"\n"


def parse(data: bytes) -> Settings:
    """Parse a text of settings.

    Raises:
        FormatError: The text is empty, cut, too long, too deep, ambiguous, or no text of settings.
    """
    members = _members(_json(_text(data)))
    keys, entities, topology = (members.get(name, {}) for name in (_KEYS, _ENTITIES, _TOPOLOGY))
    if len(keys) > MAX_KEYS:
        raise FormatError(f"they have more than {MAX_KEYS} keys")
    return Settings(keys, entities, topology)


# ---- inside ----------------------------------------------------------------------------------------


def _text(data: bytes) -> str:
    if len(data) > MAX_BYTES:  # §1.1: checked before the text is parsed
        raise FormatError(f"they are longer than {MAX_BYTES} bytes")
    if not data.strip():
        raise FormatError("they are empty", hint="look at what should have written them")
    if data.lstrip().startswith(_PGP_ARMOR) or data.startswith(_PGP_PACKETS):
        raise FormatError(
            "they are an OpenPGP message, still encrypted", hint="decrypt it with gpg into a pipe"
        )
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        # from None, here and below: the cause holds the text, with the secrets in it
        raise FormatError("they are no text in UTF-8", hint=_FOREIGN_HINT) from None
    if text.startswith("\ufeff"):
        raise FormatError("they begin with a byte order mark", hint="save them as plain UTF-8")
    return text


def _json(text: str) -> Any:
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise _broken(text, error) from None
    except RecursionError:
        raise FormatError(f"they have more than {MAX_DEPTH} levels") from None
    except ValueError:
        raise FormatError("they hold a number that is none", hint=_FOREIGN_HINT) from None
    _check_depth(value, MAX_DEPTH)
    return value


def _broken(text: str, error: json.JSONDecodeError) -> FormatError:
    if error.msg == "Extra data":
        return FormatError(f"something follows them in line {error.lineno}", hint=_FOREIGN_HINT)
    rest = text[error.pos :].strip()
    if not rest or error.msg.startswith("Unterminated string"):
        return FormatError("they end too early", hint=_CUT_HINT)
    where = f"line {error.lineno}, column {error.colno}"
    return FormatError(f"they are no JSON: {error.msg} at {where}", hint=_FOREIGN_HINT)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise FormatError(
                f"{name[:80]!r} stands twice in them",
                hint="which of the two counts, is not guessed",
            )
        found[name] = value
    return found


def _no_constant(name: str) -> Any:
    raise FormatError(f"they hold {name}, which is no JSON", hint=_FOREIGN_HINT)


def _check_depth(value: Any, left: int) -> None:
    if not isinstance(value, dict | list):
        return
    if left == 0:
        raise FormatError(f"they have more than {MAX_DEPTH} levels")
    for child in value.values() if isinstance(value, dict) else value:
        _check_depth(child, left - 1)


def _members(value: Any) -> dict[str, dict[str, Any]]:
    if not isinstance(value, dict):
        raise FormatError("they are JSON, but no object", hint=_FOREIGN_HINT)
    if str(value.get("format", "")).startswith("strongroom-bootstrap-"):
        raise FormatError(
            "this is a node's bootstrap file, no settings", hint="give it to 'initialize-tsm -b'"
        )
    strange = sorted(value.keys() - set(_MEMBERS))
    if strange or not value:
        what = f"{strange[0][:80]!r} is none of their parts" if strange else "they have no parts"
        raise FormatError(
            f"this is JSON, but no settings: {what}", hint=f"their parts are {', '.join(_MEMBERS)}"
        )
    for name, part in value.items():
        if not isinstance(part, dict):
            raise FormatError(f"{name!r} is no object in them", hint=_FOREIGN_HINT)
    return value
