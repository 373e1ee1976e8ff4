"""Many small files: plain copies and the product, one by one and in batches, with and without durability.

Each run works in a fresh folder, and nothing is deleted before the end (trap 3).
"""

import os
import secrets
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.inside.common import ACTOR, interleave, main, median_cpu, median_wall, open_node
from strongroom.node.opening import Node
from strongroom.services.files.many import Outputs
from strongroom.services.files.one import Output

FILE_BYTES = 1024


def _sources(folder: Path, count: int) -> list[Path]:
    folder.mkdir()
    paths = [folder / f"{number:05}" for number in range(count)]
    for path in paths:
        path.write_bytes(os.urandom(FILE_BYTES))
    return paths


class Bench:
    """The works over one folder of sources; each run writes to a new folder."""

    def __init__(self, node: Node, folder: Path, count: int) -> None:
        self._files, self._folder = node.standalone_files, folder
        self._sources = _sources(folder / "plain", count)

    def works(self) -> dict[str, Callable[[], object]]:
        """By name."""
        return {
            "plain copy": self._copy,
            "one by one": lambda: self._one_by_one(sync=False),
            "batched": lambda: self._batched(sync=False),
            "durable copy": self._durable_copy,
            "durable, one by one": lambda: self._one_by_one(sync=True),
            "durable, batched": lambda: self._batched(sync=True),
        }

    def _fresh(self) -> Path:
        folder = self._folder / secrets.token_hex(8)
        folder.mkdir()
        return folder

    def _copy(self) -> None:
        folder = self._fresh()
        for source in self._sources:
            with source.open("rb") as plain, (folder / source.name).open("wb") as copy:
                copy.write(plain.read())

    def _durable_copy(self) -> None:
        """As every careful program does it: temporary file, sync, rename; the folder at the end."""
        folder = self._fresh()
        for source in self._sources:
            temporary = folder / f".{source.name}"
            with source.open("rb") as plain, temporary.open("wb") as copy:
                copy.write(plain.read())
                copy.flush()
                os.fdatasync(copy.fileno())
            temporary.rename(folder / source.name)
        handle = os.open(folder, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)

    def _one_by_one(self, *, sync: bool) -> None:
        folder = self._fresh()
        for source in self._sources:
            output = Output(str(folder / source.name), sync=sync)
            self._files.encrypt(str(source), output, actor=ACTOR)

    def _batched(self, *, sync: bool) -> None:
        folder = self._fresh()
        pairs = [(str(source), str(folder / source.name)) for source in self._sources]
        results = self._files.encrypt_many(pairs, actor=ACTOR, outputs=Outputs(sync=sync))
        if any(result.error for result in results):
            raise RuntimeError("not every file was encrypted")


def _work(options: Mapping[str, Any]) -> object:
    folder = Path(options["folder"]) / "small"
    folder.mkdir()
    try:
        bench = Bench(open_node(options), folder, options["count"])
        found = interleave(bench.works(), options["rounds"])
    finally:
        shutil.rmtree(folder)
    return {
        name: {"wall": median_wall(runs), "cpu": median_cpu(runs)} for name, runs in found.items()
    }


if __name__ == "__main__":
    main(_work)
