"""What every test may use: hypothesis' profiles, and the choice among enumerated faults."""

import gc
import random
import secrets
import signal
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings

from tests.support import unmeasured  # before anything of the product is imported: it measures

# isort: split
from tests.support import derivations

derivations.watch()  # before anything else of the product is imported

from tests.support import (  # noqa: E402
    big_values,
    costs,
    crossed,
    open_databases,
    stretched,
    worker_process,
    workers,
)
from tests.support.no_skips import no_skip  # noqa: E402
from tests.support.reports import pytest_report_to_serializable  # noqa: E402, F401  a hook

open_databases.watch()
stretched.remembered()
big_values.told_briefly()

# helpers that assert: told before any test imports them
pytest.register_assert_rewrite("tests.torture.nodes", "tests.torture.root_moves")

if TYPE_CHECKING:
    from tests.support.components.postgres import Postgres
    from tests.support.components.redis import Redis
    from tests.support.components.zookeeper import Zookeeper
    from tests.support.components.zookeeper_ensemble import Ensemble
    from tests.support.emulators import Aws

T = TypeVar("T")

settings.register_profile(
    "dev", max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("ci", settings.get_profile("dev"), max_examples=200, derandomize=True)
settings.register_profile("nightly", settings.get_profile("dev"), max_examples=5000)
settings.load_profile("dev")


@pytest.fixture(autouse=True)
def nodes_end_with_their_test() -> Iterator[None]:
    """Set up after the nodes of a wider scope, which others still use, and taken down last."""
    with open_databases.nodes_end_with_their_test():
        yield


@pytest.fixture(autouse=True)
def derivations_are_judged() -> Iterator[None]:
    """No nonce twice, no output twice, no label that the table of docs/format/primitives.md has not."""
    with derivations.judged():
        yield


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("torture", "enumerated faults")
    group.addoption("--torture", choices=["sample", "whole"], default="sample")
    group.addoption("--torture-seed", type=int, default=None)
    group.addoption("--torture-size", type=int, default=5, help="points per enumeration")
    costs.add_option(group)
    workers.add_option(parser.getgroup("workers", "forks that run tests"))


def pytest_configure(config: pytest.Config) -> None:
    # a shell starts what it does not wait for with SIGINT ignored, and every process that a test starts inherits that
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if config.option.torture_seed is None:
        handed = getattr(config, "workerinput", {}).get("torture_seed")
        config.option.torture_seed = secrets.randbelow(2**32) if handed is None else handed
    config.pluginmanager.add_hookspecs(worker_process.Hooks)
    config.pluginmanager.register(workers, "workers")
    if config.option.costs is not None:
        config.pluginmanager.register(costs.Plugin.for_run(config), "costs")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    # what is collected stays (below): to look for garbage in it meanwhile takes a sixth of the time
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.option.torture == "sample":
        sampled, whole = crossed.without_whole(items, config.args)
        items[:], left = crossed.split(sampled, config.option.torture_seed, config.args)
        left += whole
        config.hook.pytest_deselected(items=left)
    items.sort(key=unmeasured.place)


def pytest_collection_finish() -> None:
    # eighteen thousand tests are half a million objects, which are never garbage: no collection looks at them again, or
    # it would stop every thread of the process, servers under test among them, for half a second
    gc.collect()
    gc.freeze()
    # as the product's commands do: among so many objects each look for garbage takes long
    gc.set_threshold(10_000, 10, 10)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    unmeasured.measurement.switch(on=unmeasured.is_measured(item))
    return (yield)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Hand the seed to each of xdist's workers, so that all of them choose, and collect, alike."""
    node.workerinput["torture_seed"] = node.config.option.torture_seed


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    no_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    no_skip(report)
    return report


def pytest_report_header(config: pytest.Config) -> str:
    return f"torture: {config.option.torture}, --torture-seed {config.option.torture_seed}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    # with xdist the tests ran elsewhere: what they counted comes with their reports
    lines = [
        f"{report.nodeid}: {value}"
        for reports in terminalreporter.stats.values()
        for report in reports
        for name, value in getattr(report, "user_properties", ())
        if name == "torture" and report.when == "teardown"
    ]
    if lines:
        terminalreporter.section("torture: what was tried")
        terminalreporter.write("".join(f"{line}\n" for line in sorted(lines)))


_passed_cells: set[str] = set()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" and report.passed:
        _passed_cells.update(
            str(value) for name, value in report.user_properties if name == "root fault"
        )


def pytest_sessionfinish(session: pytest.Session) -> None:
    # workers tell the process that started them, so only that one has all cells
    if session.config.option.torture == "whole" and _passed_cells:
        from tests.contract.roots import fault_matrix

        fault_matrix.write_page(_passed_cells)


@dataclass(frozen=True)
class Torture:
    """Chooses the points of an enumeration that this run tries."""

    whole: bool
    seed: int
    size: int

    def choose(self, points: Sequence[T], of: str = "") -> list[T]:
        """All points, or a seeded sample in their order; the first and the last are always tried.

        Args:
            points: What there is to try.
            of: What the points belong to, where one run chooses others for each.
        """
        if self.whole or len(points) <= self.size:
            return list(points)
        inner = range(1, len(points) - 1)
        seed = f"{self.seed} {of}" if of else self.seed
        chosen = random.Random(seed).sample(inner, self.size - 2)
        return [points[i] for i in sorted({0, len(points) - 1, *chosen})]


@pytest.fixture
def torture(request: pytest.FixtureRequest) -> Torture:
    option = request.config.option
    return Torture(option.torture == "whole", option.torture_seed, option.torture_size)


@pytest.fixture(scope="session")
def postgres() -> "Iterator[Postgres]":
    """A real PostgreSQL; tests use roles and databases of their own."""
    from tests.support.components.postgres import running_postgres

    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def redis() -> "Iterator[Redis]":
    """A real Redis, administered as `admin` with the password `admin`; tests use users of their own."""
    from tests.support.components.redis import acl_hash, running_redis

    admin = f"user admin on {acl_hash('admin')} ~* &* +@all"
    with running_redis("user default off", admin) as server:
        yield server


@pytest.fixture(scope="session")
def moto_store(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Aws]":
    """An object store in moto with a bucket; tests use prefixes of their own, and give its credentials to a module at most."""
    from tests.support import object_stores

    with object_stores.running("moto", tmp_path_factory.mktemp("moto")) as server:
        yield server


@pytest.fixture(scope="session")
def zookeeper() -> "Iterator[Zookeeper]":
    """A real ZooKeeper; tests use subtrees of their own."""
    from tests.support.components.zookeeper import running_zookeeper

    with running_zookeeper() as server:
        yield server


@pytest.fixture(scope="session")
def ensemble() -> "Iterator[Ensemble]":
    """Three real servers of ZooKeeper; tests use trees of their own, and mend what they break."""
    from tests.support.components.zookeeper_ensemble import running_ensemble

    with running_ensemble() as servers:
        yield servers
