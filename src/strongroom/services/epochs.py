"""Keeps the highest epoch of the KMS store (docs/format/kms-store.md 4.3) and its last proof in the repository."""

from strongroom.repository.unit_of_work import Repository

_NAME = "kms.epoch"
_PROOF = "kms.proof"


class RepositoryMarks:
    """Implements `services.kms_keeper.EpochMarks`."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    def read(self) -> tuple[int, str] | None:
        """Epoch and digest of the store last seen, or None."""
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
    """Implements `services.kms_proof.KeptProof`."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    def read(self) -> str | None:
        """The text of the last proof, or None."""
        with self._repository.reading() as tx:
            return tx.marks.find(_PROOF)

    def write(self, text: str) -> None:
        """Keep it."""
        with self._repository.transaction() as tx:
            tx.marks.set(_PROOF, text)
