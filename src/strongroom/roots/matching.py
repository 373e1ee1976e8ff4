"""Finds the settings by which the key of a wrap is reached; pure."""

import re
from collections.abc import Iterable

from strongroom.roots import registry
from strongroom.roots.base import WrapRecord
from strongroom.roots.settings import RootSettings


def key_of(wrap: WrapRecord) -> str:
    """The id of the key that made a wrap, without its version."""
    kind = registry.known(wrap.kind)
    found = re.fullmatch(kind.version, wrap.root_key_id) if kind and kind.version else None
    return found["key"] if found else wrap.root_key_id


def choose(roots: Iterable[RootSettings], wrap: WrapRecord) -> RootSettings | None:
    """The settings to open a wrap with: preferably those of the very id in the wrap, or else those of the same key."""
    fit = [root for root in roots if root.opens(wrap)]
    key_id = key_of(wrap)
    return min(fit, key=lambda root: root.root_key_id != key_id, default=None)
