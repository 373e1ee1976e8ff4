"""The job engine's own database when it is damaged."""

from pathlib import Path

import pytest

from strongroom.backgrounder.workflows import WorkflowEngine
from strongroom.durable import PRIVATE
from strongroom.errors import StorageError
from strongroom.services.extract_jobs import Step


def _no_work(job_id: str, step: Step) -> str:
    del step
    return job_id


def _engine(database: Path) -> WorkflowEngine:
    return WorkflowEngine(database, "node1", PRIVATE, _no_work, lambda: None)


def test_a_damaged_database_is_told_in_one_sentence_of_ours(tmp_path: Path) -> None:
    """The engine let the error of its database library through, which ended commands in a traceback."""
    (tmp_path / "workflows.db").write_bytes(b"no database at all " * 500)
    engine = _engine(tmp_path / "workflows.db")
    try:
        with pytest.raises(StorageError, match="database of running jobs") as caught:
            engine.launch()
    finally:
        engine.close()
    assert "\n" not in caught.value.message
