"""Keeps the highest epoch of the KMS store (docs/format/kms-store.md 4.3) and its last proof in the repository.

The store itself lies in the coordination service. The mark lies elsewhere on purpose: somebody who puts back an old
store there does not put back the mark as well.
"""

from strongroom.repository.unit_of_work import Repository

_NAME = "kms.epoch"
_PROOF = "kms.proof"


class RepositoryMarks:
    """Implements `services.keys.rollback.EpochMarks`."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    def read(self) -> tuple[int, str] | None:
        """Epoch and digest of the store with the highest epoch seen; None if no store was seen yet."""
        with self._repository.reading() as tx:
            text = tx.marks.find(_NAME)
        if text is None:
            return None
        epoch, _, digest = text.partition(" ")
        return int(epoch), digest

    def write(self, epoch: int, digest: str) -> None:
        """Keep epoch and digest."""
        with self._repository.transaction() as tx:
            tx.marks.set(_NAME, f"{epoch} {digest}")


class RepositoryProof:
    """Implements `kms.prover.KeptProof`."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    def read(self) -> str | None:
        """The text of the last proof; None if the keys were never proved."""
        with self._repository.reading() as tx:
            return tx.marks.find(_PROOF)

    def write(self, text: str) -> None:
        """Keep the text of a proof."""
        with self._repository.transaction() as tx:
            tx.marks.set(_PROOF, text)
