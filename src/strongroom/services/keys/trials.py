"""Looks at a root, or at a former store, before anything depends on it."""

from strongroom.errors import RootError
from strongroom.kms import any_store, opening
from strongroom.kms.keyring import KeyRing
from strongroom.kms.opening import FindRoot
from strongroom.roots.base import RootProvider

_BY_ITSELF = "it is tried again by itself"


def try_out(root: RootProvider) -> None:
    """Wrap and unwrap by a root that is not in use yet.

    The hint of an error must not promise that the root is tried again by itself: no process does so for a root that the
    node does not use.
    """
    try:
        root.check()
    except RootError as error:
        hint = error.hint
        for words in (f"{_BY_ITSELF}; ", f"; {_BY_ITSELF}"):
            hint = hint.replace(words, "")
        raise type(error)(error.message, hint=hint) from error.__cause__


def open_former(raw: bytes, find: FindRoot) -> KeyRing:
    """The MEKs of a former store, by any of its roots that answers.

    Raises:
        StrongroomError: No root opens it.
    """
    return opening.open_keys(any_store.parse(raw), find, lambda *_: None).ring
