"""Looks at bytes on a disk as a thief would: first bytes, entropy, known strings."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

#: how files of the two kinds begin
MAGICS = {b"Hyper\x08": ".hyper", b"PAR1": ".parquet"}
_SAMPLE_BYTES = 1 << 20


def first_bytes(path: Path) -> str:
    """The first sixteen bytes, as they are and as letters."""
    with path.open("rb") as file:
        head = file.read(16)
    letters = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in head)
    return f"{head.hex(' ')}  {letters}"


def entropy(path: Path) -> float:
    """Bits per byte in the middle of a file: 8.00 is what random bytes have."""
    with path.open("rb") as file:
        file.seek(min(path.stat().st_size // 2, 64 * 1024))
        data = file.read(_SAMPLE_BYTES)
    counts = Counter(data)
    return -sum(n / len(data) * math.log2(n / len(data)) for n in counts.values())


def occurrences(path: Path, words: Sequence[bytes]) -> int:
    """How often known strings stand in a file."""
    data = path.read_bytes()
    return sum(data.count(word) for word in words)


def leaks(files: Iterable[Path], words: Sequence[bytes]) -> list[str]:
    """Files that hold a known string or begin like plain data."""
    found = []
    for path in files:
        data = path.read_bytes()
        if any(data.startswith(magic) for magic in MAGICS):
            found.append(f"{path.name} begins like plain data")
        found += [f"{path.name} holds {word.decode()}" for word in words if word in data]
    return found
