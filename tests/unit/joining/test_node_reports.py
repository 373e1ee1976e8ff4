"""The bytes of a node's report and of the question for it (docs/format/node-reports.md §2, §3)."""

import pytest

from strongroom.canonical import to_base64
from strongroom.errors import FormatError, IntegrityError
from strongroom.joining import node_keys, node_reports, probes
from strongroom.joining.node_reports import NodeReport, OwnProof
from tests.unit.services.nodes.test_judging import GOOD, INSTALLATION, KEYS, OTHER

BARE = NodeReport("node2", GOOD.boot_id, 1, 2, GOOD.at, "0.2.0", "two")


def opened(note: bytes) -> NodeReport:
    return node_reports.opened(note, INSTALLATION, "node2", KEYS.public.signing)


@pytest.mark.parametrize("report", [GOOD, BARE])
def test_it_comes_back_as_it_was(report: NodeReport) -> None:
    assert opened(report.signed(INSTALLATION, KEYS.signing)) == report


def test_every_changed_bit_is_refused() -> None:
    note = BARE.signed(INSTALLATION, KEYS.signing)
    for at in range(len(note)):
        changed = bytearray(note)
        changed[at] ^= 1
        with pytest.raises((FormatError, IntegrityError)):
            opened(bytes(changed))


def test_a_preflight_of_the_same_words_is_no_report() -> None:
    """statements.md 1.4: no signature for one purpose is one for another."""
    from strongroom.crypto import said
    from strongroom.crypto.statements import Origin, Purpose, Statement

    payload = said.of_preflight("node2", BARE.serialize())
    note = Statement(Purpose.PREFLIGHT, Origin(INSTALLATION), payload).signed(KEYS.signing)
    with pytest.raises(IntegrityError, match="purpose"):
        opened(note)


def test_words_of_others_neither_fill_it_nor_break_it() -> None:
    words = "\udcff\U0001f512" * 20_000
    proof = OwnProof(GOOD.at, GOOD.proof.nonces if GOOD.proof else (), None, words, words)
    proof = proof._replace(wraps=(GOOD.boot_id,) * 200, nonces=(to_base64(bytes(16)),) * 32)
    full = BARE._replace(
        host=words,
        cause=words,
        processes={"web service": words, "backgrounder": words},
        proof=proof,
    )
    note = full.signed(INSTALLATION, KEYS.signing)
    assert len(note) <= 16 << 10
    assert opened(note).cause.startswith("?\U0001f512")


@pytest.mark.parametrize(
    "old_new",
    [
        (b'report-1"', b'report-2"'),
        (b'"version":2', b'"version":0'),
        (b'"born":1', b'"born":"1"'),
        (b'"cause":"",', b""),
    ],
)
def test_other_members_are_refused(old_new: tuple[bytes, bytes]) -> None:
    from strongroom.crypto import said
    from strongroom.crypto.statements import Origin, Purpose, Statement

    data = BARE.serialize()
    assert old_new[0] in data
    payload = said.of_report("node2", data.replace(*old_new))
    with pytest.raises(FormatError):
        opened(Statement(Purpose.REPORT, Origin(INSTALLATION), payload).signed(KEYS.signing))


def test_it_is_of_one_installation_and_key() -> None:
    with pytest.raises(IntegrityError):
        opened(BARE.signed(OTHER, KEYS.signing))
    with pytest.raises(IntegrityError):
        opened(BARE.signed(INSTALLATION, node_keys.make(INSTALLATION, "node2").signing))


def test_a_question_keeps_the_newest_nonces() -> None:
    nonces: tuple[str, ...] = ()
    for number in range(probes.MOST + 3):
        nonces = probes.with_nonce(nonces, bytes([number]) * probes.NONCE_BYTES)
    assert len(nonces) == probes.MOST
    assert nonces[0] == to_base64(bytes([3]) * 16)
    assert probes.parse(probes.serialize(nonces)) == nonces
    for bad in ((*nonces, nonces[0]), ("AAAA",), ("no base64",)):
        with pytest.raises(FormatError):
            probes.parse(probes.serialize(bad))
