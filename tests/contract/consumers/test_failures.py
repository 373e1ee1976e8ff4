"""Whatever is wrong with a component: what is told to hold where is what somebody else's logins find (findings K6).

Every consumer of `failing.FAILURES` × every failure, with the real component, the real service and a real node.
"""

import re
from collections.abc import Mapping

import pytest

from strongroom.consumers.base import Credential
from strongroom.crypto.secret import SecretBytes
from strongroom.node.opening import Node
from strongroom.services.secrets.scope import Outcome
from tests.contract.consumers.failing import FAILURES, Failure
from tests.contract.consumers.harness import ConsumerLab
from tests.contract.consumers.rotating import chosen, configure, configured, rotate

TRUTH = {
    (True, True): "both",
    (True, False): "new",
    (False, True): "old",
    (False, False): "neither",
}
EVERY = [(name, failure) for name, failures in FAILURES.items() for failure in failures]


def lets_in(lab: ConsumerLab, credential: Credential) -> bool:
    """Whether somebody else's client is let in; here any refusal is one."""
    try:
        return lab.accepts(credential)
    except AssertionError:
        return False


def words(outcome: Outcome) -> str:
    return f"{outcome.problem}\n{outcome.hint}"


@pytest.mark.parametrize(("lab", "failure"), EVERY, indirect=["lab"])
def test_what_is_told_is_true_and_nothing_is_locked_for_good(
    lab: ConsumerLab, failure: str, node: Node, request: pytest.FixtureRequest
) -> None:
    """Findings K6: the configuration keeps the old value, the component too, or the words say otherwise.

    When the trouble is mended the old value is let in as before, and the next run ends with one valid value.
    """
    wrong = failure_of(request, failure)
    present, consumer = lab.reset(), lab.consumer()
    configure(node, present)
    with wrong.wrong(lab):
        outcome = rotate(node, consumer)
        if not wrong.says:
            assert outcome.state == "rotated", words(outcome)
            assert lets_in(lab, configured(node, consumer))
            return
        assert_told(outcome, wrong, lab, present)
        new = chosen(node, consumer)
        assert not leaks(outcome, present, new)
        truth = wrong.accepts or TRUTH[lets_in(lab, new), lets_in(lab, present)]
        assert outcome.accepts == truth or (wrong.may_be_unknown and outcome.accepts == "unknown")
        assert values(configured(node, consumer)) == values(present)
    assert lets_in(lab, present)
    assert not lab.knows(new)
    assert rotate(node, consumer).state == "rotated"
    now = configured(node, consumer)
    assert lets_in(lab, now)
    assert not lets_in(lab, present)


def failure_of(request: pytest.FixtureRequest, failure: str) -> Failure:
    return FAILURES[request.node.callspec.params["lab"]][failure]


def assert_told(outcome: Outcome, wrong: Failure, lab: ConsumerLab, present: Credential) -> None:
    assert outcome.state == "kept"
    assert re.search(wrong.says, words(outcome), re.DOTALL), words(outcome)


def leaks(outcome: Outcome, *credentials: Credential) -> list[SecretBytes]:
    """The other side's words pass the filter: no value is in them."""
    told = repr(outcome).encode()
    known = [value for one in credentials for value in one.values.values()]
    return [value for value in known if value.reveal() in told]


def values(credential: Credential) -> Mapping[str, bytes]:
    return {name: value.reveal() for name, value in credential.values.items()}
