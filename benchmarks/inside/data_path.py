"""The data path and its parts within one process: read, seal, write, copy; encrypt, decrypt, re-encrypt."""

import contextlib
import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from benchmarks.inside.common import (
    ACTOR,
    CHUNK_BYTES,
    interleave,
    main,
    median_cpu,
    median_wall,
    open_node,
)
from strongroom.crypto.workers import default_threads, page_buffer, run_parallel
from strongroom.envelope import spans
from strongroom.envelope.header import Placement
from strongroom.envelope.reader import EnvelopeReader, read_header
from strongroom.envelope.writer import new_sealer, seal_source, stored_bytes
from strongroom.filestore.blockfile import NewFile, OpenedFile
from strongroom.node.opening import Node
from strongroom.services.files.one import Output

TAG_BYTES = 16


class Bench:
    """The works, over one source file in one folder."""

    def __init__(self, node: Node, source: Path, folder: Path) -> None:
        self._node, self._source, self._folder = node, source, folder
        self._size = source.stat().st_size
        self._out, self._sealed = folder / "inside.out", folder / "inside.sealed"
        self._node.standalone_files.encrypt(
            str(source), Output(str(self._sealed), sync=True), actor=ACTOR
        )

    def works(self) -> dict[str, Callable[[], object]]:
        """By name."""
        files = self._node.standalone_files
        out, sealed = str(self._out), str(self._sealed)
        return {
            "read": self._read,
            "aead": lambda: self._aead(1),
            "aead, all cores": lambda: self._aead(default_threads()),
            "write": self._write,
            "cp": lambda: subprocess.run(["cp", str(self._source), out], check=True),
            "encrypt": lambda: files.encrypt(
                str(self._source), Output(out, sync=False), actor=ACTOR
            ),
            "decrypt": lambda: files.decrypt(sealed, Output(out, sync=False), actor=ACTOR),
            "encrypt, 1 thread": lambda: self._encrypt(1),
            "re-encrypt": self._reencrypt,
        }

    def before(self) -> None:
        """Trap 1 and trap 2."""
        copies = [self._folder / "prime-1", self._folder / "prime-2"]
        for copy in copies:
            subprocess.run(["cp", str(self._source), str(copy)], check=True)
        for path in (*copies, self._out):
            with contextlib.suppress(FileNotFoundError):
                path.unlink()

    def end(self) -> None:
        """Remove what is left."""
        for path in (self._out, self._sealed):
            with contextlib.suppress(FileNotFoundError):
                path.unlink()

    def _read(self) -> None:
        buffer = page_buffer(CHUNK_BYTES)
        with self._source.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass

    def _aead(self, threads: int) -> None:
        """Seal as many bytes as the file has, in segments, from memory to memory."""
        cipher = AESGCM(os.urandom(32))
        count = -(-self._size // (CHUNK_BYTES - TAG_BYTES))
        numbers = iter(range(count))

        def work(stop: object) -> None:
            del stop
            plain, sealed = page_buffer(CHUNK_BYTES), page_buffer(CHUNK_BYTES)
            for number in numbers:
                nonce = number.to_bytes(12, "big")
                cipher.encrypt_into(nonce, plain[: CHUNK_BYTES - TAG_BYTES], None, sealed)

        run_parallel(threads, work)

    def _write(self) -> None:
        """As the product writes: allocated, in slices; a plain source instead of a sealed one."""
        piece = page_buffer(CHUNK_BYTES)
        with NewFile(self._out, expected_bytes=self._size, durable=False) as file:
            for start in range(0, self._size, CHUNK_BYTES):
                file.write_at(start, piece[: min(CHUNK_BYTES, self._size - start)])
            file.commit()

    def _encrypt(self, threads: int) -> None:
        header, dek = self._node.envelope_keys.new_envelope(Placement.standalone())
        size = stored_bytes(header.prelude, self._size)
        with (
            OpenedFile(self._source) as file,
            NewFile(self._out, expected_bytes=size, durable=False) as target,
        ):
            seal_source(header, new_sealer(header, dek), file, target, threads=threads)
            target.commit()

    def _reencrypt(self) -> None:
        """Open and seal each segment in one pass; the plaintext is never on the disk."""
        with OpenedFile(self._sealed) as file:
            old = read_header(file)
            dek = self._node.envelope_keys.open_envelope(old, None).dek
            header, fresh = self._node.envelope_keys.new_envelope(Placement.standalone())
            with (
                EnvelopeReader(file, old, dek) as reader,
                NewFile(self._out, expected_bytes=file.size, durable=False) as target,
            ):
                sealer = new_sealer(header, fresh)
                seal_source(header, sealer, reader, target, threads=default_threads())
                target.commit()

    def check(self) -> None:
        """What re-encrypt wrote opens, and is the source."""
        self._reencrypt()
        with OpenedFile(self._out) as file, OpenedFile(self._source) as source:
            header = read_header(file)
            key = self._node.envelope_keys.open_envelope(header, None).dek
            with EnvelopeReader(file, header, key) as reader:
                spans.compare(reader, source, reader.layout, threads=default_threads())


def _work(options: Mapping[str, Any]) -> object:
    bench = Bench(open_node(options), Path(options["source"]), Path(options["folder"]))
    bench.check()
    found = interleave(bench.works(), options["rounds"], before=bench.before)
    bench.end()
    return {
        name: {"wall": median_wall(runs), "cpu": median_cpu(runs), "best": min(runs)[0]}
        for name, runs in found.items()
    }


if __name__ == "__main__":
    main(_work)
