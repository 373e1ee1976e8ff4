"""Rotations whose answers from ZooKeeper are lost at random moments: one new MEK for each that was made (matrix 3, 4; E6)."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from strongroom.errors import StrongroomError
from tests.conftest import Torture
from tests.contract.cluster.commands import opened
from tests.contract.joining.commands import told
from tests.support.cluster_services import ClusterServices
from tests.support.components.zookeeper_ensemble import Ensemble
from tests.support.links import Mode

ACTOR: Final = "os:tests"
WHOLE: Final = 200
_TAKES_S: Final = 0.4
"""How long a rotation talks to ZooKeeper, about."""


def lose(ensemble: Ensemble, begin_s: float, for_s: float) -> None:
    """Lose the answers of all servers for a while; then every connection is cut, as by whoever repairs a network."""
    time.sleep(begin_s)
    for link in ensemble.links():
        link.become(Mode.LOSE_ANSWERS)
    time.sleep(for_s)
    for link in ensemble.links():
        link.become(Mode.PASS)
        link.cut()


@pytest.mark.torture
def test_every_rotation_that_was_made_made_one_key(
    cluster_home: Path,
    services: ClusterServices,
    torture: Torture,
    record_property: Callable[[str, object], None],
) -> None:
    """Matrix 4: done or not done, as the command says; keys, epochs and events agree, and the node goes on."""
    chance, outcomes = random.Random(torture.seed), Counter[str]()
    with opened(cluster_home) as node:
        before = {mek.id for mek in node.kms_cache.opened().ring}
        seen = node.kms_store.current()[0].epoch
        for _ in range(WHOLE if torture.whole else 2):
            times = chance.uniform(0, _TAKES_S), chance.uniform(0.02, 0.5)
            fault = threading.Thread(target=lose, args=(services.ensemble, *times))
            fault.start()
            try:
                node.meks.rotate(ACTOR)
                said = "made"
            except StrongroomError as error:
                said = type(error).__name__
            fault.join()
            # what was not known at that moment is known by now: by the epoch, which only a rotation raises here
            epoch = node.kms_store.current()[0].epoch
            outcomes[f"{said}, {'made' if epoch > seen else 'not made'}"] += 1
            assert epoch - seen in ({1} if said == "made" else {0, 1})
            seen = epoch
        now = {mek.id for mek in node.kms_cache.opened().ring}
        made = sum(count for name, count in outcomes.items() if name.endswith(", made"))
        assert before < now
        assert len(now - before) == made
        assert node.kms_store.prove().problems == ()
        assert node.state_faults() == ()
        changed = [event["epoch"] for event in told(node, "KMS_STORE_CHANGED")]
        assert len(changed) == len(set(changed))
        assert node.events.verify().is_whole
    record_property("torture", f"rotations: {dict(outcomes)}")
