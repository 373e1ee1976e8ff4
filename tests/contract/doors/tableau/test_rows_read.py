"""What each list, look-up, command and duty reads does not grow with the installation (F15).

Everything is asked twice, of an installation with 200 and with 2,000 of each thing, and what the database did for it is
counted: statements, rows, and the steps of SQLite's machine (`tests/support/rows_read.py`). A new route or duty is asked
without a word here.
"""

import contextlib
import io
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from benchmarks.inside import rows
from strongroom.access.permissions import Subject
from strongroom.cli import dispatch
from strongroom.crypto.secret import SecretBytes
from strongroom.doors.http import upkeep
from strongroom.doors.tableau.table import ROUTES
from strongroom.jobs.model import JobKind
from strongroom.node import controller, create
from strongroom.node.opening import Node
from strongroom.runtime.processes import SERVICES
from strongroom.services.directory.sign_in import Identity
from strongroom.services.jobs.journal import JobJournal
from tests.support.rows_read import Reading, RowsRead
from tests.support.web_client import ADMIN, PASSWORD, Client, Served, serve

FEW, MANY = 200, 2_000
SLACK_ROWS = 25
SLACK_STEPS = 3_000
"""A few look-ups by an index more, which is a step deeper in a larger table."""

Work = Callable[[], object]


class Place(NamedTuple):
    """A served node, a client of it, and the ids of one thing of each kind."""

    served: Served
    client: Client
    home: Path


IDS: Mapping[str, int] = {
    "user": 2,
    "group": 3,
    "project": 4,
    "datasource": 5,
    "workbook": 6,
    "job": 11,
}
#: Answers are files, which these rows have not.
FILES = re.compile(r"/content$|/revisions/")
GETS = {
    route.path: route.query
    for route in ROUTES
    if route.method == "GET" and not FILES.search(route.path)
}
PAGED = [path for path, query in GETS.items() if "pageSize" in query]
#: Show one thing, or a state: what they read is the same for any installation.
COMMANDS = (
    "jobs show {job}",
    "jobs show {short-job}",
    "extracts rewrap --site default {short-datasource}",
    "users unlock {short-user}",
    "users unlock nobody",
    "sites set-mode nowhere enforced",
    "sites create Other",
    "status",
    "tsm status",
    "tsm topology list-nodes",
    "tsm security kms status",
    "tsm configuration get -k backgrounder.jobs.keep_days",
    "tsm security secrets list",
    "tsm security keystore verify",
    "events list --id NODE_CREATED",
    "extracts store",
)
#: Show all there is of a thing: each row is read once, by a number of statements that does not grow.
WHOLE = (
    "users list",
    "users list --site default",
    "sites list",
    "tokens list",
    "jobs list",
    "jobs list --site default",
    "extracts list --site default",
    "keys list",
    "access token list",
    "tsm security kms usage",
    "a job for a whole site",
)


#: Passes over as many entries of an index as ended jobs are kept, which is a setting; all writers go on meanwhile.
BY_SETTING = ("duty ended jobs",)


@pytest.fixture(scope="module")
def readings(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Mapping[str, tuple[Reading, Reading]]]:
    home = tmp_path_factory.mktemp("scale") / "node"
    counted = RowsRead()
    with counted.watching():
        create.create_node(str(home), ADMIN, SecretBytes(PASSWORD.encode()))
        with _quiet_loggers(), serve(home, upkeep_s=3600) as served:
            place = Place(served, served.client(), home)
            found = []
            before = rows.Size()
            for size in (rows.Size(*[FEW] * 3), rows.Size(*[MANY] * 3)):
                rows.fill(served.node, before, size)
                before = size
                works = _works(place)
                for work in works.values():
                    work()  # what is read once in the life of a process
                found.append({name: counted.of(work) for name, work in works.items()})
            yield {name: (found[0][name], found[1][name]) for name in found[0]}


def _works(place: Place) -> dict[str, Work]:
    found: dict[str, Work] = {}
    for path in GETS:
        pages = ("1", "2", "4") if path in PAGED else ("",)
        for page in pages:
            query = {"pageSize": "50", "pageNumber": page} if page else {}
            found[f"GET {path} {page}"] = _asked(place, path, query)
    for words in (*COMMANDS, *(one for one in WHOLE if not one.startswith("a job"))):
        found[words] = _run(place, words)
    found |= _duties(place.served.node, place.client)
    return found


def _asked(place: Place, path: str, query: Mapping[str, str]) -> Work:
    ids = {name: rows.id_of(kind, 7) for name, kind in IDS.items()}
    target = path.format_map(_Ids({**ids, "site": place.client.site_id}))

    def ask() -> None:
        reply = place.client.send("GET", target, query=query)
        assert reply.status in {200, 404}, reply.body

    return ask


class _Ids(dict[str, str]):
    def __missing__(self, name: str) -> str:
        return rows.id_of(99, 1)


def _run(place: Place, words: str) -> Work:
    ids = {name: rows.id_of(kind, 7) for name, kind in IDS.items()}
    short = {f"short-{name}": one[:13] for name, one in ids.items()}
    tool, rest = ("tsm", words[4:]) if words.startswith("tsm ") else ("strongroom", words)
    argv = [
        "--data-dir",
        str(place.home),
        *(one.format_map({**ids, **short}) for one in rest.split()),
    ]

    def run() -> None:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            dispatch.main(tool, argv)

    return run


def _duties(node: Node, client: Client) -> dict[str, Work]:
    """What is done without anybody asking, and at a start."""
    found: dict[str, Work] = {
        f"duty {duty.name}": _called(duty.run) for duty in controller.duties_of(node)
    }
    ports = node.job_ports
    user, site = node.users.find(ADMIN), node.sites.find("default")
    somebody = Identity(user, site, "ServerAdministrator")
    return found | {
        "upkeep at a start": lambda: upkeep.at_start(node),
        "regular upkeep": lambda: upkeep.regularly(node),
        "journal of jobs at a start": JobJournal(
            ports.repository, ports.files, ports.clock
        ).recover,
        "look of the queue": lambda: _look(node),
        "probe": lambda: client.send("GET", "/serverinfo"),
        "sign-in": lambda: Client(client.port).sign_in(),
        "a file in doubt": lambda: _doubted(node),
        "begin of an upload": lambda: node.uploads.start(somebody),
        "an unknown user": lambda: _unknown(lambda: node.users.find("user 99")),
        "an unknown site": lambda: _unknown(lambda: node.sites.find("Site 99")),
        "a user goes": lambda: _goes(node),
        "a job for a whole site": lambda: _job_for_all(node, site.id),
    }


def _called(run: Work) -> Work:
    def call() -> None:
        run()

    return call


def _look(node: Node) -> None:
    with node.repository.reading() as tx:
        tx.jobs.queue_mark()
        tx.jobs.queued(50)
        tx.jobs.list(states=["running"])


def _doubted(node: Node) -> None:
    node.stored_files.doubt("nowhere/x.sealed")
    node.stored_files.settle()


def _unknown(find: Work) -> None:
    with contextlib.suppress(Exception):
        find()


def _job_for_all(node: Node, site_id: str) -> None:
    job = node.jobs.enqueue(JobKind.REENCRYPT, site_id, "os:test")
    node.jobs.cancel(job.id, "os:test")


def _goes(node: Node) -> None:
    local = Subject.local("os:test")
    made = node.users.create(local, "somebody")
    node.users.delete(local, made.id)


@contextlib.contextmanager
def _quiet_loggers() -> Iterator[None]:
    """The logging that commands set up goes at the end."""
    loggers = [logging.getLogger(name) for name in ("", *SERVICES)]
    before = [(one, list(one.handlers), one.propagate, one.level) for one in loggers]
    yield
    for one, handlers, propagate, level in before:
        for handler in set(one.handlers) - set(handlers):
            handler.close()
        one.handlers[:], one.propagate = handlers, propagate
        one.setLevel(level)


def test_nothing_but_what_shows_all_grows_with_the_installation(
    readings: Mapping[str, tuple[Reading, Reading]],
) -> None:
    grown = [
        f"{name}: {few.rows} rows and {few.steps} steps became {many.rows} and {many.steps}; {many.worst()}"
        for name, (few, many) in readings.items()
        if name not in {*WHOLE, *BY_SETTING}
        and (many.rows > few.rows + SLACK_ROWS or many.steps > 1.5 * few.steps + SLACK_STEPS)
    ]
    assert not grown, "\n".join(grown)


def test_no_work_asks_for_each_row_by_itself(
    readings: Mapping[str, tuple[Reading, Reading]],
) -> None:
    many_questions = [
        f"{name}: {len(few.statements)} statements became {len(many.statements)}"
        for name, (few, many) in readings.items()
        if len(many.statements) > len(few.statements) + 10
    ]
    assert not many_questions, "\n".join(many_questions)


def test_what_shows_all_reads_each_row_once(
    readings: Mapping[str, tuple[Reading, Reading]],
) -> None:
    twice = [
        f"{name}: {few.rows} rows became {many.rows}; {many.worst()}"
        for name in WHOLE
        for few, many in [readings[name]]
        if many.rows - few.rows > 3.1 * (MANY - FEW)
    ]
    assert not twice, "\n".join(twice)


def test_the_count_sees_a_walk_over_a_table(
    readings: Mapping[str, tuple[Reading, Reading]],
) -> None:
    """The lists that show all: had the hook not counted them, the tests above would prove nothing."""
    few, many = readings["users list"]
    assert few.rows >= FEW
    assert many.rows >= MANY
    assert many.steps > 5 * few.steps
