"""Rotation within one process: rewrap of envelopes on disk, and of wrapped data keys in a SQLite table."""

import os
import shutil
import sqlite3
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.inside.common import ACTOR, main, open_node
from strongroom.envelope import page_2
from strongroom.envelope.header import Placement
from strongroom.envelope.writer import new_sealer, seal_source, stored_bytes
from strongroom.filestore.blockfile import NewFile, OpenedFile
from strongroom.node.opening import Node
from strongroom.services.files.one import Output

_BATCH_ROWS = 10_000
_SMALL_BYTES, _LARGE_BYTES = 1024, 1 << 20
_LARGE_FILES = 16


def _make(node: Node, folder: Path, count: int) -> list[str]:
    """Envelopes of small files; not synced one by one."""
    folder.mkdir()
    plain = folder / "plain"
    plain.write_bytes(os.urandom(_SMALL_BYTES))
    names = []
    for number in range(count):
        path = folder / f"{number:06}"
        header, dek = node.envelope_keys.new_envelope(Placement.standalone())
        size = stored_bytes(header.prelude, _SMALL_BYTES)
        with (
            OpenedFile(plain) as source,
            NewFile(path, expected_bytes=size, durable=False) as target,
        ):
            seal_source(header, new_sealer(header, dek), source, target, threads=1)
            target.commit()
        names.append(str(path))
    os.sync()
    return names


def _large(node: Node, folder: Path) -> list[str]:
    """A few bigger ones: whether their data is read shows in the count of bytes."""
    folder.mkdir()
    plain = folder / "plain"
    plain.write_bytes(os.urandom(_LARGE_BYTES))
    names = [str(folder / str(number)) for number in range(_LARGE_FILES)]
    for name in names:
        node.standalone_files.encrypt(str(plain), Output(name), actor=ACTOR)
    return names


def _bytes_read() -> int:
    """What this process has asked the kernel to read so far."""
    for line in Path("/proc/self/io").read_text().splitlines():
        if line.startswith("rchar:"):
            return int(line.split()[1])
    return 0


def _rewrap(node: Node, names: list[str]) -> dict[str, float]:
    before, began = _bytes_read(), time.perf_counter()
    results = node.standalone_files.rewrap(names, actor=ACTOR)
    wall = time.perf_counter() - began
    if not all(result.changed for result in results):
        raise RuntimeError("not every file was rewrapped")
    count = len(names)
    return {"rate": count / wall, "read": (_bytes_read() - before) / count}


def _table(node: Node, path: Path, count: int) -> sqlite3.Connection:
    """A table of wrapped data keys, as a service would keep them: one block of a header a row."""
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=FULL")
    database.execute("CREATE TABLE dek (id INTEGER PRIMARY KEY, mek TEXT, block BLOB) STRICT")

    def row(number: int) -> tuple[int, str, bytes]:
        header, _ = node.envelope_keys.new_envelope(Placement.standalone())
        slot = header.newest
        return number, slot.mek_id, page_2.encode_block(header.prelude, slot)

    database.execute("BEGIN")
    database.executemany("INSERT INTO dek VALUES (?, ?, ?)", (row(n) for n in range(count)))
    database.execute("COMMIT")
    return database


def _rewrap_table(node: Node, database: sqlite3.Connection, count: int) -> float:
    """Each row's key opened and wrapped anew by the product's own code; synced in batches; keys per second."""
    placement, active = Placement.standalone(), node.envelope_keys.active_mek_id

    def wrap(block: bytes) -> bytes:
        header = page_2.parse(block)
        if header is None:
            raise ValueError("no block of a header")
        opened = node.envelope_keys.open_envelope(header, placement)
        return page_2.encode_block(
            header.prelude, node.envelope_keys.rewrapped_slot(header.prelude, opened)
        )

    database.create_function("rewrap", 1, wrap)
    began = time.perf_counter()
    for start in range(0, count, _BATCH_ROWS):
        database.execute("BEGIN IMMEDIATE")
        database.execute(
            "UPDATE dek SET mek = ?, block = rewrap(block) WHERE id BETWEEN ? AND ?",
            (active, start, start + _BATCH_ROWS - 1),
        )
        database.execute("COMMIT")
    wall = time.perf_counter() - began
    (left,) = database.execute("SELECT count(*) FROM dek WHERE mek != ?", (active,)).fetchone()
    if left:
        raise RuntimeError(f"{left} rows were left behind")
    return count / wall


def _work(options: Mapping[str, Any]) -> object:
    node, folder = open_node(options), Path(options["folder"]) / "rotation"
    folder.mkdir()
    few, many, rows = options["files"] // 4, options["files"], options["rows"]
    try:
        groups = {
            "few": _make(node, folder / "few", few),
            "many": _make(node, folder / "many", many),
            "large": _large(node, folder / "large"),
        }
        database = _table(node, folder / "deks.db", rows)
        node.meks.rotate(ACTOR)
        found: dict[str, Any] = {name: _rewrap(node, names) for name, names in groups.items()}
        found["table"] = {"rate": _rewrap_table(node, database, rows)}
        database.close()
    finally:
        shutil.rmtree(folder)
    return found


if __name__ == "__main__":
    main(_work)
