"""Unpacks nodes of revisions that were released (`tests/vectors/nodes`), to be upgraded."""

import tarfile
from pathlib import Path

NODES = Path(__file__).parents[1] / "vectors" / "nodes"
REVISIONS = sorted(path.name.removesuffix(".tar.xz") for path in NODES.glob("*.tar.xz"))


def unpack(revision: str, folder: Path) -> Path:
    """Unpack the archive of a revision; returns the folder, in which `node` is the data directory."""
    with tarfile.open(NODES / f"{revision}.tar.xz") as archive:
        # files are owned by whoever runs the tests; the modes are those of the node
        # (not by an argument: Debian 12's Python 3.11.2 has no filters)
        archive.extraction_filter = getattr(tarfile, "tar_filter", None)
        archive.extractall(folder)
    return folder
