"""Small real files for the documents' commands."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def small_hyper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import pantab
    import pyarrow as pa

    path = tmp_path_factory.mktemp("hyper") / "flights.hyper"
    rows = pa.table({"carrier": ["UA", "AA", "B6"], "distance": [1400, 1089, 1576]})
    pantab.frame_to_hyper(rows, path, table="flights")
    return path


@pytest.fixture(scope="session")
def small_parquet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import pyarrow as pa
    from pyarrow import parquet

    path = tmp_path_factory.mktemp("parquet") / "flights.parquet"
    parquet.write_table(pa.table({"carrier": ["UA", "AA", "B6"]}), path)
    return path
