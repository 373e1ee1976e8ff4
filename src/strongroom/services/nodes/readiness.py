"""Checks whether a node is able to do its work now."""

from strongroom.repository.unit_of_work import Repository
from strongroom.services.keys.keeper import StoreKeeper


class Readiness:
    """Tries the two things that every request needs: the repository, and the keys in memory."""

    def __init__(self, repository: Repository, keeper: StoreKeeper) -> None:
        self._repository = repository
        self._keeper = keeper

    def check(self) -> None:
        """Read a row, and decrypt a canary with the keys in memory; a probe must never cause a request to a root (R10, R11).

        Raises:
            StrongroomError: The row cannot be read, or the canary cannot be decrypted.
        """
        with self._repository.reading() as tx:
            tx.marks.find("ready")
        self._keeper.check_ready()
