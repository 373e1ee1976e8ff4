"""Builds the providers of roots; a part of bootstrap, imported when a key is opened."""

from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from strongroom.errors import RootError, StateError
from strongroom.roots import matching, registry

if TYPE_CHECKING:
    from strongroom.clock import Clock
    from strongroom.crypto.age import Identity
    from strongroom.kms.next_store import RootSet
    from strongroom.kms.store import KmsStore
    from strongroom.roots.base import RootProvider, WrapRecord
    from strongroom.roots.settings import RootSettings
    from strongroom.services.configuration.service import ConfigurationService
    from strongroom.services.keys.keeper import StoreKeeper


def provider(settings: "RootSettings", clock: "Clock") -> "RootProvider":
    """The provider for some settings; imports the module of their kind, which loads an SDK.

    Raises:
        StateError: The kind is unknown, or is one that only a node can build.
        RootError: The library of the kind is not installed.
    """
    build = registry.find(settings.kind).build
    if build is None:
        raise StateError(f"a root of the kind {settings.kind!r} has no settings")
    return build(settings, clock)


def recipient(
    wrap: "WrapRecord", identities: "tuple[Identity, ...]", clock: "Clock"
) -> "RootProvider":
    """The recovery recipient of a wrap, with identities that may open it."""
    from strongroom.roots import recipient as recipients

    return recipients.RecipientRoot(recipients.of_wrap(wrap), clock, identities)


def kit_settings(recipient: str, kit: tuple[str, int, int], *, label: str = "") -> "RootSettings":
    """Checked settings of a recipient whose identity is split into shares.

    Args:
        recipient: The public half.
        kit: The set's id, how many shares are needed, how many there are.
        label: A note for people, such as the owner of the shares and where they are kept.

    Raises:
        UsageError: Not a recipient, or a label that cannot be shown.
    """
    from strongroom.roots import recipient as recipients

    return recipients.settings(recipient, label=label, kit=kit)


class Parts(Protocol):
    """The parts of a node that its roots are built from."""

    clock: "Clock"

    @cached_property
    def configuration(self) -> "ConfigurationService":
        """Names the active configuration key."""
        ...

    @cached_property
    def kms_store(self) -> "StoreKeeper":
        """Keeps the settings of roots."""
        ...

    def local_root(self, key_id: str) -> "RootProvider":
        """The local root that wraps by one configuration key."""
        ...


class RootProviders:
    """The root providers of a node; implements `services.keys.providers.Providers`."""

    def __init__(self, node: Parts) -> None:
        self._node = node
        self._built: dict[bytes, RootProvider] = {}
        self._stored: frozenset[bytes] | None = None

    def all_for(self, store: "KmsStore", mode: str, key_id: str | None = None) -> "RootSet":
        """The root of a mode, and the recovery roots of a store: all its wraps but the first."""
        from strongroom.kms import recovery_wraps
        from strongroom.kms.next_store import RootSet

        active = key_id or self._node.configuration.document().configuration_key_id
        primary = (
            self._node.local_root(active) if mode == registry.LOCAL else self.find(store.wraps[0])
        )
        return RootSet(mode, primary, recovery_wraps.recovery_roots(store.wraps[1:], self.find))

    def find(self, wrap: "WrapRecord") -> "RootProvider":
        """The provider that opens a wrap."""
        if wrap.kind == registry.LOCAL:
            return self._node.local_root(wrap.root_key_id)
        stored = self._node.kms_store.root_settings()
        self._forget_left(frozenset(settings.digest for settings in stored))
        chosen = matching.choose(stored, wrap)
        if chosen is not None:
            return self.build(chosen)
        kind = registry.known(wrap.kind)
        # a wrap for a recipient names the recipient, which is all that is needed to wrap again
        if kind and kind.of_wrap:
            return self.build(kind.of_wrap(wrap))
        raise RootError(
            f"nothing is known of the {wrap.kind} root {wrap.root_key_id}",
            hint="set it again with 'tsm security kms set-mode' or 'kms roots add'; the same key at another"
            " address will do",
        )

    def build(self, settings: "RootSettings") -> "RootProvider":
        """The provider of some settings; made once, since an SDK's client is slow to make."""
        root = self._built.get(settings.digest)
        if root is None:
            root = provider(settings, self._node.clock)
            self._built[settings.digest] = root
        return root

    def _forget_left(self, stored: frozenset[bytes]) -> None:
        """Drop the clients of roots that are no longer in the settings, with their tokens and PINs."""
        if self._stored not in {None, stored}:
            # a new dict, since other threads may use the old one now; a provider that they add to it is made again
            # later
            present = self._built.copy()
            self._built = {key: root for key, root in present.items() if key in stored}
        self._stored = stored
