"""The machine in words, so that a reader knows what the ratios were measured on; no name and no place of it."""

import os
import platform
import subprocess
from pathlib import Path


def describe(folder: Path) -> list[str]:
    """Some lines: processor, memory, kernel, file system, versions."""
    return [
        f"{os.cpu_count()} cores of {_processor()}, {_memory()} of memory, Linux {platform.release()}",
        f"file system {_file_system(folder)}; {_ballooning()}",
        f"Python {platform.python_version()}, {_cryptography()}",
    ]


def load() -> float:
    """Processes that wanted a core in the last minute."""
    return os.getloadavg()[0]


def version(*argv: str) -> str:
    """The first line that a tool says of its version."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=20)
    except OSError:
        return "absent"
    lines = (done.stdout or done.stderr).strip().splitlines()
    return lines[0].strip() if lines else "unknown"


def _processor() -> str:
    names = {
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    }
    flags = Path("/proc/cpuinfo").read_text()
    wide = ", ".join(name.upper() for name in ("aes", "vaes", "avx2", "avx512f") if name in flags)
    return f"{' and '.join(sorted(names)) or platform.machine()} ({wide})"


def _memory() -> str:
    return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"


def _file_system(folder: Path) -> str:
    """The type of the mount that holds the folder."""
    best, kind = "", "unknown"
    for line in Path("/proc/mounts").read_text().splitlines():
        _, place, name, *_ = line.split()
        inside = folder.is_relative_to(place)
        if inside and len(place) >= len(best):
            best, kind = place, name
    return kind


def _ballooning() -> str:
    """Whether freed memory goes back to the host: it decides which writes are slow."""
    switch = Path("/sys/module/page_reporting/parameters/page_reporting_order")
    try:
        order = switch.read_text().strip()
    except OSError:
        return "no free page reporting"
    return f"free page reporting of order {order} (blocks of that size are slow when touched again)"


def _cryptography() -> str:
    import cryptography
    from cryptography.hazmat.backends.openssl import backend

    return f"cryptography {cryptography.__version__} with {backend.openssl_version_text()}"
