"""Opens the keys of a backup by the first of several ways that works, and names that way; changes nothing anywhere.

A root is only ever asked to unwrap (A-25). Whichever way gives the RMK, the manifest's MAC is verified by that RMK.
Before that, the root settings in a backup are claims of a stranger, who could name a server of his own to collect
credentials: no root is contacted by such settings unless the operator says so (`use_backup_roots`).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from strongroom.backup import keys
from strongroom.backup.keys import NeededRoot
from strongroom.backup.open_backup import OpenBackup, OpenKeys
from strongroom.crypto.age import OpenWith
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import KeyNotFoundError, RootError, StrongroomError
from strongroom.kms.keyring import KeyRing
from strongroom.roots.base import RootProvider, WrapRecord
from strongroom.roots.registry import AGE, LOCAL, RECIPIENT_KINDS, SHARES
from strongroom.roots.settings import RootSettings

FindRoot = Callable[[WrapRecord], RootProvider]
OpenRecipient = Callable[[WrapRecord, OpenWith], SecretBytes]
_NOTHING = OpenWith()
_PLACES = frozenset({"address", "endpoint", "module", "region", "tcti", "vault"})
GIVEN, OWN_MEK = "what was given", "a MEK of this installation"
NOT_OPENED = (RootError, KeyNotFoundError)
"""The errors of `open_keys` if no way opens the keys; a backup that is not genuine raises another error."""


@dataclass(frozen=True)
class OpeningWays:
    """The means by which the keys of a backup may be opened.

    Attributes:
        build: Makes a provider of root settings.
        check: Makes root settings of a backup anew, with the options that are allowed.
        recipient: Opens a recovery wrap by an identity.
        own_ring: Returns the MEKs of this installation; None outside an installation.
        own_root: Returns the provider of a root that this installation knows; None outside an installation.
        other_ways: Roots of this installation of the wrap's kind with another name than the wrap's, since a key may
            have moved; each with its name.
        given: Identities or a passphrase that the operator gave.
        credential: Token, PIN or the like of the source's root.
        use_backup_roots: Whether the operator lets the backup say which roots are asked, and how.
        identities: Fingerprints of identities that the reader knows, each with the words for where from.
    """

    build: Callable[[RootSettings], RootProvider]
    check: Callable[[RootSettings], RootSettings]
    recipient: OpenRecipient
    own_ring: Callable[[], KeyRing] | None = None
    own_root: FindRoot | None = None
    other_ways: Callable[[WrapRecord], Iterable[tuple[str, RootProvider]]] = lambda _: ()
    given: OpenWith = _NOTHING
    credential: SecretBytes | None = None
    use_backup_roots: bool = False
    identities: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Opened:
    """The keys of a backup.

    Attributes:
        keys: The keys.
        by: Words that name the way by which the keys were opened.
        origin: Words that name the secret of ours that its maker must have known; empty if the backup could be made
            without one, since anybody can seal a backup to a public recipient, and many to a passphrase.
    """

    keys: OpenKeys
    by: str
    origin: str = ""


def open_keys(backup: OpenBackup, means: OpeningWays) -> Opened:
    """Open the keys of a backup by the first way that works.

    Raises:
        RootError: A root that was asked does not open the keys, and no other way does.
        KeyNotFoundError: No way at hand opens the keys, and no root was asked.
        IntegrityError: The keys open, and the backup is not genuine.
    """
    failures: list[tuple[str, StrongroomError]] = []
    for name, unwrap in _ways(backup, means):
        try:
            material = unwrap()
        except StrongroomError as error:
            failures.append((name, error))
            continue
        return Opened(backup.open_with(material), name, _origin(backup, means, material))
    raise _refused(backup, means, failures)


def trusted_roots(backup: OpenBackup, means: OpeningWays) -> tuple[RootSettings, ...]:
    """The root settings of the backup that may be kept: none unless the operator trusts them, and checked ones only."""
    if not means.use_backup_roots:
        return ()
    kept = []
    for needed in backup.roots:
        # a root that needs a credential would be asked without one again and again
        if not needed.secrets:
            with suppress(StrongroomError):
                kept.append(means.check(needed.settings))
    return tuple(kept)


def _origin(backup: OpenBackup, means: OpeningWays, material: SecretBytes) -> str:
    """Words for the secret of ours that the backup's maker had; empty if nothing of ours was needed to make it.

    A passphrase is no such secret: whoever guessed it, or read it where it was noted, can seal to it as well.
    """
    for name, unwrap in _own_ways(backup, means):
        with suppress(StrongroomError):
            if unwrap() == material:
                return name
    return origin_by_identity(backup, means)


def origin_by_identity(backup: OpenBackup, means: OpeningWays) -> str:
    """Words for the identity that signed the backup, if the reader knows it; needs no key of the backup."""
    return means.identities.get(backup.fingerprint, "") if backup.fingerprint else ""


def _own_ways(
    backup: OpenBackup, means: OpeningWays
) -> Iterator[tuple[str, Callable[[], SecretBytes]]]:
    ring = means.own_ring
    if ring is not None:
        yield OWN_MEK, lambda: keys.unwrap_by_mek(backup.by_mek, ring(), backup.place)


def _ways(
    backup: OpenBackup, means: OpeningWays
) -> Iterator[tuple[str, Callable[[], SecretBytes]]]:
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
    backup: OpenBackup, wrap: WrapRecord, means: OpeningWays
) -> Iterator[tuple[str, Callable[[], SecretBytes]]]:
    name = f"the {wrap.kind} root {wrap.root_key_id}"
    own = means.own_root
    if own is not None:
        yield name, lambda: own(wrap).unwrap(wrap)
    for other, root in means.other_ways(wrap):
        yield f"the {wrap.kind} root {other}", partial(root.unwrap, wrap)
    for needed in backup.roots:
        if not means.use_backup_roots or not needed.settings.opens(wrap):
            continue
        if not needed.secrets:
            yield name, partial(_unwrapped, means, needed.settings, wrap)
        elif means.credential is not None and wrap == backup.store.wraps[0]:
            # the credential is sent to the root of the mode only: a PIN tried at another token counts there as a wrong
            # PIN, and a few of those lock a token
            settings = needed.with_credential(means.credential)
            yield name, partial(_unwrapped, means, settings, wrap)


def _unwrapped(means: OpeningWays, settings: RootSettings, wrap: WrapRecord) -> SecretBytes:
    return means.build(settings).unwrap(wrap)


def _refused(
    backup: OpenBackup, means: OpeningWays, failures: list[tuple[str, StrongroomError]]
) -> StrongroomError:
    tried = "; ".join(f"{name}: {error.message}" for name, error in failures)
    message = f"nothing here opens the keys of the backup ({tried or 'there is nothing to try'})"
    unasked = "" if means.use_backup_roots else "; ".join(map(_described, backup.roots))
    if unasked:
        message += f"; it names roots that were not asked: {unasked}"
    offered = ", ".join(dict.fromkeys(_to_give(backup, are_unasked=bool(unasked))))
    hint = (
        f"give {offered or 'the keystore it was made with'};"
        " or --without-extract-keys leaves encrypted extracts unreadable"
    )
    roots = [error for _, error in failures if isinstance(error, RootError)]
    if not roots:
        return KeyNotFoundError(message, hint=hint)
    # prefer "refused" and "unavailable" to a plain RootError, which says only that this root is not set up here: the
    # caller retries an unavailable root
    telling = max(roots, key=lambda error: type(error) is not RootError)
    return type(telling)(message, hint=hint)


def _to_give(backup: OpenBackup, *, are_unasked: bool) -> list[str]:
    """The options by which this backup may open, for the hint."""
    wraps = backup.store.wraps
    kinds = {wrap.kind for wrap in wraps}
    table = [
        ("--identity or --passphrase-file", bool(backup.sealed)),
        ("--share", SHARES in kinds),
        ("--identity", AGE in kinds),
        ("--root-credential-file", any(needed.secrets for needed in backup.roots)),
        *((f"access to {wrap.root_key_id}", wrap.kind != LOCAL) for wrap in wraps),
        ("--use-backup-roots, if you trust these roots, or set them up here", are_unasked),
    ]
    return [way for way, helps in table if helps]


def _described(needed: NeededRoot) -> str:
    """A root as the backup names it; quoted, since these words are unauthenticated and could hold control characters."""
    root = needed.settings
    how = [f"{name}={text!r}" for name, text in sorted(root.options.items()) if name in _PLACES]
    return " ".join((f"{root.kind!r} {root.root_key_id!r}", *how))
