"""Has the repository refuse whatever is about to be written under a MEK that is being retired.

To count what needs a MEK, and then to remove it, is not enough where several nodes write: one that was cut off from the
coordination service takes the MEK for active, and would commit a file under it after the count. The repository, in which
every such file gets its row, is asked by both.
"""

from strongroom.repository.gateways.guards import MekState
from strongroom.repository.reach import ROWS
from strongroom.repository.unit_of_work import Repository


class MekEnd:
    """The end of MEKs, as the repository knows it."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    def begin(self, mek_id: str, epoch: int) -> None:
        """Wait for everybody who is writing under a MEK, and refuse all who come later.

        That stays if the MEK turns out to be in use: a MEK that may be retired only decrypts, and nothing new is written
        under it by anybody who knows that.

        Args:
            mek_id: The MEK.
            epoch: The epoch of the KMS store that is to go without it.
        """
        self._set(mek_id, MekState.RETIRING, epoch)

    def finish(self, mek_id: str, epoch: int) -> None:
        """The KMS store without the MEK is in force."""
        self._set(mek_id, MekState.RETIRED, epoch)

    def _set(self, mek_id: str, state: MekState, epoch: int) -> None:
        with self._repository.transaction(ROWS) as tx:
            tx.meks.set_state(mek_id, state, epoch)
