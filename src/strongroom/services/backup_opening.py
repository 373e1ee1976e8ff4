"""Opens the keys of a backup with whatever is at hand, and says by what; changes nothing anywhere.

A root is only ever asked to unwrap (A-25). Whatever gives the RMK, the manifest's MAC is checked with it. Root settings
of a backup are words of a stranger until then: none is asked unless the operator says so.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from strongroom.backup import keys
from strongroom.backup.keys import NeededRoot
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
_PLACES = frozenset({"address", "endpoint", "module", "region", "tcti", "vault"})
GIVEN, OWN_MEK = "what was given", "a MEK of this installation"
NOT_OPENED = (RootError, KeyNotFoundError)
"""What `open_keys` raises if nothing opens them; a backup that is not genuine is another matter."""


@dataclass(frozen=True)
class Means:
    """What keys may be opened with.

    Attributes:
        build: The provider of root settings.
        check: Root settings of a backup, made anew as far as they may be used.
        recipient: Opens a recovery wrap.
        own_ring: The MEKs of this installation; None without one.
        own_root: The provider of a root that this installation knows; None without one.
        given: Identities or a passphrase of whoever asks.
        credential: Token, PIN or the like of the source's root.
        use_backup_roots: Whether the operator lets the backup say which roots are asked, and how.
    """

    build: Callable[[RootSettings], RootProvider]
    check: Callable[[RootSettings], RootSettings]
    recipient: OpenRecipient
    own_ring: Callable[[], KeyRing] | None = None
    own_root: FindRoot | None = None
    given: OpenWith = _NOTHING
    credential: SecretBytes | None = None
    use_backup_roots: bool = False


@dataclass(frozen=True)
class Opened:
    """The keys of a backup.

    Attributes:
        keys: The keys.
        by: What opened them, in words.
        origin: What proves who made the backup, in words; empty if nothing does. Whoever knows a public recipient
            can seal a backup to it.
    """

    keys: OpenKeys
    by: str
    origin: str = ""


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
        return Opened(backup.open_with(material), name, _origin(backup, means, material, name))
    raise _refused(backup, means, failures)


def trusted_roots(backup: OpenBackup, means: Means) -> tuple[RootSettings, ...]:
    """Root settings of the backup that may be kept: only by the operator's word, and checked."""
    if not means.use_backup_roots:
        return ()
    kept = []
    for needed in backup.roots:
        # one that asks for a credential would be asked without it, again and again
        if not needed.secrets:
            with suppress(StrongroomError):
                kept.append(means.check(needed.settings))
    return tuple(kept)


def _origin(backup: OpenBackup, means: Means, material: SecretBytes, by: str) -> str:
    """What proves that the maker had a secret of ours, not a public key alone."""
    if by == GIVEN and means.given.passphrase is not None:
        return "the passphrase"
    for name, unwrap in _own_ways(backup, means):
        with suppress(StrongroomError):
            if unwrap() == material:
                return name
    return ""


def _own_ways(backup: OpenBackup, means: Means) -> Iterator[tuple[str, Callable[[], SecretBytes]]]:
    ring = means.own_ring
    if ring is not None:
        yield OWN_MEK, lambda: keys.unwrap_by_mek(backup.by_mek, ring(), backup.place)


def _ways(backup: OpenBackup, means: Means) -> Iterator[tuple[str, Callable[[], SecretBytes]]]:
    store, given = backup.store, means.given
    if not given.is_empty and backup.sealed:
        yield GIVEN, lambda: keys.open_rmk(backup.sealed, backup.place, given)
    if given.identities:
        for wrap in store.wraps:
            if wrap.kind in RECIPIENT_KINDS:
                name = f"the recovery recipient {wrap.root_key_id}"
                yield name, partial(means.recipient, wrap, given)
    yield from _own_ways(backup, means)
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
        if not means.use_backup_roots or not needed.settings.opens(wrap):
            continue
        if not needed.secrets:
            yield name, partial(_unwrapped, means, needed.settings, wrap)
        elif means.credential is not None and wrap == backup.store.wraps[0]:
            # to the mode's root alone: a PIN that is tried at another token may lock that
            settings = needed.with_credential(means.credential)
            yield name, partial(_unwrapped, means, settings, wrap)


def _unwrapped(means: Means, settings: RootSettings, wrap: WrapRecord) -> SecretBytes:
    return means.build(settings).unwrap(wrap)


def _refused(
    backup: OpenBackup, means: Means, failures: list[tuple[str, StrongroomError]]
) -> StrongroomError:
    told = "; ".join(f"{name}: {error.message}" for name, error in failures)
    message = f"nothing here opens the keys of the backup ({told or 'there is nothing to try'})"
    unasked = "" if means.use_backup_roots else "; ".join(map(_described, backup.roots))
    if unasked:
        message += f"; it names roots that were not asked: {unasked}"
    ways = ["--identity or --passphrase-file" if backup.sealed else ""]
    kinds = {wrap.kind for wrap in backup.store.wraps}
    ways += ["--share" if "shares" in kinds else "", "--identity" if "age" in kinds else ""]
    needs = any(needed.secrets for needed in backup.roots)
    ways += ["--root-credential-file" if needs else ""]
    ways += [f"access to {wrap.root_key_id}" for wrap in backup.store.wraps if wrap.kind != "local"]
    if unasked:
        ways.append("--use-backup-roots, if you trust these roots, or set them up here")
    offered = ", ".join(dict.fromkeys(filter(None, ways))) or "the keystore it was made with"
    hint = f"give {offered}; or --without-extract-keys leaves encrypted extracts unreadable"
    roots = [error for _, error in failures if isinstance(error, RootError)]
    if not roots:
        return KeyNotFoundError(message, hint=hint)
    # whether it answered and refused, or did not answer, is worth more than that it is not set up
    told_by = max(roots, key=lambda error: type(error) is not RootError)
    return type(told_by)(message, hint=hint)


def _described(needed: NeededRoot) -> str:
    """A root as the backup names it; quoted, since nobody vouches for these words."""
    root = needed.settings
    how = [f"{name}={text!r}" for name, text in sorted(root.options.items()) if name in _PLACES]
    return " ".join((f"{root.kind!r} {root.root_key_id!r}", *how))
