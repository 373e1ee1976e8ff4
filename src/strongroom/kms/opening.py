"""Open a store through its wraps: any one of them gives the RMK."""

from collections.abc import Callable
from dataclasses import dataclass

from strongroom.errors import RootError, StrongroomError
from strongroom.kms.keyring import KeyRing
from strongroom.kms.keys import Rmk
from strongroom.kms.store import KmsStore
from strongroom.roots.base import RootProvider, WrapRecord

FindRoot = Callable[[WrapRecord], RootProvider]
#: Takes the name of a log channel and a sentence. Injected: importing `logging` costs 30 ms.
Log = Callable[[str, str], None]

#: Kind of root → log channels of its accessor and of its store, and what opened the RMK (A-16).
_WORDS = {
    "local": (
        "LocalKmsEncryptionEnvelopeAccessor",
        "LocalKmsEncryptionEnvelope",
        "configuration key with ID",
    ),
    "aws": ("AwsKmsEncryptionEnvelopeAccessor", "AwsKmsEncryptionEnvelope", "CMK with ARN"),
    "azure": ("AzureKeyVaultEnvelopeAccessor", "AzureKeyVaultEnvelope", "key with ID"),
}


@dataclass(frozen=True)
class OpenStore:
    """A store whose MAC was checked, with its keys."""

    store: KmsStore
    rmk: Rmk
    ring: KeyRing


def open_store(store: KmsStore, find_root: FindRoot, log: Log) -> OpenStore:
    """Open by the first wrap that gives the RMK.

    Raises:
        StrongroomError: What the last wrap failed with; wraps that can be asked are all asked, and
            recovery recipients are not: what they would say must not hide what is wrong.
    """
    failure: StrongroomError = RootError(f"the RMK {store.rmk_id} has no wrap that can be opened")
    for wrap in store.wraps:
        try:
            root = find_root(wrap)
            if not root.describe().online:
                continue
            rmk = store.rmk(root.unwrap(wrap))
            opened = OpenStore(store, rmk, store.open_ring(rmk))
        except StrongroomError as error:
            log(_words(wrap.kind)[0], f"Wrap {wrap.id} did not open the RMK: {error}")
            failure = error
            continue
        tell_opened(opened, wrap, log)
        return opened
    raise failure


def tell_opened(opened: OpenStore, wrap: WrapRecord, log: Log) -> None:
    """Say which root opened a store (A-16)."""
    accessor, envelope, key_words = _words(wrap.kind)
    key, rmk_id = wrap.root_key_id, opened.rmk.id
    log(accessor, f"Decrypted the RMK with ID {rmk_id} using the {key_words} {key}")
    log(envelope, f"Using RMK with ID {rmk_id} to decrypt KMS store")


def reopen_store(store: KmsStore, rmk: Rmk, log: Log) -> OpenStore:
    """Open a store by an RMK that is in memory: no root is asked.

    Raises:
        IntegrityError: It is not of this RMK, or damaged.
    """
    opened = OpenStore(store, rmk, store.open_ring(rmk))
    _, envelope, _ = _words(store.wraps[0].kind)
    log(envelope, f"Using RMK with ID {rmk.id} to decrypt KMS store")
    return opened


def _words(kind: str) -> tuple[str, str, str]:
    name = f"{kind.capitalize()}KmsEncryptionEnvelope"
    return _WORDS.get(kind, (f"{name}Accessor", name, f"{kind} key"))
