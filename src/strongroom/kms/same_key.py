"""Decides whether a root's key is one that wraps the RMK already, by letting it unwrap (findings K3).

The name of a key proves nothing. The same key may be reached by another name: an OpenBao server moves, a TPM has
another device file, a key has a replica in another region. And a name may lead to another key, since addresses are used
again. So the key is asked to unwrap the store's wraps: if it opens one, it is the same key, and its settings keep all
names by which wraps of the store and of backups call it.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from strongroom.errors import RootUnavailableError, StateError, StrongroomError
from strongroom.ids import new_id
from strongroom.kms.opening import FindRoot, OpenStore
from strongroom.kms.store import KmsStore
from strongroom.roots import addresses, matching
from strongroom.roots.base import Context, RootProvider, WrapRecord
from strongroom.roots.registry import RECIPIENT_KINDS
from strongroom.roots.settings import RootSettings

Build = Callable[[RootSettings], RootProvider]


@dataclass(frozen=True)
class Recognised:
    """Root settings, and the wraps that their key has opened just now.

    Attributes:
        wanted: The settings as they were given.
        opened: The wraps that the key unwraps, whatever name they have for it.
        refused: Wraps of the same kind that the key does not unwrap.
    """

    wanted: RootSettings
    opened: tuple[WrapRecord, ...] = ()
    refused: tuple[WrapRecord, ...] = ()

    def unwraps(self, wrap: WrapRecord) -> bool:
        """Whether the key of these settings has opened the wrap."""
        return any(one.id == wrap.id for one in self.opened)

    def refuses(self, wrap: WrapRecord) -> bool:
        """Whether the key of these settings was asked to open the wrap and could not, so that another key made it."""
        return any(one.id == wrap.id for one in self.refused)

    def at_its_address(self, present: RootSettings) -> bool:
        """Whether stored settings have the same address, so that only one of the two can be stored."""
        here, there = self.wanted.root_key_id, present.root_key_id
        same = addresses.respelled(here) == addresses.respelled(there)
        return same and self.wanted.kind == present.kind

    def is_of(self, present: RootSettings, stored: Iterable[RootSettings]) -> bool:
        """Whether stored settings reach the same key by another name: this key has opened a wrap of theirs."""
        among = tuple(stored)
        return any(matching.choose(among, wrap) == present for wrap in self.opened)

    def settings(self, stored: Iterable[RootSettings]) -> RootSettings:
        """The settings with all names of their key: of the wraps that it opened, and of stored settings of the same key."""
        among = tuple(stored)
        names = {matching.key_of(wrap) for wrap in self.opened}
        refused = {matching.key_of(wrap) for wrap in self.refused} - names
        for one in among:
            known = {one.root_key_id, *one.known_as}
            same = self.at_its_address(one) and known.isdisjoint(refused)
            if same or self.is_of(one, among):
                names |= known - refused
        return self.wanted.also_as(names)

    def settle(self, stored: Iterable[RootSettings]) -> tuple[RootSettings, ...]:
        """The settings to store: these, in the place of stored ones with the same key or the same address."""
        among = tuple(stored)
        kept = (one for one in among if not (self.at_its_address(one) or self.is_of(one, among)))
        return (*kept, self.settings(among))

    def check_apart(self, wraps: Iterable[WrapRecord], stored: Iterable[RootSettings]) -> None:
        """Refuse settings whose address another key's wrap needs.

        Storing them would replace the only settings by which that wrap might be opened.

        Args:
            wraps: The wraps that stay in the store.
            stored: The present settings.

        Raises:
            StateError: A wrap is reached at the same address, and the key that is there now does not open it.
        """
        among = tuple(stored)
        for wrap in wraps:
            chosen = matching.choose(among, wrap)
            if chosen and self.at_its_address(chosen) and not self.unwraps(wrap):
                raise StateError(
                    f"nothing was changed: wrap {wrap.id} is reached at {chosen.root_key_id} too, and the key that is there"
                    " now does not open it",
                    hint=f"give the wrap up: 'tsm security kms roots remove {wrap.id}', or --drop-root {wrap.id} with"
                    " set-mode; then run the command again",
                )


def recognised(store: KmsStore, wanted: RootSettings, build: Build) -> Recognised:
    """Find the wraps that are opened by the key of these settings (root-settings.md 1.5).

    The caller has tried the root before. This matters, since each wrap here is one more login: a wrong PIN, tried once
    per wrap, would lock a token.

    Args:
        store: The store whose wraps are tried.
        wanted: The settings, stored or not.
        build: Makes a provider of settings.

    Raises:
        RootUnavailableError: The root went away before it was asked for a wrap that bears its own name.
    """
    opened, refused = list[WrapRecord](), list[WrapRecord]()
    for wrap in store.wraps:
        if wrap.kind != wanted.kind or wrap.kind in RECIPIENT_KINDS:
            continue
        name = matching.key_of(wrap)
        try:
            store.open_ring(store.rmk(build(wanted.lasting.also_as([name])).unwrap(wrap)))
        except StrongroomError as error:
            if isinstance(error, RootUnavailableError) and wanted.opens(wrap):
                raise  # a root that does not answer may well have the key: this proves nothing
            refused.append(wrap)
            continue
        opened.append(wrap)
    return Recognised(wanted.lasting, tuple(opened), tuple(refused))


def renamed(opened: OpenStore, wanted: RootSettings, find: FindRoot) -> tuple[WrapRecord, ...]:
    """The wraps of an opened store, with new ones in the place of those that bear the address of `wanted` and are another key's.

    Such a wrap was made by a key that has moved. Its root wraps the RMK again, under the present name, so that the
    address belongs to the key of `wanted` alone.
    """

    def anew(wrap: WrapRecord) -> WrapRecord:
        if wrap.kind in RECIPIENT_KINDS or not wanted.opens(wrap):
            return wrap
        context = Context(opened.store.installation_id, opened.store.rmk_id, new_id())
        return find(wrap).wrap(opened.rmk.material, context)

    return tuple(map(anew, opened.store.wraps))


def ways(
    wrap: WrapRecord, stored: Iterable[RootSettings], build: Build
) -> Iterator[tuple[RootSettings, RootProvider]]:
    """The stored settings of a wrap's kind, except those that the wrap's name leads to: one may reach the same key.

    Asking them is safe: each uses its own credential at its own server or token, which learns only a wrap that it
    cannot open.
    """
    among = tuple(stored)
    chosen = matching.choose(among, wrap)
    for settings in among:
        if settings.kind != wrap.kind or wrap.kind in RECIPIENT_KINDS or settings == chosen:
            continue
        with suppress(StrongroomError):  # the library of this kind of root may be missing here
            yield settings, build(settings.also_as([matching.key_of(wrap)]))
