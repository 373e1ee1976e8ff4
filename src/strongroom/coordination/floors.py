"""Rules that bind entries to their time: nothing that was done with comes back (docs/format/entries.md 3); pure.

An entry that was removed and is written again begins at version 1, so that an old one has a MAC that fits. Each kind
of entry that comes and goes therefore names what it belongs to, and each function compares one kind with the present.
"""

import hashlib
from collections.abc import Collection, Mapping
from typing import NamedTuple

from strongroom.errors import IntegrityError


class Point(NamedTuple):
    """A state of something that only grows.

    Attributes:
        number: The version, or the epoch.
        digest: SHA-256 of its bytes.
    """

    number: int
    digest: bytes


def check_predecessor(before: bytes | None, previous: bytes | None) -> None:
    """Compare the digest that a document has of its predecessor with the document that is kept (3.1).

    Args:
        before: The digest that the document names; None if it is the first one.
        previous: The bytes of the kept predecessor; None if none is kept.

    Raises:
        IntegrityError: The predecessor is another document, or is missing, or should not be there.
    """
    found = None if previous is None else hashlib.sha256(previous).digest()
    if found != before:
        raise IntegrityError(
            "the configuration document before the present one is not the one that it names"
        )


class PendingPoint(NamedTuple):
    """The binding of a pending transaction.

    Attributes:
        number: The number of the transaction, which grows with each change of it.
        base_version: The version of the configuration document when the transaction began.
    """

    number: int
    base_version: int


def check_pending(pending: PendingPoint, *, floor: int, document_version: int) -> None:
    """Refuse a transaction that was applied or discarded already, or that began on a later document (3.2).

    Args:
        pending: The binding of the transaction.
        floor: The number of the transaction that was last applied or discarded.
        document_version: The present version of the configuration document.

    Raises:
        IntegrityError: The transaction is not of this time.
    """
    if pending.number <= floor:
        raise IntegrityError(
            f"the pending changes have number {pending.number}, and those up to {floor} were applied or discarded"
        )
    if pending.base_version > document_version:
        raise IntegrityError(
            f"the pending changes began at version {pending.base_version} of the configuration, which has {document_version}"
        )


class RotationPoint(NamedTuple):
    """The binding of the journal of a rotation.

    Attributes:
        run: The id of the run that began the rotation.
        parameters: The parameters that rotate together.
        document_version: The version of the configuration document at the beginning.
        promoted: Whether the configuration says the new value already.
    """

    run: str
    parameters: Collection[str]
    document_version: int
    promoted: bool


class Rotated(NamedTuple):
    """The record of a parameter's last rotation.

    Attributes:
        run: The id of its run.
        document_version: The version of the configuration document that began to say the new value.
    """

    run: str
    document_version: int


def check_rotation(
    journal: RotationPoint, records: Mapping[str, Rotated], *, document_version: int
) -> None:
    """Refuse the journal of a rotation that is over, or of a later document (3.3).

    Args:
        journal: The binding of the journal.
        records: The last rotation of each parameter that was ever rotated.
        document_version: The present version of the configuration document.

    Raises:
        IntegrityError: The journal is not of this time.
    """
    if journal.document_version > document_version:
        raise IntegrityError(
            f"the rotation {journal.run} began at version {journal.document_version} of the configuration, which has"
            f" {document_version}"
        )
    for parameter in journal.parameters:
        last = records.get(parameter)
        if journal.promoted:
            if last is None or last.run != journal.run:
                raise IntegrityError(
                    f"the rotation {journal.run} says that {parameter!r} has its new value, and the record of rotations does not"
                )
        elif last and (last.run == journal.run or last.document_version > journal.document_version):
            raise IntegrityError(
                f"the rotation {journal.run} of {parameter!r} is over: another one, or its own end, is recorded since"
            )


def check_same_store(journal: Point, present: Point) -> None:
    """Refuse the journal of a recovery or a regeneration that belongs to another KMS store (3.4).

    Args:
        journal: Epoch and digest of the store that the journal names.
        present: Epoch and digest of the present store.

    Raises:
        IntegrityError: The stores differ.
    """
    if journal != present:
        raise IntegrityError(
            f"a journal of keys belongs to the KMS store of epoch {journal.number}, and not to the present one of epoch"
            f" {present.number}"
        )


def check_regeneration(key_id: str, *, active: str, next_id: str | None) -> None:
    """Refuse the journal of a regeneration whose key is neither the next one nor the active one (3.4).

    Args:
        key_id: The new configuration key that the journal names; empty if it renews none.
        active: The active key of the records.
        next_id: The next key of the records.

    Raises:
        IntegrityError: The key is another one.
    """
    if key_id and key_id not in {active, next_id}:
        raise IntegrityError(
            f"a regeneration of the configuration key {key_id} is over: the records have other keys"
        )
