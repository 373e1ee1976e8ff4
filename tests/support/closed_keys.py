"""Closes the KMS store of a node: its keys move to a root outside, which is gone for good, and are left behind."""

import pytest

from strongroom.errors import RootRefusedError
from strongroom.node.opening import Node
from strongroom.roots.settings import RootSettings
from tests.support.memory_root import Outside

ACTOR = "os:tester"


def leave_keys_behind(node: Node) -> None:
    """The present keys are of a closed store afterwards, and the node has others, in local mode."""
    with pytest.MonkeyPatch.context() as patch:
        outside = Outside()
        outside.stand_in(patch)
        node.modes.set_mode(RootSettings("openbao", "https://bao.example/transit/keys/one"), ACTOR)
        node.kms_cache.forget()
        outside.failure = RootRefusedError("the key was deleted")
        node.modes.set_mode(None, ACTOR, abandon=True)
