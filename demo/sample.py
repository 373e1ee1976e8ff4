"""Writes a real extract to try things with: `python -m demo.sample flights.hyper`, or a `.parquet`."""

import argparse
import sys
from pathlib import Path

from demo import data

ROWS = 50_000


def main() -> int:
    """Write the file; returns the exit code."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        prog="python -m demo.sample",
        description="write flights that left New York in 2013 (CC0) into a .hyper or .parquet file",
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="a new .hyper or .parquet file")
    parser.add_argument(
        "--rows", type=int, default=ROWS, help=f"how many flights (default: {ROWS:,})"
    )
    given = parser.parse_args()
    writers = {".hyper": data.write_hyper, ".parquet": data.write_parquet}
    write = writers.get(given.file.suffix)
    if write is None:
        parser.error(f"{given.file} ends neither with .hyper nor with .parquet")
    if given.file.exists():
        parser.error(f"{given.file} is there already")
    if given.rows < 1:
        parser.error("--rows is at least 1")
    table = data.flights().slice(0, given.rows)
    write(table, given.file)
    print(f"{given.file}: {table.num_rows:,} flights, {given.file.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
