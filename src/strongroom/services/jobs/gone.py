"""Cleans up after nodes that are gone: their running jobs go back to the queue, their unfinished files are removed.

A node that counts as gone may live after all: it was paused, or cut off. So each step here is one transaction after
which that node's own transactions fail: a job that was given back is no longer held, and a file whose intent is gone
gets no row. Only then is the file deleted.
"""

import logging

from strongroom.clock import Clock, format_utc
from strongroom.errors import StrongroomError
from strongroom.filestore.base import FileStore
from strongroom.jobs.model import JobState
from strongroom.repository.reach import ROWS
from strongroom.repository.rows import DELETE_INTENT, IntentRow
from strongroom.repository.unit_of_work import Repository
from strongroom.services.jobs.journal import PURPOSE
from strongroom.services.jobs.queue import JobsService

_log = logging.getLogger("backgrounder.Jobs")


class GoneNodes:
    """The jobs and files of other nodes."""

    def __init__(
        self, repository: Repository, files: FileStore, jobs: JobsService, clock: Clock
    ) -> None:
        self._repository = repository
        self._files = files
        self._jobs = jobs
        self._clock = clock

    def with_work(self) -> frozenset[str]:
        """The nodes that have running jobs, or files that they are writing or deleting."""
        with self._repository.reading() as tx:
            running = {job.owner_node for job in tx.jobs.list(states=[JobState.RUNNING])}
            return frozenset(running | tx.intents.nodes()) - {""}

    def give_back(self, node_id: str) -> list[str]:
        """Queue the running jobs of a node again; returns their ids."""
        with self._repository.reading() as tx:
            running = tx.jobs.list(states=[JobState.RUNNING])
        given = [
            job.id for job in running if job.owner_node == node_id and self._jobs.give_back(job)
        ]
        for job_id in given:
            _log.warning("job %s of %s, which is gone, is queued again", job_id, node_id)
        return given

    def remove_files(self, node_id: str, *, of_jobs: bool) -> int:
        """Remove the files that a node was writing or deleting; returns how many.

        Args:
            node_id: The node, which shares its files with this one.
            of_jobs: Only the files of its jobs: it is still served, and may be taking a publication.
        """
        removed = self._take_intents(node_id, of_jobs=of_jobs)
        for storage_key in removed:
            try:
                self._files.delete(storage_key)
                with self._repository.transaction(ROWS) as tx:
                    tx.intents.delete(storage_key)
            except StrongroomError as error:
                # the intent is this node's by now: its next start deletes the file
                _log.warning("the file %s goes later: %s", storage_key, error.with_hint)
        if removed:
            _log.warning("removed %d files that %s left", len(removed), node_id)
        return len(removed)

    def _take_intents(self, node_id: str, *, of_jobs: bool) -> list[str]:
        """End a node's intents, and make those without a row this node's, to delete the files; returns these."""
        now = format_utc(self._clock.now())
        # alone: a commit of that node that is under way comes before or after, and then finds no intent
        with self._repository.transaction() as tx:
            left = [
                intent.storage_key
                for intent in tx.intents.list_of(node_id)
                if not of_jobs or intent.purpose == PURPOSE
            ]
            if not left:
                return []
            named = tx.named(left)
            removed = [one for one in left if one not in named]
            for storage_key in left:
                tx.intents.delete(storage_key)
            for storage_key in removed:
                tx.intents.insert(IntentRow(storage_key, "", "", DELETE_INTENT, now))
        return removed
