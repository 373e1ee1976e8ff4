"""Removes what nobody needs any longer from an object store, by the store's own times (§6)."""

from collections import Counter
from datetime import datetime, timedelta
from typing import Final

from strongroom.errors import NotFoundError
from strongroom.objectstore import heads, lasting, pins
from strongroom.objectstore.base import Bucket, MissingError

KEPT: Final = timedelta(hours=24)
"""How long the body of a deleted file stays: the longest download."""
LONGEST_PIN: Final = timedelta(days=7)


def sweep(bucket: Bucket, kept: timedelta = KEPT) -> int:
    """Remove bodies, notes and uploads that are older than a time; returns how many bodies and uploads went.

    Raises:
        FormatError: A head is damaged, so that its body is not known.
        StorageError: The store refuses, or does not answer.
    """
    before = bucket.now() - kept
    gone = _of_uploads(bucket, before)
    if _is_pinned(bucket):
        return gone
    return gone + _Sweep(bucket, before, lasting.protected_since(bucket)).run()


def empty(bucket: Bucket) -> int:
    """Remove everything, in the order in which nothing names what is gone; returns how many files there were.

    Raises:
        StateError: The pin of a backup is in force; nothing was removed.
        FormatError: An object among the pins of backups is none; nothing was removed.
        StorageError: The store refuses, or does not answer.
    """
    lasting.check_none(bucket)
    files = [one.name for one in bucket.list("head")]
    for name in files:
        bucket.delete(name)
    for folder in ("body", "gone", pins.FOLDER, "probe"):
        for one in bucket.list(folder):
            bucket.delete(one.name)
    for upload in bucket.open_uploads():
        bucket.abort_parts(upload.name, upload.id)
    return len(files)


def is_there(bucket: Bucket, name: str) -> bool:
    """Whether there is an object of a name."""
    try:
        bucket.size(name)
    except MissingError:
        return False
    return True


class _Sweep:
    """A sweep of bodies and notes that are as old as that, but for deletions that a lasting pin keeps since a time."""

    def __init__(self, bucket: Bucket, before: datetime, kept_since: datetime | None) -> None:
        self._bucket = bucket
        # A file may come or go meanwhile: one that comes is not among these bodies; one that goes has its note before its
        # head is removed, and a note is looked for once more before a body goes.
        self._bodies = {
            one.name.removeprefix("body/"): one.changed <= before for one in bucket.list("body")
        }
        self._until = before if kept_since is None else min(before, kept_since)
        self._notes = {
            one.name.removeprefix("gone/"): one.changed <= self._until
            for one in bucket.list("gone")
        }
        self._heads = {one.name.removeprefix("head/") for one in bucket.list("head")}
        self._of_key = Counter(_key_of(body) for body in self._bodies)

    def run(self) -> int:
        """Remove what is old; returns how many bodies went."""
        gone = 0
        for name, is_old in self._notes.items():
            if not is_old:
                continue
            # A deletion writes its note before it removes the head: if no head names the body, the note that is looked at
            # afterwards is the last one.
            is_named = self._is_named(name)
            if not self._is_still_old(name):
                continue
            if not is_named and name in self._bodies:
                self._bucket.delete(f"body/{name}")
                gone += 1
            self._bucket.delete(f"gone/{name}")
        for name in self._bodies.keys() - self._notes.keys():
            if self._bodies[name] and not self._is_named(name) and not self._has_note(name):
                self._bucket.delete(f"body/{name}")
                gone += 1
        return gone

    def _is_named(self, name: str) -> bool:
        """Whether a head names the body; one of several bodies of a key is known by reading the head alone."""
        key = _key_of(name)
        if key not in self._heads:
            return False
        if self._of_key[key] == 1 and name in self._bodies and name not in self._notes:
            return True
        try:
            return heads.Heads(self._bucket).read(key).body_id == name.rpartition("/")[2]
        except NotFoundError:
            return False

    def _is_still_old(self, name: str) -> bool:
        """Whether a note is as old as the list said: a file that is deleted once more has its note written anew."""
        try:
            return self._bucket.changed(f"gone/{name}") <= self._until
        except MissingError:
            return False  # another node sweeps, too

    def _has_note(self, name: str) -> bool:
        return is_there(self._bucket, f"gone/{name}")


def _is_pinned(bucket: Bucket) -> bool:
    """Whether a node's pin counts: one that is older than the longest backup is of a node that is no more."""
    limit = bucket.now() - LONGEST_PIN
    return any(
        one.changed > limit
        for one in bucket.list(pins.FOLDER)
        if not one.name.startswith(f"{lasting.FOLDER}/")
    )


def _of_uploads(bucket: Bucket, before: datetime) -> int:
    gone = 0
    for one in bucket.open_uploads():
        if one.begun <= before:
            bucket.abort_parts(one.name, one.id)
            gone += 1
    return gone


def _key_of(name: str) -> str:
    return name.rpartition("/")[0]
