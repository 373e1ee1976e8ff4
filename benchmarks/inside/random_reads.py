"""Random reads of 64 KiB: the product's reader, a plain file, and any other folder that shows the same file."""

import os
import secrets
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.inside.common import ACTOR, main, open_node
from strongroom.crypto.workers import page_buffer
from strongroom.envelope.reader import EnvelopeReader, read_header
from strongroom.filestore.blockfile import OpenedFile
from strongroom.services.files.one import Output

READ_BYTES = 64 * 1024
_BATCH = 50


def _plain(path: Path, buffer: memoryview) -> Callable[[int], object]:
    handle = os.open(path, os.O_RDONLY)
    return lambda offset: os.preadv(handle, [buffer], offset)


def _work(options: Mapping[str, Any]) -> object:
    node, source = open_node(options), Path(options["source"])
    sealed = Path(options["folder"]) / "random.sealed"
    node.standalone_files.encrypt(str(source), Output(str(sealed), sync=True), actor=ACTOR)
    buffer, size = page_buffer(READ_BYTES), source.stat().st_size
    walls: dict[str, list[float]] = {}
    with OpenedFile(sealed) as file:
        header = read_header(file)
        with EnvelopeReader(
            file, header, node.envelope_keys.open_envelope(header, None).dek
        ) as reader:
            readers: dict[str, Callable[[int], object]] = {}
            readers["strongroom"] = lambda offset: reader.read_into_at(offset, buffer)
            readers["plain file"] = _plain(source, buffer)
            for name, place in options["others"].items():
                readers[name] = _plain(Path(place), buffer)
            walls = _interleaved(readers, size, options["reads"])
    sealed.unlink()
    return {name: _percentiles(found) for name, found in walls.items()}


def _interleaved(
    readers: Mapping[str, Callable[[int], object]], size: int, reads: int
) -> dict[str, list[float]]:
    """Batches of one reader at a time, in random order; every reader gets as many reads."""
    dice = secrets.SystemRandom()
    walls: dict[str, list[float]] = {name: [] for name in readers}
    for _ in range(max(1, reads // _BATCH)):
        order = list(readers)
        dice.shuffle(order)
        for name in order:
            read = readers[name]
            for _ in range(_BATCH):
                offset = dice.randrange(max(1, size - READ_BYTES))
                began = time.perf_counter()
                read(offset)
                walls[name].append(time.perf_counter() - began)
    return walls


def _percentiles(walls: list[float]) -> dict[str, float]:
    ordered = sorted(walls)
    return {
        "p50": statistics.median(ordered),
        "p99": ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))],
    }


if __name__ == "__main__":
    main(_work)
