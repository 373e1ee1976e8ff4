"""The job engine's own database when it is damaged."""

from pathlib import Path

import pytest

from strongroom.backgrounder.workflows import WorkflowEngine
from strongroom.errors import StorageError
from strongroom.services.jobs.run import Step
from strongroom.system.durable import PRIVATE


def _no_work(job_id: str, step: Step) -> str:
    del step
    return job_id


def _engine(database: Path) -> WorkflowEngine:
    return WorkflowEngine(database, "node1", PRIVATE, _no_work, lambda: None)


@pytest.mark.parametrize("damage", [b"no database at all " * 500, None], ids=["other", "torn"])
def test_a_damaged_database_is_put_aside_and_the_jobs_go_on(
    tmp_path: Path, damage: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    """Findings R2, a sibling: no job of the node ran again until somebody removed the file.

    What lies in it is made anew: a job without its record begins anew, each extract decided on by itself.
    """
    database = tmp_path / "workflows.db"
    first = _engine(database)
    first.launch()
    first.close()
    whole = database.read_bytes()
    broken = whole[:4096] + b"\xff" * (len(whole) - 8192) + whole[-4096:]
    database.write_bytes(damage or broken)
    engine = _engine(database)
    try:
        with caplog.at_level("ERROR"):
            engine.launch()
        assert not engine.is_known("nobody")
    finally:
        engine.close()
    assert "was damaged" in caplog.text
    assert database.with_name("workflows.db.damaged").read_bytes() == (damage or broken)


def test_a_database_that_cannot_be_opened_is_told_in_one_sentence_of_ours(tmp_path: Path) -> None:
    """The engine let the error of its database library through, which ended commands in a traceback."""
    (tmp_path / "workflows.db").mkdir()
    engine = _engine(tmp_path / "workflows.db")
    try:
        with pytest.raises(StorageError, match="database of running jobs") as caught:
            engine.launch()
    finally:
        engine.close()
    assert "\n" not in caught.value.message
