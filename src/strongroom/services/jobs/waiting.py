"""Says of a job that nobody works on what it waits for (E-16, matrix 35)."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from strongroom.coordination.base import Coordinator, Group
from strongroom.jobs.model import JobState
from strongroom.repository.rows import JobRow
from strongroom.services.jobs.roles import JobRoles


@dataclass(frozen=True)
class Seen:
    """The facts about the nodes.

    Attributes:
        able: The nodes whose role lets them work on jobs.
        working: The nodes one of whose processes works on jobs now.
        shares_files: Whether all nodes use one file store.
    """

    able: frozenset[str]
    working: frozenset[str]
    shares_files: bool

    def waits_for(self, job: JobRow) -> str:
        """The reason why nobody works on a job, in words; empty if it is worked on, waits for its turn, or has ended."""
        if JobState(job.state).is_final:
            return ""
        if job.state == JobState.RUNNING:
            return self._owner(job.owner_node)
        if not self.able:
            return "a node with the role extract-refreshes"
        if not self.able & self.working:
            return f"a backgrounder on {' or '.join(sorted(self.able))}"
        return ""

    def _owner(self, owner: str) -> str:
        if owner in self.working or not owner:
            return ""
        if self.shares_files:
            return f"another node than {owner}, whose backgrounder does not run"
        return f"{owner}, whose backgrounder does not run: its extracts lie on its own disk"


class JobWaits:
    """Looks at the nodes for jobs that have not ended."""

    def __init__(
        self,
        coordinator: Coordinator,
        roles: JobRoles,
        shares_files: Callable[[], bool],
        is_maintained: Callable[[], bool] = lambda: False,
    ) -> None:
        """Args: `is_maintained` says whether there is a maintenance, the others are as of a node."""
        self._is_maintained = is_maintained
        self._coordinator = coordinator
        self._roles = roles
        self._shares_files = shares_files

    def of(self, jobs: Iterable[JobRow]) -> Mapping[str, str]:
        """The reasons why nobody works on jobs, by the ids of those that wait.

        Raises:
            CoordinationError: The coordination service cannot be asked.
        """
        open_ = [job for job in jobs if not JobState(job.state).is_final]
        if not open_:
            return {}
        if self._is_maintained():
            return {job.id: "the end of the maintenance" for job in open_}
        roles = self._roles.all()
        able = frozenset(node for node, role in roles.items() if role.works_on_extracts)
        working = frozenset(self._coordinator.members(Group.WORKERS))
        seen = Seen(able, working, self._shares_files())
        said = {job.id: seen.waits_for(job) for job in open_}
        return {job_id: words for job_id, words in said.items() if words}
