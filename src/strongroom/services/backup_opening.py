"""Opens the keys of a backup with whatever is at hand, and says by what; changes nothing anywhere.

A root is only ever asked to unwrap (A-25). Whatever gives the RMK, the manifest's MAC is checked with it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from strongroom.backup import keys
from strongroom.backup.restore import OpenBackup, OpenKeys
from strongroom.crypto.age import OpenWith
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import KeyNotFoundError, RootError, StrongroomError
from strongroom.kms.keyring import KeyRing
from strongroom.roots.base import RECIPIENT_KINDS, RootProvider, WrapRecord
from strongroom.roots.settings import RootSettings

FindRoot = Callable[[WrapRecord], RootProvider]
OpenRecipient = Callable[[WrapRecord, OpenWith], SecretBytes]
_NOTHING = OpenWith()
NOT_OPENED = (RootError, KeyNotFoundError)
"""What `open_keys` raises if nothing opens them; a backup that is not genuine is another matter."""


@dataclass(frozen=True)
class Means:
    """What keys may be opened with.

    Attributes:
        build: The provider of root settings.
        recipient: Opens a recovery wrap.
        own_ring: The MEKs of this installation; None without one.
        own_root: The provider of a root that this installation knows; None without one.
        given: Identities or a passphrase of whoever asks.
        credential: Token, PIN or the like of the source's root.
    """

    build: Callable[[RootSettings], RootProvider]
    recipient: OpenRecipient
    own_ring: Callable[[], KeyRing] | None = None
    own_root: FindRoot | None = None
    given: OpenWith = _NOTHING
    credential: SecretBytes | None = None


@dataclass(frozen=True)
class Opened:
    """The keys of a backup, and what opened them, in words."""

    keys: OpenKeys
    by: str


def open_keys(backup: OpenBackup, means: Means) -> Opened:
    """Open them by the first way that goes.

    Raises:
        RootError: A root that was asked does not open them, and nothing else does.
        KeyNotFoundError: Nothing at hand opens them.
        IntegrityError: They open, and the backup is not genuine.
    """
    failures: list[tuple[str, StrongroomError]] = []
    for name, unwrap in _ways(backup, means):
        try:
            material = unwrap()
        except StrongroomError as error:
            failures.append((name, error))
            continue
        return Opened(backup.open_with(material), name)
    raise _refused(backup, failures)


def _ways(backup: OpenBackup, means: Means) -> Iterator[tuple[str, Callable[[], SecretBytes]]]:
    store, given = backup.store, means.given
    if not given.is_empty and backup.sealed:
        yield "what was given", lambda: keys.open_rmk(backup.sealed, backup.place, given)
    if given.identities:
        for wrap in store.wraps:
            if wrap.kind in RECIPIENT_KINDS:
                name = f"the recovery recipient {wrap.root_key_id}"
                yield name, partial(means.recipient, wrap, given)
    ring = means.own_ring
    if ring is not None:
        by_mek = backup.by_mek
        yield (
            "a MEK of this installation",
            lambda: keys.unwrap_by_mek(by_mek, ring(), backup.place),
        )
    for wrap in store.wraps:
        if wrap.kind not in RECIPIENT_KINDS:
            yield from _by_root(backup, wrap, means)


def _by_root(
    backup: OpenBackup, wrap: WrapRecord, means: Means
) -> Iterator[tuple[str, Callable[[], SecretBytes]]]:
    name = f"the {wrap.kind} root {wrap.root_key_id}"
    own = means.own_root
    if own is not None:
        yield name, lambda: own(wrap).unwrap(wrap)
    for needed in backup.roots:
        if not needed.settings.opens(wrap):
            continue
        if not needed.secrets:
            yield name, partial(_unwrapped, means, needed.settings, wrap)
        elif means.credential is not None and wrap == backup.store.wraps[0]:
            # to the mode's root alone: a PIN that is tried at another token may lock that
            settings = needed.with_credential(means.credential)
            yield name, partial(_unwrapped, means, settings, wrap)


def _unwrapped(means: Means, settings: RootSettings, wrap: WrapRecord) -> SecretBytes:
    return means.build(settings).unwrap(wrap)


def _refused(backup: OpenBackup, failures: list[tuple[str, StrongroomError]]) -> StrongroomError:
    told = "; ".join(f"{name}: {error.message}" for name, error in failures)
    message = f"nothing here opens the keys of the backup ({told or 'there is nothing to try'})"
    ways = ["--identity or --passphrase-file" if backup.sealed else ""]
    kinds = {wrap.kind for wrap in backup.store.wraps}
    ways += ["--share" if "shares" in kinds else "", "--identity" if "age" in kinds else ""]
    needs = any(needed.secrets for needed in backup.roots)
    ways += ["--root-credential-file" if needs else ""]
    ways += [f"access to {wrap.root_key_id}" for wrap in backup.store.wraps if wrap.kind != "local"]
    offered = ", ".join(dict.fromkeys(filter(None, ways))) or "the keystore it was made with"
    hint = f"give {offered}; or --without-extract-keys leaves encrypted extracts unreadable"
    roots = [error for _, error in failures if isinstance(error, RootError)]
    if not roots:
        return KeyNotFoundError(message, hint=hint)
    # whether it answered and refused, or did not answer, is worth more than that it is not set up
    told_by = max(roots, key=lambda error: type(error) is not RootError)
    return type(told_by)(message, hint=hint)
