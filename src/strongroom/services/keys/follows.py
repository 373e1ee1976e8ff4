"""Decides whether the KMS store follows from those that were seen before (docs/format/kms-store.md 6.4, 6.5).

This is a module of its own with few imports, since every command that opens a key starts here.
"""

from collections.abc import Callable, Mapping

from strongroom.errors import IntegrityError
from strongroom.kms import links
from strongroom.kms.links import Continuity, Known
from strongroom.kms.store import KmsStore

NAME = "kms.epoch"
ACCEPTED = "kms.accepted"
_WORDS = {
    Continuity.BEHIND: "was rolled back or replaced",
    Continuity.DIFFERENT: "was rolled back or replaced",
    Continuity.FORGED: "was not signed by the keys of the one before it: somebody without them has put it there",
    Continuity.UNCONNECTED: "does not lead back to that one: somebody else made it, or too many were in between",
    Continuity.BROKEN: "leaves behind one that nothing opened, and nobody here has accepted that",
}


def check_follows(store: KmsStore, raw: bytes, mark: Known, accepted: Known | None) -> bool:
    """Refuse a store that does not follow from a known one (6.4, 6.5); returns whether it is another one.

    Args:
        store: The present store.
        raw: The bytes of that store.
        mark: The known store.
        accepted: A store that an administrator accepted, from which it may follow as well.

    Raises:
        IntegrityError: The store was rolled back, replaced or made by somebody without the keys of the known one.
    """
    found = store.continuity(mark, raw)
    if found.is_proved:
        return found is not Continuity.SAME
    # an older store that was accepted once does not count again: it is behind the mark
    if (
        accepted is not None
        and accepted.epoch > mark.epoch
        and store.continuity(accepted, raw).is_proved
    ):
        return True
    known = store.known(raw)
    raise IntegrityError(
        f"the KMS store has epoch {known.epoch}, and epoch {mark.epoch} was seen before: it {_WORDS[found]}",
        hint="find out why; if it is to count: tsm security kms accept"
        f" --epoch {known.epoch} --digest {known.digest}",
    )


def parse(text: str) -> Known:
    """The store that a mark names.

    A mark of 0.1.0 has no successor key: nothing but that very store follows from it.
    """
    epoch, digest, key = [*text.split(" "), ""][:3]
    return Known(int(epoch), digest, bytes.fromhex(key))


class FollowsMarks:
    """Refuses, by the same marks, a store that is about to be opened; implements `kms.cache.Follows`."""

    def __init__(self, marks: Callable[[tuple[str, ...]], Mapping[str, str]]) -> None:
        """Take the reader of the marks' texts, which is cheap: every command that opens a key reads them."""
        self._marks = marks

    def __call__(self, store: KmsStore, raw: bytes, known: Known | None) -> None:
        """Refuse a store that follows neither from the one that is known in memory nor from the marks.

        Raises:
            IntegrityError: The store was rolled back, replaced or made by somebody without the keys of the one before it.
        """
        texts = self._marks((NAME, ACCEPTED))
        seen, accepted = (
            parse(texts[name]) if name in texts else None for name in (NAME, ACCEPTED)
        )
        newest = links.newest(known, seen) if known else seen
        # an older store that was accepted is the mark itself, whatever this process has seen
        if newest is not None and seen != store.known(raw):
            check_follows(store, raw, newest, accepted)
