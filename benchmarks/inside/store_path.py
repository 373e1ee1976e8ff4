"""An extract through the object store, beside the library that `aws s3 cp` uses for the same bytes, in one process."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.inside import common
from strongroom.envelope.header import Placement
from strongroom.extracts.vault import ExtractVault, StoredFile
from strongroom.ids import new_id
from strongroom.node.opening import Node
from strongroom.objectstore import registry
from strongroom.objectstore.s3_connection import Connection

_READ_BYTES = 8 << 20
_RANGE_BYTES = 64 * 1024
_RANGES = 20


class Bench:
    """Works on one file."""

    def __init__(self, node: Node, address: str, source: Path, folder: Path) -> None:
        self._files = node.file_store(address)
        self._vault = ExtractVault(self._files, node.envelope_keys)
        self._place = Placement(new_id(), new_id())
        self._source, self._target = source, folder / "store.out"
        self._where = registry.parse(address)
        self._client = Connection(self._where).client()
        self._stored: StoredFile | None = None

    def works(self) -> dict[str, Callable[[], object]]:
        """By name; a read reads what the publication before has made."""
        return {
            "publish": self.publish,
            "upload": self._upload,
            "read": self._read,
            "download": self._download,
        }

    def publish(self) -> None:
        """Seal and send the file."""
        size = self._source.stat().st_size
        writer = self._vault.create(self._place, encrypted=True, expected_bytes=size)
        with self._source.open("rb") as file:
            while piece := file.read(_READ_BYTES):
                writer.write(piece)
        before, self._stored = self._stored, writer.commit()
        if before is not None:
            self._files.delete(before.storage_key)

    def first_bytes(self) -> tuple[float, float]:
        """Seconds to a range in the middle: opened anew each time, and of the plain object; medians' parts, one by one."""
        at = self._source.stat().st_size // 2
        ours = min(self._timed(lambda: self._range(at)) for _ in range(_RANGES))
        plain = min(self._timed(lambda: self._plain_range(at)) for _ in range(_RANGES))
        return ours, plain

    def end(self) -> None:
        """Remove what is left."""
        if self._stored is not None:
            self._files.delete(self._stored.storage_key)
        self._client.delete_object(Bucket=self._where.container, Key=self._plain)
        self._target.unlink(missing_ok=True)

    @property
    def _plain(self) -> str:
        return self._where.name("plain")

    @staticmethod
    def _timed(work: Callable[[], object]) -> float:
        began = time.perf_counter()
        work()
        return time.perf_counter() - began

    def _upload(self) -> None:
        self._client.upload_file(str(self._source), self._where.container, self._plain)

    def _download(self) -> None:
        self._client.download_file(self._where.container, self._plain, str(self._target))

    def _read(self) -> None:
        assert self._stored is not None  # noqa: S101 for the type checker
        with (
            self._vault.open(self._stored, self._place) as reader,
            self._target.open("wb") as target,
        ):
            for piece in reader.iterate(0, reader.size):
                target.write(piece)

    def _range(self, at: int) -> None:
        assert self._stored is not None  # noqa: S101
        wanted = (at, at + _RANGE_BYTES)
        with self._vault.open(self._stored, self._place, wanted) as reader:
            for _ in reader.iterate(*wanted):
                pass

    def _plain_range(self, at: int) -> None:
        span = f"bytes={at}-{at + _RANGE_BYTES - 1}"
        found = self._client.get_object(Bucket=self._where.container, Key=self._plain, Range=span)
        found["Body"].read()


def measure(options: Mapping[str, Any]) -> object:
    """Wall and CPU seconds of each work, and of the first bytes of a range.

    Options: `address` of an object store, `source`, `folder`, `rounds`.
    """
    node = common.open_node(options)
    folder = Path(options["folder"])
    bench = Bench(node, options["address"], Path(options["source"]), folder)
    works = bench.works()
    try:
        for work in works.values():
            work()  # connections are opened once
        runs = common.interleave(works, options["rounds"])
        ours, plain = bench.first_bytes()
    finally:
        bench.end()
    node.close()
    found: dict[str, object] = {
        name: {"wall": common.median_wall(one), "cpu": common.median_cpu(one)}
        for name, one in runs.items()
    }
    return {**found, "first byte": {"ours": ours, "plain": plain}}


if __name__ == "__main__":
    common.main(measure)
