"""The journal of a recovery: the decisions that its next run takes over from a killed one (docs/format/recovery.md 6.3)."""

from dataclasses import dataclass

from strongroom.coordination import floors
from strongroom.coordination.base import Change, Coordinator
from strongroom.coordination.floors import Point
from strongroom.services.keys import store_journals

JOURNAL = store_journals.RECOVER
_VERSION = store_journals.VERSIONS[JOURNAL]


@dataclass(frozen=True)
class Journal:
    """The decisions of a recovery, as they are stored.

    Attributes:
        rmk_id: The RMK that is to be replaced.
        keystore: Whether the keystore is lost.
        store: Epoch and digest of the present KMS store.
        key_id: The configuration key from then on; empty, until one is made, in a journal that an upgrade brought over.
        old_key_id: The configuration key that was active before.
    """

    rmk_id: str
    keystore: bool
    store: Point
    key_id: str
    old_key_id: str

    def serialize(self) -> bytes:
        """Canonical bytes."""
        members = {"rmk_id": self.rmk_id, "keystore": self.keystore, "v": _VERSION}
        keys = {"key_id": self.key_id, "old_key_id": self.old_key_id}
        return store_journals.KIND.dumps(
            {**members, **keys, "store": store_journals.plain(self.store)}
        )

    @classmethod
    def parse(cls, raw: bytes) -> "Journal":
        """Parse the bytes of a journal.

        Raises:
            FormatError: The journal is not canonical, of another version, or has wrong members.
        """
        found = store_journals.KIND.loads(raw)
        found.check_version("v", _VERSION)
        found.check_names((*cls.__annotations__, "v"))
        return cls(
            found.text("rmk_id"),
            found.flag("keystore"),
            store_journals.point_of(found),
            found.text("key_id"),
            found.text("old_key_id"),
        )


def find(coordinator: Coordinator, present: Point) -> Journal | None:
    """The journal of a run that has not ended; None if there is none.

    Args:
        coordinator: The coordination service.
        present: Epoch and digest of the present KMS store.

    Raises:
        FormatError: The journal is damaged.
        IntegrityError: The journal is not of the present store (entries.md 3.4).
    """
    found = coordinator.get(JOURNAL)
    if found is None:
        return None
    journal = Journal.parse(found.value)
    floors.check_same_store(journal.store, present)
    return journal


def write(coordinator: Coordinator, journal: Journal) -> Journal:
    """Put the journal, in the place of another one, and return it."""
    found = coordinator.get(JOURNAL)
    coordinator.put({JOURNAL: Change(journal.serialize(), found.version if found else 0)})
    return journal


def drop(coordinator: Coordinator, name: str) -> None:
    """Take a journal away, if it is there."""
    found = coordinator.get(name)
    if found is not None:
        coordinator.put({name: Change(None, found.version)})
