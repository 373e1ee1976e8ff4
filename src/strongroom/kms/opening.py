"""Opens a store by its wraps, each of which gives the same RMK, and logs which root did."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from strongroom.crypto.secret import SecretBytes
from strongroom.errors import RootError, StrongroomError
from strongroom.ids import RmkId
from strongroom.kms.keyring import KeyRing
from strongroom.kms.keys import Rmk
from strongroom.kms.store import KmsStore
from strongroom.roots import registry
from strongroom.roots.base import RootProvider, WrapRecord
from strongroom.roots.kinds import LogWords

FindRoot = Callable[[WrapRecord], RootProvider]
#: Called with the name of a log channel and a sentence. A parameter, since importing `logging` costs a command 30 ms.
Log = Callable[[str, str], None]


class Openable(Protocol):
    """A store of either format, as far as opening it goes."""

    @property
    def epoch(self) -> int:
        """The number of this state of the store."""
        ...

    @property
    def rmk_id(self) -> RmkId:
        """The id of the RMK."""
        ...

    @property
    def wraps(self) -> tuple[WrapRecord, ...]:
        """The wraps of the RMK."""
        ...

    def rmk(self, material: SecretBytes) -> Rmk:
        """The RMK of this material."""
        ...

    def open_ring(self, rmk: Rmk) -> KeyRing:
        """The MEKs, once the MAC is verified."""
        ...


@dataclass(frozen=True)
class OpenStore:
    """A store whose MAC was verified, exactly as it lies, with its open keys."""

    store: KmsStore
    rmk: Rmk
    ring: KeyRing


class OpenedKeys(NamedTuple):
    """The keys of a store whose MAC was verified, and the wrap that opened them."""

    rmk: Rmk
    ring: KeyRing
    by: WrapRecord


def open_store(store: KmsStore, find_root: FindRoot, log: Log) -> OpenStore:
    """Open a store by the first wrap that gives the RMK (`open_keys`).

    Raises:
        StrongroomError: No wrap opens the store; this is the error of the last one that was tried.
    """
    keys = open_keys(store, find_root, log)
    opened = OpenStore(store, keys.rmk, keys.ring)
    tell_opened(opened, keys.by, log)
    return opened


def open_keys(store: Openable, find_root: FindRoot, log: Log) -> OpenedKeys:
    """The keys of a store of either format, by the first wrap that gives the RMK.

    All wraps are tried in order, except those for recovery recipients: no identity is at hand here, and an error about
    that would hide the real one.

    Raises:
        StrongroomError: No wrap opens the store; this is the error of the last one that was tried.
    """
    failure: StrongroomError = RootError(f"the RMK {store.rmk_id} has no wrap that can be opened")
    for wrap in store.wraps:
        try:
            root = find_root(wrap)
            if not root.describe().online:
                continue
            rmk = store.rmk(root.unwrap(wrap))
            return OpenedKeys(rmk, store.open_ring(rmk), wrap)
        except StrongroomError as error:
            log(_words(wrap.kind).accessor, f"Wrap {wrap.id} did not open the RMK: {error}")
            failure = error
    raise failure


def tell_opened(opened: OpenStore, wrap: WrapRecord, log: Log) -> None:
    """Log which root opened a store (A-16)."""
    accessor, envelope, key_words = _words(wrap.kind)
    key, rmk_id = wrap.root_key_id, opened.rmk.id
    log(accessor, f"Decrypted the RMK with ID {rmk_id} using the {key_words} {key}")
    log(envelope, f"Using RMK with ID {rmk_id} to decrypt KMS store")


def reopen_store(store: KmsStore, rmk: Rmk, log: Log) -> OpenStore:
    """Open a store by an RMK that is in memory, without asking a root.

    Raises:
        IntegrityError: The store is not one of this RMK, or is damaged.
    """
    opened = OpenStore(store, rmk, store.open_ring(rmk))
    log(_words(store.wraps[0].kind).envelope, f"Using RMK with ID {rmk.id} to decrypt KMS store")
    return opened


def _words(kind: str) -> LogWords:
    """How log lines name a root (A-16)."""
    found = registry.known(kind)
    if found and found.log_words:
        return found.log_words
    name = f"{kind.capitalize()}KmsEncryptionEnvelope"
    return LogWords(f"{name}Accessor", name, f"{kind} key")
