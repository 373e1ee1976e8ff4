"""Published content on a real node: what torture does to it, in a process of its own, and what must hold.

`python -m tests.torture.content ACTION HOME`
"""

import sys
import threading
from pathlib import Path

from strongroom.access.permissions import SERVER_ADMINISTRATOR
from strongroom.bootstrap import Node
from strongroom.clock import format_utc
from strongroom.envelope.header import Placement
from strongroom.errors import StrongroomError
from strongroom.extracts.model import HYPER_MAGIC, ContentKind, FileType
from strongroom.jobs.model import JobKind, JobState
from strongroom.repository.rows import ContentRow, JobRow, SiteMode
from strongroom.services.auth import Identity
from strongroom.services.extract_jobs import ExtractJobs, Limits
from strongroom.services.job_journal import JobJournal
from strongroom.services.job_pulse import Brake
from strongroom.services.publishing import PublishRequest
from strongroom.web import upkeep
from tests.jobs_bench import Memory
from tests.torture import nodes

# over two segments, the canary at the beginning, in the middle and at the end
EXTRACT = HYPER_MAGIC + (nodes.CANARY + b"0123456789abcdef" * 18_000) * 2 + nodes.CANARY
OLD = {"one": EXTRACT, "two": EXTRACT[::-1].replace(EXTRACT[::-1][:10], HYPER_MAGIC, 1)}
ACTOR = "os:tester"
JOBS = {"encrypt": JobKind.ENCRYPT, "decrypt": JobKind.DECRYPT, "rekey": JobKind.REKEY}
JOBS["rewrap"] = JobKind.REWRAP


def identity(node: Node) -> Identity:
    """The administrator, signed in to the default site."""
    with node.repository.reading() as tx:
        (site,) = tx.sites.list()
        user = tx.users.find_by_name("admin")
    assert user is not None
    return Identity(user, site, SERVER_ADMINISTRATOR)


def set_mode(node: Node, mode: SiteMode) -> None:
    """The default site's mode, without the job that it asks for."""
    with node.repository.transaction() as tx:
        (site,) = tx.sites.list()
        tx.sites.update(site.id, mode=mode)


def _request(name: str, *, encrypt: bool | None) -> PublishRequest:
    kind = ContentKind.DATASOURCE
    return PublishRequest(kind, FileType.HYPER, name, encrypt=encrypt, replaces=True)


def publish(node: Node, name: str, data: bytes, *, encrypt: bool | None = None) -> None:
    """Publish, or replace, a data source in one part."""
    with node.publishing.begin(identity(node), _request(name, encrypt=encrypt)) as publication:
        for start in range(0, len(data), 100_000):
            publication.write(data[start : start + 100_000])
        publication.finish()


def upload(node: Node, name: str, data: bytes) -> None:
    """The same in chunks."""
    who = identity(node)
    upload_id = node.uploads.start(who).id
    for start in range(0, len(data), 400_000):
        with node.uploads.begin_part(who, upload_id) as part:
            part.write(data[start : start + 400_000])
            part.finish()
    node.uploads.publish(who, _request(name, encrypt=None), upload_id)


def delete(node: Node) -> None:
    """Delete the first data source, if it is there."""
    for row in rows(node).values():
        if row.name == "one":
            node.content.delete(identity(node), ContentKind.DATASOURCE, row.id)


def work(node: Node, kind: JobKind) -> JobRow:
    """Do a job, or go on with the one that a killed process left."""
    site_id = identity(node).site.id
    with node.repository.reading() as tx:
        left = tx.jobs.list(site_id=site_id, states=[JobState.RUNNING, JobState.QUEUED])
    job = left[0] if left else node.jobs.enqueue(kind, site_id, ACTOR)
    if job.state == JobState.QUEUED:
        with node.repository.transaction() as tx:
            tx.jobs.claim(job.id, format_utc(node.clock.now()))
    limits = Limits(Brake(0, threading.Event()), concurrency=1)
    ExtractJobs(node.job_ports, limits).run(job.id, Memory())
    return node.jobs.show(job.id)


def rows(node: Node) -> dict[str, ContentRow]:
    """All content by name."""
    with node.repository.reading() as tx:
        (site,) = tx.sites.list()
        return {row.name: row for row in tx.contents.list_for_site(site.id)}


def read(node: Node) -> dict[str, bytes]:
    """Every plaintext by name, all of it authenticated."""
    found = {}
    for name, row in rows(node).items():
        with node.stored_files.open(row, Placement(row.site_id, row.id)) as reader:
            found[name] = b"".join(reader.iterate(0, reader.size))
    return found


def recover(home: Path) -> None:
    """What each start of the server and of the backgrounder does; afterwards nothing is left over."""
    with nodes.opened(home) as node:
        upkeep.at_start(node)
        JobJournal(node.repository, node.files, node.clock).recover()
        with node.repository.reading() as tx:
            assert tx.intents.list() == []
            known = tx.contents.storage_keys() | tx.uploads.storage_keys()
        files = [path for path in node.paths.extracts.rglob("*") if path.is_file()]
        assert {node.files.path(key) for key in known} == set(files)


def act(node: Node, action: str) -> None:
    """One of the things to torture."""
    if action == "publish":
        publish(node, "new", EXTRACT)
    elif action == "replace":
        publish(node, "one", EXTRACT + b"newer")
    elif action == "upload":
        upload(node, "new", EXTRACT)
    elif action == "delete":
        delete(node)
    else:
        job = work(node, JOBS[action])
        assert job.state == JobState.SUCCEEDED, f"{job.state}: {job.note}"


if __name__ == "__main__":
    try:
        with nodes.opened(Path(sys.argv[2])) as opened:
            act(opened, sys.argv[1])
    except StrongroomError as error:
        sys.stderr.write(f"{error.message}\n")
        sys.exit(error.exit_code)
    except (OSError, AssertionError) as error:
        # as web and backgrounder do: told, and the process goes on
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        sys.exit(1)
