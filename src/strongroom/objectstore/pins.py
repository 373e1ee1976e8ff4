"""Keeps files readable while a backup copies them: as long as the pin is there, no sweep removes a body (§5, §6)."""

from collections.abc import Callable, Iterable

from strongroom.errors import NotFoundError
from strongroom.objectstore import head, heads
from strongroom.objectstore.base import Bucket, MissingError
from strongroom.objectstore.head import Head
from strongroom.objectstore.opened import OpenedObject

FOLDER = "pin"


class Pins:
    """The files that one holder keeps.

    Args:
        bucket: The objects of the store.
        heads_of: The heads of the store.
        opened: Opens a file by its head.
    """

    def __init__(
        self, bucket: Bucket, heads_of: heads.Heads, opened: Callable[[str, Head], OpenedObject]
    ) -> None:
        self._bucket, self._heads, self._opened = bucket, heads_of, opened
        self._kept: dict[str, str] = {}

    def add(self, keys: Iterable[str]) -> list[str]:
        """Keep files; returns the keys of files that do not exist any more."""
        missing = []
        for key in keys:
            if key in self._kept:
                continue
            try:
                self._kept[key] = self._heads.read(key).body_id
            except NotFoundError:
                missing.append(key)
        return missing

    def open(self, key: str) -> OpenedObject:
        """Open a kept file, by its head or, if it was deleted meanwhile, by the one in the note of that."""
        body_id = self._kept.get(key)
        if body_id is None:
            raise NotFoundError(f"the file {key} is not kept")
        try:
            return self._opened(key, self._heads.read(key))
        except NotFoundError:
            return self._opened(key, self._of_note(key, body_id))

    def _of_note(self, key: str, body_id: str) -> Head:
        try:
            return head.parse(self._bucket.read(heads.gone_place(key, body_id)).data)
        except MissingError:
            raise NotFoundError(f"the file store has no file {key} any more") from None
