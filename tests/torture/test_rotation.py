"""Rotations killed at every call, and components that fail at every step: R6, R7; issue's "Must show" 2.

Lost would be: neither what the configuration says nor what the journal holds lets a client in. The
next start finishes each, with one try.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest

from strongroom.consumers.base import Consumer, ConsumerDescription, Credential, SecretCopy
from strongroom.eventlog.base import SYSTEM
from strongroom.node.opening import Node
from strongroom.services.secrets.rotate import RotationPorts, SecretRotation
from strongroom.system.compat import override
from tests.conftest import Torture
from tests.contract.consumers import cut_calls
from tests.contract.consumers.components import LABS, START
from tests.contract.consumers.harness import ConsumerLab
from tests.support.node_with_components import PARAMETERS, Estate, estate
from tests.torture import harness, nodes
from tests.torture.harness import KILL, Lab, Outcome

pytestmark = pytest.mark.torture
_PARTS = 4
STEPS = ("admit", "login", "withdraw", "prove-new", "prove-dead")
FAULTS = ("down", "hung", "refusing")
_BLOWS = 200
"""R6."""


# ---- the command is killed -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(fresh_node: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Estate]:
    """A node whose components are real; copy it, never change it."""
    folder = tmp_path_factory.mktemp("estate")

    def make_node() -> Path:
        return nodes.copy(fresh_node, folder / "start") / "node"

    with estate(make_node) as made:
        yield made


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A regeneration has over 2,000 points, seconds each: the whole enumeration is shared by the workers."""
    if "part" in metafunc.fixturenames:
        parts = _PARTS if metafunc.config.option.torture == "whole" else 1
        shares = [slice(first, None, parts) for first in range(parts)]
        metafunc.parametrize("part", shares, ids=[f"{n + 1} of {parts}" for n in range(parts)])


@dataclass
class RotationLab(Lab):
    """The components start anew with the folder: they have the password that stands in it."""

    put_right: Callable[[], None] = lambda: None

    @override
    def _renew(self) -> None:
        super()._renew()
        self.put_right()


def test_a_rotation_killed_at_any_call_is_finished_by_the_next_start(
    whole: Estate, tmp_path: Path, torture: Torture, few: Torture, subtests: pytest.Subtests
) -> None:
    """R7: old or new is valid throughout; one try converges; nothing is left of the old one."""
    for parameter in replace(torture, size=4).choose(PARAMETERS):
        with subtests.test(parameter):
            before = whole.secrets()[parameter]
            lab = RotationLab(
                whole.home.parent,
                tmp_path / parameter,
                ["tsm", "security", "secrets", "rotate", parameter],
                {"STRONGROOM_HOME": "{place}/node"},
                partial(whole.reset, {parameter: before}),
            )
            check = partial(check_finished, whole, lab.place / "node", parameter, before)
            harness.torture(lab, few.choose(lab.points(KILL)), check)
            whole.reset({parameter: before})


def test_a_regeneration_killed_at_any_call_is_finished_by_the_next(
    whole: Estate, tmp_path: Path, few: Torture, part: slice
) -> None:
    """All components at once: each lets somebody in throughout, and the next run renews whatever was left."""
    before = whole.secrets()
    words = ["tsm", "security", "regenerate-internal-tokens"]
    variables = {"STRONGROOM_HOME": "{place}/node"}
    put_right = partial(whole.reset, before)
    lab = RotationLab(whole.home.parent, tmp_path / "place", words, variables, put_right)

    def check(outcome: Outcome) -> None:
        home = lab.place / "node"
        nodes.check_opens(home)
        with nodes.opened(home) as node:
            for parameter in PARAMETERS:
                check_reachable(whole, node, parameter)
            done = node.regenerate.run("os:tester", lambda _: None)
            assert {one.state for one in done.rotated} <= {"rotated"}
            assert node.rotation.journals.all() == []
        after = whole.secrets(home)
        for parameter in PARAMETERS:
            assert after[parameter] != before[parameter]
            assert whole.accepts(parameter, after[parameter]), parameter
            assert not whole.accepts(parameter, before[parameter]), parameter

    harness.torture(lab, few.choose(lab.points(KILL)[part]), check)
    put_right()


def check_reachable(whole: Estate, node: Node, parameter: str) -> tuple[list[str], list[str]]:
    """Old or new lets a client in; gives what is known of both, and the names that log in by them."""
    known = [value.reveal().decode() for value in node.rotation.candidates(parameter)]
    logins = ["", node.configuration.effective("jdbc.username") or "", "rails_a"]
    logins = logins if parameter == "jdbc.password" else [""]
    assert any(whole.accepts(parameter, one, login) for one in known for login in logins), parameter
    return known, logins


def check_finished(
    whole: Estate, home: Path, parameter: str, before: str, outcome: Outcome
) -> None:
    with nodes.opened(home) as node:
        known, logins = check_reachable(whole, node, parameter)
        outcomes = node.rotation.resume(SYSTEM)
        assert [one.state for one in outcomes] in ([], ["rotated"]), outcomes
        assert node.rotation.journals.all() == []
        after = node.configuration.open_secret(parameter).reveal().decode()
    assert whole.accepts(parameter, after)
    dead = {before, *known} - {after}
    assert not any(whole.accepts(parameter, one, login) for one in dead for login in logins)
    assert after != before or not outcome.succeeded
    nodes.check_opens(home)


# ---- a component fails ---------------------------------------------------------------------------


class Breaking:
    """A consumer whose component fails during its n-th call, from 1; 0 is never."""

    def __init__(
        self, inner: Consumer, at: int, fault: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self._inner, self._at, self._fault = inner, at, fault
        self._calls = 0

    def _around(self, call: Callable[[], None]) -> None:
        self._calls += 1
        with ExitStack() as stack:
            if self._calls == self._at:
                stack.enter_context(self._fault())
            call()

    def describe(self) -> ConsumerDescription:
        return self._inner.describe()

    def admit(self, new: Credential, present: Credential) -> None:
        self._around(lambda: self._inner.admit(new, present))

    def login(self, credential: Credential) -> None:
        self._around(lambda: self._inner.login(credential))

    def withdraw(self, old: Credential, present: Credential) -> None:
        self._around(lambda: self._inner.withdraw(old, present))

    def take_back(self, new: Credential, present: Credential) -> None:
        self._around(lambda: self._inner.take_back(new, present))

    def remarks(self) -> tuple[str, ...]:
        return self._inner.remarks()

    def copies(self) -> tuple[SecretCopy, ...]:
        return self._inner.copies()


@dataclass
class Rotated:
    """A lab whose credential is the configured one of a node."""

    node: Node
    lab: ConsumerLab
    parameters: tuple[str, ...]
    before: Credential

    def service(self, consumer: Consumer) -> SecretRotation:
        ports = RotationPorts(self.node.coordinator, self.node.events, self.node.clock)
        return SecretRotation(self.node.configuration, lambda: [consumer], ports)

    @property
    def configured(self) -> Credential:
        """What the configuration says."""
        configuration = self.node.configuration
        document = configuration.document()
        alternates = self.lab.consumer().describe().alternates
        logins = {name: document.values[name] for name in alternates if name in document.values}
        return Credential(
            {name: configuration.open_secret(name) for name in self.parameters}, logins
        )

    def journaled(self, service: SecretRotation) -> Credential | None:
        found = service.journals.find(self.parameters)
        if found is None:
            return None
        opened = service._steps._credentials(found.journal)
        return opened[0]

    def check_reachable(self, service: SecretRotation) -> None:
        new = self.journaled(service)
        assert self.lab.accepts(self.configured) or (new and self.lab.accepts(new))

    def check_converged(self, service: SecretRotation, *, changed: bool = True) -> None:
        assert service.journals.all() == []
        assert self.lab.accepts(self.configured)
        assert (self.configured != self.before) or not changed
        if self.configured != self.before and self.lab.consumer().describe().ends_old:
            assert not self.lab.accepts(self.before)


@pytest.fixture
def node(start: Path) -> Iterator[Node]:
    with nodes.opened(start / "node") as opened:
        yield opened


@pytest.fixture(scope="module")
def components(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[str], ConsumerLab]]:
    running: dict[str, ConsumerLab] = {}
    with ExitStack() as stack:

        def lab(name: str) -> ConsumerLab:
            if name not in running:
                running[name] = stack.enter_context(START[name](tmp_path_factory.mktemp(name)))
            return running[name]

        yield lab


def bring_together(node: Node, lab: ConsumerLab) -> Rotated:
    """The node's configuration says what the component has."""
    present, described = lab.reset(), lab.consumer().describe()
    values: dict[str, str | None] = {
        name: node.configuration.seal_secret(name, value.reveal())
        for name, value in present.values.items()
    }
    logins = {name: present.logins.get(name) for name in described.alternates}
    node.configuration.compare_and_put(lambda document: document.with_values(values | logins))
    return Rotated(node, lab, described.parameters, present)


def _changing(name: str) -> bool:
    return LABS[name].changes_component


@pytest.mark.parametrize("fault", FAULTS)
def test_a_component_that_fails_at_any_step_keeps_one_value_and_converges(
    node: Node, components: Callable[[str], ConsumerLab], torture: Torture, fault: str
) -> None:
    """R7: each consumer down, hung or refusing at every step; 0 lost, one retry."""
    cases = [(name, at) for name in START if _changing(name) for at in range(1, len(STEPS) + 1)]
    size = 4 if fault == "hung" else torture.size
    failed = 0
    for name, at in replace(torture, size=size).choose(cases):
        lab = components(name)
        rotated = bring_together(node, lab)
        breaking = rotated.service(Breaking(lab.consumer(), at, getattr(lab, fault)))
        (outcome,) = breaking.rotate("os:tester", rotated.parameters)
        service = rotated.service(lab.consumer())
        rotated.check_reachable(service)
        if outcome.state != "rotated":
            failed += 1
            assert outcome.stage == STEPS[at - 1], (name, outcome)
            (retried,) = service.rotate("os:tester", rotated.parameters)
            assert retried.state == "rotated", (name, STEPS[at - 1], retried)
        rotated.check_converged(service)
    harness.FIGURES.append(f"{fault}: {len(cases)} cases, {failed} failed of those tried, 0 lost")
    assert failed > 0


def test_a_call_cut_at_any_message_can_be_made_again(
    components: Callable[[str], ConsumerLab], torture: Torture
) -> None:
    """R7: the connection breaks at every message, the message lost or its answer."""
    turns = range(1, cut_calls.MOST_TURNS if torture.whole else 2)
    for name in START:
        if _changing(name) and LABS[name].over_network:
            counts = [
                cut_calls.cut_at(components(name), turns, delivered=delivered)
                for delivered in (False, True)
            ]
            harness.FIGURES.append(f"{name}: cut at {sum(counts)} messages, 0 lost")
            assert min(counts) > 0


def test_a_component_killed_at_any_moment_agrees_with_the_configuration(
    node: Node, components: Callable[[str], ConsumerLab], torture: Torture
) -> None:
    """R6: the server dies at a random moment of a rotation and comes back; passwords in it and in the store agree."""
    names = [name for name in START if _changing(name) and LABS[name].over_network]
    count = _BLOWS // len(names)
    blows = [(name, number) for number in range(count) for name in names]
    lasts: dict[str, float] = {}
    disturbed = 0
    for name, number in replace(torture, size=6).choose(blows):
        lab = components(name)
        rotated = bring_together(node, lab)
        service = rotated.service(lab.consumer())
        if name not in lasts:
            began = time.monotonic()
            service.rotate("os:tester", rotated.parameters)
            lasts[name] = time.monotonic() - began
            rotated = replace(rotated, before=rotated.configured)
        # spread over the time that a rotation takes
        blow = threading.Timer(lasts[name] * (number + 0.5) / count, _kill, [lab])
        blow.start()
        first = service.rotate("os:tester", rotated.parameters)
        blow.join()
        rotated.check_reachable(service)
        if first[0].state != "rotated":
            disturbed += 1
            (outcome,) = service.rotate("os:tester", rotated.parameters)
            assert outcome.state == "rotated", (name, number, outcome)
        rotated.check_converged(service)
    harness.FIGURES.append(
        f"{len(blows)} moments, {disturbed} of those tried disturbed, 0 lost, one retry each"
    )


def _kill(lab: ConsumerLab) -> None:
    with suppress(ProcessLookupError):
        lab.kill()
