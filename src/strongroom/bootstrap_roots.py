"""Builds the providers of roots; a part of bootstrap, imported when a key is opened."""

import importlib
from typing import TYPE_CHECKING, Protocol

from strongroom.errors import RootError, StateError

if TYPE_CHECKING:
    from types import ModuleType

    from strongroom.clock import Clock
    from strongroom.kms.store import KmsStore
    from strongroom.roots.base import RootProvider, WrapRecord
    from strongroom.roots.settings import RootSettings
    from strongroom.services.configuration import ConfigurationService
    from strongroom.services.kms_change import RootSet
    from strongroom.services.kms_keeper import StoreKeeper

#: Kinds of roots that are set up; `strongroom.roots.<kind>` has `settings` and `build`.
_ROOT_KINDS = ("aws", "azure", "openbao", "pkcs11", "gcp", "tpm")
#: Kinds that `strongroom.roots.recipient` has: they only wrap.
_RECIPIENT_KINDS = ("age", "shares")


def root_module(kind: str) -> "ModuleType":
    """The module of a kind of root, imported here, since it brings an SDK.

    Raises:
        StateError: There is no such kind.
    """
    if kind in _RECIPIENT_KINDS:
        kind = "recipient"
    elif kind not in _ROOT_KINDS:
        raise StateError(f"this version has no root of the kind {kind!r}")
    return importlib.import_module(f"strongroom.roots.{kind}")


class Parts(Protocol):
    """What of a node its roots are built from."""

    clock: "Clock"

    @property
    def configuration(self) -> "ConfigurationService":
        """Names the active configuration key."""

    @property
    def keeper(self) -> "StoreKeeper":
        """Keeps the settings of roots."""

    def local_root(self, key_id: str) -> "RootProvider":
        """The local root that wraps by one configuration key."""


class Roots:
    """Which providers there are; implements `services.kms_keeper.Roots`."""

    def __init__(self, node: Parts) -> None:
        self._node = node
        self._built: dict[bytes, RootProvider] = {}
        self._stored: frozenset[bytes] | None = None

    def all_for(self, store: "KmsStore", mode: str, key_id: str | None = None) -> "RootSet":
        """The root of a mode, and the recovery roots of a store: all its wraps but the first."""
        from strongroom.services import kms_reach
        from strongroom.services.kms_change import RootSet

        active = key_id or self._node.configuration.document().configuration_key_id
        primary = self._node.local_root(active) if mode == "local" else self.find(store.wraps[0])
        return RootSet(mode, primary, kms_reach.recovery_roots(store.wraps[1:], self.find))

    def find(self, wrap: "WrapRecord") -> "RootProvider":
        """The provider that opens a wrap."""
        if wrap.kind == "local":
            return self._node.local_root(wrap.root_key_id)
        stored = self._node.keeper.settings()
        self._forget_left(frozenset(settings.digest for settings in stored))
        for settings in stored:
            if settings.opens(wrap):
                return self.build(settings)
        if wrap.kind in _RECIPIENT_KINDS:  # it names its recipient: no more is needed to wrap
            return self.build(root_module(wrap.kind).of_wrap(wrap))
        raise RootError(
            f"nothing is known of the {wrap.kind} root {wrap.root_key_id}",
            hint="set it again with 'tsm security kms set-mode' or 'kms roots add'",
        )

    def build(self, settings: "RootSettings") -> "RootProvider":
        """The provider of some settings; made once, since an SDK's client is slow to make."""
        root = self._built.get(settings.digest)
        if root is None:
            root = root_module(settings.kind).build(settings, self._node.clock)
            self._built[settings.digest] = root
        return root

    def _forget_left(self, stored: frozenset[bytes]) -> None:
        """Drop the clients, and their tokens and PINs, of roots that were left."""
        if self._stored not in {None, stored}:
            # other threads may build at this moment: of a copy, and what they lose they make again
            present = self._built.copy()
            self._built = {key: root for key, root in present.items() if key in stored}
        self._stored = stored
