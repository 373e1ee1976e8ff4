"""Makes a failure of each skip: what is missing fails the run."""

import pytest


def no_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Change the report of a test, or of a file, that was skipped."""
    if report.outcome == "skipped":
        why = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"skipped, which no test may be: {why}"
