"""Keeps the KMS store that was seen last (docs/format/kms-store.md 4.3) and its last proof in the repository.

The store itself lies in the coordination service. The mark lies elsewhere on purpose: somebody who puts back an old
store there does not put back the mark as well.
"""

from strongroom.kms.links import Known
from strongroom.repository.reach import ROWS
from strongroom.repository.unit_of_work import Repository
from strongroom.services.keys.follows import ACCEPTED, NAME, parse

_PROOF = "kms.proof"
"""The mark in which a program before schema 0003 kept the proof of the only node."""


class RepositoryMarks:
    """Implements `services.keys.rollback.EpochMarks`."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    def read(self) -> Known | None:
        """The store that was seen last; None if no store was seen yet."""
        return self._read(NAME)

    def write(self, seen: Known) -> None:
        """Keep the store that was seen last."""
        self._write(NAME, seen)

    def accepted(self) -> Known | None:
        """The store that an administrator accepted last; None if he accepted none."""
        return self._read(ACCEPTED)

    def accept(self, named: Known) -> None:
        """Keep a store as accepted."""
        self._write(ACCEPTED, named)

    def _read(self, name: str) -> Known | None:
        with self._repository.reading() as tx:
            text = tx.marks.find(name)
        return None if text is None else parse(text)

    def _write(self, name: str, known: Known) -> None:
        with self._repository.transaction() as tx:
            tx.marks.set(name, f"{known.epoch} {known.digest} {known.key.hex()}")


class RepositoryProof:
    """Implements `kms.prover.KeptProof`: what one node's own identity could open, and no other node's."""

    def __init__(self, repository: Repository, node_id: str) -> None:
        self._repository = repository
        self._node_id = node_id

    def read(self) -> str | None:
        """The text of the node's last proof; None if it never proved its keys."""
        with self._repository.reading() as tx:
            return tx.nodes.find_proof(self._node_id) or tx.marks.find(_PROOF)

    def write(self, text: str) -> None:
        """Keep the text of a proof."""
        with self._repository.transaction(ROWS) as tx:
            tx.nodes.set_proof(self._node_id, text)
