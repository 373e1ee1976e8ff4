"""Builds wheel and sdist of both distributions three times, compares every byte, and tries the wheels: `make dist`.

The second build starts in another folder, with another umask and time zone, the third from the sdist of the first: if they gave
other bytes, nobody else could check what was released. Each but the third starts from a copy of the files that git knows.
`strongroom` is installed where nothing of the project is, `strongroom-client` where nothing else is but what it needs; then the
one makes a node, and the other writes and reads files with its keys. Nothing is fetched: hatchling is part of the lock, and the
packages that are needed are lent to the fresh environments by the present one.
"""

import hashlib
import os
import shutil
import sys
import tempfile
import tomllib
from pathlib import Path

from scripts import client_source, distribution_trial
from scripts.distribution_trial import run

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "dist"
DISTRIBUTIONS = ("strongroom", "strongroom-client")


def copied(target: Path) -> dict[str, Path]:
    """The files that git knows, as they are now, elsewhere; the folder of each distribution in there."""
    server = target / "strongroom"
    for name in filter(None, run("git", "ls-files", "-z", cwd=ROOT).split("\0")):
        if (ROOT / name).is_file():
            (server / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, server / name)
    client = client_source.lay_out(server, target / "strongroom-client")
    return {"strongroom": server, "strongroom-client": client}


def unpacked(target: Path, version: str) -> dict[str, Path]:
    """What is in the sdists of the first build; the folder of each distribution."""
    target.mkdir()
    folders = {}
    for name in DISTRIBUTIONS:
        stem = f"{name.replace('-', '_')}-{version}"
        # not tarfile's: Python 3.11.2, which is Debian 12's, knows no filters, and later ones ask for one
        run("tar", "-xzf", FOLDER / f"{stem}.tar.gz", "-C", target, cwd=target)
        folders[name] = target / stem
    return folders


def built(
    sources: dict[str, Path], target: Path, epoch: str, umask: int, **variables: str
) -> dict[str, str]:
    """Build wheel and sdist of each distribution; their digests by name."""
    before = os.umask(umask)
    try:
        for source in sources.values():
            options = ("-m", "hatchling", "build", "-d", target)
            run(sys.executable, *options, cwd=source, SOURCE_DATE_EPOCH=epoch, **variables)
    finally:
        os.umask(before)
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(target.iterdir())
    }


def main() -> int:
    """Build, compare, install and try; returns the exit code."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    epoch = run("git", "log", "-1", "--format=%ct", cwd=ROOT).strip()
    shutil.rmtree(FOLDER, ignore_errors=True)
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        first = built(copied(place / "here"), FOLDER, epoch, 0o022, TZ="UTC")
        second = built(
            copied(place / "a" / "there"), place / "second", epoch, 0o077, TZ="Asia/Tokyo"
        )
        if first != second or len(first) != 2 * len(DISTRIBUTIONS):
            raise SystemExit(f"two builds differ:\n{first}\n{second}")
        third = built(unpacked(place / "sdists", version), place / "third", epoch, 0o022)
        if third != first:
            raise SystemExit(f"a build from the sdists differs:\n{first}\n{third}")
        distribution_trial.prove(FOLDER, place, version)
    for name, digest in first.items():
        print(f"{digest}  dist/{name}  {(FOLDER / name).stat().st_size:,} bytes")
    print(f"built three times alike, installed and tried: {', '.join(DISTRIBUTIONS)} {version}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
