"""The stored proof as a text: docs/format/kms-proof.md 1 and 2."""

import json
from dataclasses import replace

import pytest

from strongroom.kms import proofs
from strongroom.kms.proofs import Proof, RootProof

TIME = "2026-01-02T03:04:05Z"
ROOT = RootProof("w1", "aws", "arn", "mode", True, "", 12.3, TIME, "who")
ENDING = replace(ROOT, ends_at=TIME, due_at=TIME, notice="the token ends")
PROOF = Proof(TIME, 3, "0" * 64, (), {"region": "eu"}, (ROOT, ENDING))


def test_a_proof_comes_back_and_leaves_out_what_is_empty_of_a_later_version() -> None:
    text = proofs.serialize(PROOF)
    assert proofs.parse(text) == PROOF
    first, second = json.loads(text)["roots"]
    assert "ends_at" not in first
    assert second["notice"] == "the token ends"


@pytest.mark.parametrize("name", ["ends_at", "due_at", "notice"])
def test_an_empty_member_of_a_later_version_is_no_proof(name: str) -> None:
    """1.4: it would be a second way to write the same proof."""
    document = json.loads(proofs.serialize(PROOF))
    document["roots"][1][name] = ""
    assert proofs.parse(json.dumps(document, sort_keys=True, separators=(",", ":"))) is None


@pytest.mark.parametrize("text", [None, "", "{}", "\ud800", '{"v":99}'])
def test_what_is_no_proof_is_none(text: str | None) -> None:
    assert proofs.parse(text) is None
