"""A backgrounder that ends by itself when no job is left: `python -m tests.torture.working HOME`.

Whoever keeps a backgrounder holds its standard input; here a thread of it does, and lets go.
"""

import os
import sys
import threading
import time
from pathlib import Path

from strongroom.backgrounder import worker
from tests.torture import nodes


def _let_go(home: Path, descriptor: int) -> None:
    with nodes.opened(home) as node:
        while not all(job.finished_at for job in node.jobs.list()):
            time.sleep(0.05)
    os.close(descriptor)


def main(home: Path) -> int:
    """Work until all is done."""
    read, held = os.pipe()
    os.dup2(read, worker.STDIN)
    os.close(read)
    threading.Thread(target=_let_go, args=(home, held), daemon=True).start()
    return worker.main(["--data-dir", str(home)])


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
