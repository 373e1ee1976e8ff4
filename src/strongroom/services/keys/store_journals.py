"""The journals of a regeneration and of a recovery belong to a KMS store, and go on with it (docs/format/entries.md 3.4).

A journal that was put back names another store than the present one. Whatever changes the store while a journal is there
writes the journal anew in the same put.
"""

import json
from collections.abc import Mapping

from strongroom.canonical import ASCII, Fields, Kind
from strongroom.coordination.base import Change, Coordinator
from strongroom.coordination.floors import Point
from strongroom.errors import FormatError

REGENERATE = "journal/regenerate"
RECOVER = "journal/recover"
KIND = Kind("the journal of a change of keys", ASCII, 1 << 16)
VERSIONS = {REGENERATE: 2, RECOVER: 3}
"""The version of each journal's present form."""
_STORE = "store"


def plain(point: Point) -> dict[str, object]:
    """The member `store` of a journal."""
    return {"digest": point.digest.hex(), "epoch": point.number}


def point_of(fields: Fields) -> Point:
    """The store that a journal names.

    Raises:
        FormatError: The member is missing or malformed.
    """
    found = fields.inner(_STORE)
    found.check_names(("digest", "epoch"))
    digest = bytes.fromhex(found.hexadecimal("digest", 32))
    return Point(found.number("epoch", least=1), digest)


def of_older(name: str, raw: bytes, store: Point, active: str) -> bytes:
    """A journal of format 1 in its present form, for the upgrade; its reader checks the members.

    Args:
        name: The journal.
        raw: The bytes, which had another spelling, and in 0.1.0 fewer members.
        store: Epoch and digest of the present store.
        active: The configuration key that the configuration names, which a recovery replaces; its next one is chosen by
            the run that goes on.

    Raises:
        FormatError: The journal is damaged.
    """
    later: dict[str, dict[str, object]] = {
        REGENERATE: {"only": [], "run": ""},
        RECOVER: {"key_id": "", "old_key_id": active},
    }
    try:
        members = {**later[name], **json.loads(raw)}
        return KIND.dumps({**members, "v": VERSIONS[name], _STORE: plain(store)})
    except (ValueError, TypeError, RecursionError) as error:
        raise FormatError("the journal of a change of keys is damaged") from error


def rebound(coordinator: Coordinator, point: Point) -> Mapping[str, Change]:
    """The journals that are there, each with another store.

    Args:
        coordinator: Holds the journals.
        point: The store that is put with them.
    """
    changes = {}
    for name in (REGENERATE, RECOVER):
        entry = coordinator.get(name)
        if entry is not None:
            fields = KIND.loads(entry.value)
            members = {one: fields.value(one) for one in fields.names}
            data = KIND.dumps({**members, _STORE: plain(point)})
            changes[name] = Change(data, entry.version)
    return changes
