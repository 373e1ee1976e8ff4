"""The file store in a bucket, for any number of nodes (format/object-store.md)."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import cached_property
from typing import Final

from strongroom.filestore.base import FileStat, LastingPin, Step, checked_key
from strongroom.objectstore import head, heads, lasting, pins, sweep
from strongroom.objectstore.base import Bucket
from strongroom.objectstore.head import Head
from strongroom.objectstore.opened import OpenedObject
from strongroom.objectstore.pending import PendingObject
from strongroom.objectstore.pins import Pins

_REQUESTS_AT_ONCE: Final = 8
_PIN: Final = b"{}"


class ObjectFileStore:
    """Files below the prefix of one address.

    Args:
        bucket: The objects.
        node_id: The node that keeps files while it makes a backup.
    """

    def __init__(self, bucket: Bucket, node_id: str) -> None:
        self._bucket = bucket
        self._heads = heads.Heads(bucket)
        self._pin = f"{pins.FOLDER}/{node_id}"

    def put(self, key: str, *, expected_bytes: int = 0) -> PendingObject:
        """Begin a new file."""
        del expected_bytes
        return PendingObject(self._bucket, checked_key(key), self._pool)

    def open(self, key: str) -> OpenedObject:
        """Open a file."""
        return self._opened(key, self._heads.read(checked_key(key)))

    def delete(self, key: str) -> None:
        """Delete a file; its body stays for readers until it is swept."""
        self._heads.remove(checked_key(key))

    def list(self) -> Iterator[str]:
        """Every key."""
        for one in self._bucket.list("head"):
            yield one.name.removeprefix("head/")

    def stat(self, key: str) -> FileStat:
        """The facts about a file."""
        return FileStat(self._heads.read(checked_key(key)).size)

    def swap_header(self, key: str, change: Step) -> None:
        """Replace the head by one with all steps, under its ETag."""
        self._heads.change(checked_key(key), change)

    def keep(self, keys: Iterable[str] = ()) -> Pins:
        """Keep files by a pin of this node, which stops the sweeps of all nodes."""
        wanted = [checked_key(key) for key in keys]
        self._bucket.write(self._pin, _PIN)
        kept = Pins(self._bucket, self._heads, self._opened)
        kept.add(wanted)
        return kept

    @property
    def is_keeping(self) -> bool:
        """Whether this node has a pin."""
        return sweep.is_there(self._bucket, self._pin)

    def let_go(self) -> None:
        """Remove the pin of this node."""
        self._bucket.delete(self._pin)

    @property
    def address(self) -> str:
        """The address of the store."""
        return self._bucket.address.text

    def pin(self, pin_id: str, *, file: str, until: datetime) -> None:
        """Keep what is there now, and is deleted later, by an object that sweeps look for."""
        lasting.write(self._bucket, pin_id, file=file, until=until)

    def release(self, pin_id: str) -> None:
        """Remove the object of a pin."""
        lasting.release(self._bucket, pin_id)

    def lasting_pins(self) -> tuple[LastingPin, ...]:
        """The pins of backups, in the order of their ids, those too whose time is over."""
        return tuple(lasting.listed(self._bucket))

    def check_unpinned(self) -> None:
        """Refuse while a backup relies on the store."""
        lasting.check_none(self._bucket)

    def reference(self, key: str) -> bytes:
        """The head of a file, or the one in the note of its deletion."""
        return self._heads.last(checked_key(key)).serialize()

    def open_reference(self, key: str, reference: bytes) -> OpenedObject:
        """A file by a head of that time; its body is looked for at once."""
        found = head.parse(reference)
        self._heads.check_body(checked_key(key), found)
        return self._opened(key, found)

    def free_bytes(self) -> int | None:
        """A bucket knows no limit."""
        return None

    def place_of(self, key: str) -> str:
        """Where the file of a key lies, for a person."""
        return self._bucket.address.place(heads.place(checked_key(key)))

    def remove_leftovers(self) -> int:
        """As `sweep`: processes of other nodes may be writing what this one would take for left."""
        return self.sweep()

    def sweep(self) -> int:
        """Remove what is older than a day and needed by nobody; returns how many bodies and uploads went."""
        return sweep.sweep(self._bucket)

    def empty(self) -> int:
        """Remove every object below the prefix; returns how many files there were."""
        return sweep.empty(self._bucket)

    def close(self) -> None:
        """End the threads that send and read ahead."""
        if "_pool" in self.__dict__:
            self._pool.shutdown(wait=False, cancel_futures=True)

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(_REQUESTS_AT_ONCE, thread_name_prefix="objectstore")

    def _opened(self, key: str, found: Head) -> OpenedObject:
        return OpenedObject(self._bucket, key, found, self._pool)
