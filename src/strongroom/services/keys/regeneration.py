"""The journal of a regeneration, and what it explains of the key files (docs/format/entries.md 3.4).

Each attempt of a run in a cluster has numbers of its own for the records, and keys of its own names: what an attempt on
another node has left on that disk alone is behind them, and gives way (docs/format/key-changes.md 4.8).
"""

from dataclasses import dataclass
from typing import Final

from strongroom.configuration_keys import records as key_records
from strongroom.coordination import anchor
from strongroom.coordination.base import Coordinator
from strongroom.coordination.entries import EntryKeys
from strongroom.coordination.floors import Point
from strongroom.coordination.proving import ProvingLoader
from strongroom.services.keys import store_journals

JOURNAL: Final = store_journals.REGENERATE
KEYS: Final = "keys"
"""The word of a scope that stands for the key hierarchy; a scope's other words are those of a secret rotation."""
ROOM: Final = 2 * key_records.MAX_RECORDS
"""More generations than one attempt can give to the records: one for each key that goes, and four."""
_VERSION: Final = store_journals.VERSIONS[JOURNAL]
_ATTEMPT: Final = ("generation", "node")


@dataclass(frozen=True)
class Journal:
    """The decisions and the progress of a run, as they are stored.

    Attributes:
        step: The last step that is done.
        alias: The new master key's alias.
        key_id: The new configuration key's id.
        old_key_id: The configuration key that was active before.
        run: The id under which secrets are rotated.
        store: Epoch and digest of the present KMS store.
        only: The scope: `keys` and words of a rotation; empty is everything.
        node: The node of a cluster that works on the run, or did; empty on a single node.
        generation: The number above which the records of this attempt begin (key-changes.md 4.8); 0 on a single node.
    """

    step: int
    alias: str
    key_id: str
    old_key_id: str
    run: str
    store: Point
    only: tuple[str, ...] = ()
    node: str = ""
    generation: int = 0

    @property
    def keys(self) -> bool:
        """Whether the run renews the keys."""
        return not self.only or KEYS in self.only

    @property
    def secrets(self) -> tuple[str, ...] | None:
        """The scope of the secret rotation, empty for every secret; None if the run rotates no secret."""
        words = tuple(word for word in self.only if word != KEYS)
        return words if words or not self.only else None

    def serialize(self) -> bytes:
        """Canonical bytes."""
        members = {"step": self.step, "alias": self.alias, "key_id": self.key_id, "run": self.run}
        more = {"old_key_id": self.old_key_id, "only": list(self.only), "v": _VERSION}
        attempt = {"node": self.node, "generation": self.generation} if self.node else {}
        return store_journals.KIND.dumps(
            {**members, **more, **attempt, "store": store_journals.plain(self.store)}
        )

    @classmethod
    def parse(cls, raw: bytes) -> "Journal":
        """Parse the bytes of a journal.

        Raises:
            FormatError: The journal is not canonical, of another version, or has wrong members.
        """
        found = store_journals.KIND.loads(raw)
        found.check_version("v", _VERSION)
        found.check_names({*cls.__annotations__, "v"}.difference(_ATTEMPT), _ATTEMPT)
        has_attempt = "node" in found.names
        return cls(
            found.number("step"),
            found.text("alias"),
            found.text("key_id"),
            found.text("old_key_id"),
            found.text("run"),
            store_journals.point_of(found),
            found.texts("only"),
            found.text("node") if has_attempt else "",
            found.number("generation", least=1) if has_attempt else 0,
        )


def explains_newer(entries: ProvingLoader, keys: EntryKeys) -> bool:
    """Whether a keystore may have a newer master key than the one that authenticates the records (configuration-keys.md 4.4).

    An unfinished run adds it before the records are under it; or an attempt that another node has finished since left it
    on this disk alone, and the anchor knows no later records than these.

    Args:
        entries: The entries, proved by the keys of these records.
        keys: The keys of these records, with the digest of them.
    """
    found = entries.load(JOURNAL)
    if found is not None and Journal.parse(found.payload).keys:
        return True
    put = entries.load(anchor.ENTRY)
    if put is None:
        return False
    known = anchor.parse(put.payload).records
    return known.number < keys.generation or known == Point(keys.generation, keys.digest)


def above(coordinator: Coordinator, *numbers: int) -> int:
    """A generation above all that another attempt, or another change of recipients, can have used (key-changes.md 4.8).

    Args:
        coordinator: Holds the journal of an unfinished run.
        numbers: The generations that are known otherwise: of the records, and those that were taken before.
    """
    found = coordinator.get(JOURNAL)
    begun = Journal.parse(found.value).generation if found else 0
    return max(begun, *numbers) + ROOM


def coming_key(coordinator: Coordinator) -> str:
    """The id of the configuration key that an unfinished run adds; empty if no run is under way, or it renews no keys."""
    found = coordinator.get(JOURNAL)
    return Journal.parse(found.value).key_id if found else ""
