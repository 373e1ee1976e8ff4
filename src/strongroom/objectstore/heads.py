"""Creates, reads, changes and removes heads, and finds out what became of a write whose answer was lost (§3 to §5)."""

import time
from typing import Final

from strongroom.errors import ConflictError, IntegrityError, NotFoundError, StorageError, UsageError
from strongroom.filestore.base import BLOCK_BYTES, HEADER_BYTES, Step
from strongroom.objectstore import head
from strongroom.objectstore.base import Bucket, ConditionError, MissingError, UnansweredError
from strongroom.objectstore.head import Head

_TRIES: Final = 4
_MOST_CHANGES: Final = 200  # others may change the head so often while we try
_PAUSE_S: Final = 0.2
_SHORT_S: Final = 0.005


def place(key: str) -> str:
    """The name of a file's head."""
    return f"head/{key}"


def body_place(key: str, body_id: str) -> str:
    """The name of a body."""
    return f"body/{key}/{body_id}"


def gone_place(key: str, body_id: str) -> str:
    """The name of the note that a file was deleted."""
    return f"gone/{key}/{body_id}"


class Heads:
    """The heads of one store."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def read(self, key: str) -> Head:
        """The head of a file.

        Raises:
            NotFoundError: There is no file of this key.
            FormatError: The object is no head.
            StorageError: The store refuses, or does not answer.
        """
        return self._found(key)[0]

    def create(self, key: str, new: Head) -> None:
        """Let a file be there from now on.

        Raises:
            ConflictError: There is one of this key.
            StorageError: The store refuses, or does not answer; then the file may be there all the same.
        """
        data = new.serialize()
        for attempt in range(1, _TRIES + 1):
            try:
                self._bucket.create(place(key), data)
            except (ConditionError, UnansweredError) as error:
                if self._is_ours(key, data):
                    return
                if attempt == _TRIES:
                    if isinstance(error, UnansweredError):
                        raise
                    raise _always_refused(self._bucket, place(key)) from None
                time.sleep(_PAUSE_S * 2**attempt)
            else:
                return

    def change(self, key: str, change: Step) -> None:
        """Take all steps of a change of a file's header, and replace its head by the result, until no step is left.

        Raises:
            NotFoundError: There is no file of this key.
            UsageError: A step changes more than one block, or the length.
            IntegrityError: The store gives back something else than was written.
            StorageError: The store refuses, or does not answer.
        """
        vain, refused_tag, replaced_tag = 0, "", ""
        for attempt in range(_MOST_CHANGES):
            found, tag = self._found(key)
            wanted = found._replace(header=_after(found.header, change))
            if wanted == found:
                return
            if tag == replaced_tag:
                raise IntegrityError
            if tag == refused_tag:  # the head is as it was, and the write was refused all the same
                vain += 1
                if vain == _TRIES:
                    break
            try:
                self._bucket.replace(place(key), wanted.serialize(), tag)
            except ConditionError:
                refused_tag = tag
                time.sleep(min(_PAUSE_S, _SHORT_S * attempt))
            except UnansweredError:
                vain += 1
                if vain == _TRIES:
                    raise
                # a store may take an object once a second only
                time.sleep(_PAUSE_S * 2**vain)
            else:
                replaced_tag = tag
        raise _always_refused(self._bucket, place(key))

    def remove(self, key: str) -> None:
        """Let a file be no longer there; its body stays for those who read it. A missing file is no error."""
        try:
            found = self.read(key)
        except NotFoundError:
            return
        self._bucket.write(gone_place(key, found.body_id), found.serialize())
        self._bucket.delete(place(key))

    def last(self, key: str) -> Head:
        """The head of a file, or, if it was deleted a short time ago, the one that it had.

        Raises:
            NotFoundError: There is neither.
            FormatError: The object is no head.
            StorageError: The store refuses, or does not answer.
        """
        try:
            return self.read(key)
        except NotFoundError:
            notes = sorted(self._bucket.list(f"gone/{key}"), key=lambda one: one.changed)
            if not notes:
                raise
            return head.parse(self._bucket.read(notes[-1].name).data)

    def check_body(self, key: str, found: Head) -> None:
        """Look whether the body of a head is there.

        Raises:
            NotFoundError: The body is not there.
            IntegrityError: The body is of another length.
            StorageError: The store refuses, or does not answer.
        """
        if not found.body_bytes:
            return
        try:
            size = self._bucket.size(body_place(key, found.body_id))
        except MissingError:
            raise NotFoundError(f"the file store has no body of {key} any more") from None
        if size != found.body_bytes:
            raise IntegrityError

    def _found(self, key: str) -> tuple[Head, str]:
        try:
            found = self._bucket.read(place(key))
        except MissingError:
            raise NotFoundError(f"the file store has no file {key}") from None
        return head.parse(found.data), found.tag

    def _is_ours(self, key: str, data: bytes) -> bool:
        """Whether the head is there as we wrote it; False if there is none.

        Raises:
            ConflictError: The head is another writer's.
        """
        try:
            found = self._bucket.read(place(key)).data
        except MissingError:
            return False
        if found != data:
            raise ConflictError(f"the file store has a file {key} already")
        return True


def _always_refused(bucket: Bucket, name: str) -> StorageError:
    return StorageError(
        f"the object store {bucket.address.shown} refuses each write of {name} as one that comes too late",
        hint="look whether the store, or a proxy before it, honours the conditions of writes",
    )


def _after(header: bytes, change: Step) -> bytes:
    """The header after all steps."""
    while (wanted := change(header)) != header:
        blocks = {
            at // BLOCK_BYTES
            for at in range(0, HEADER_BYTES, BLOCK_BYTES)
            if wanted[at : at + BLOCK_BYTES] != header[at : at + BLOCK_BYTES]
        }
        if len(wanted) != len(header) or len(blocks) > 1:
            raise UsageError("a step of a header changes one block, and not the length")
        header = wanted
    return header
