"""`encrypt`, `decrypt` and `rewrap` killed and broken at every mutating system call."""

from pathlib import Path

import pytest

from strongroom.envelope.header import FORMATS
from strongroom.envelope.keys import EnvelopeKeys
from strongroom.node import opening
from tests.conftest import Torture
from tests.support.envelope_formats import header_of
from tests.support.memory_keys import sealed
from tests.torture import harness, nodes
from tests.torture.harness import FAULTS, Lab, Outcome
from tests.torture.nodes import run

#: Of the cases of each test a run takes a third, by its seed; `make torture` takes all.
pytestmark = [pytest.mark.torture, pytest.mark.sampled(3)]
_VERSIONS = pytest.mark.parametrize("version", FORMATS, ids=["format 1", "format 2"])


def _lab(start: Path, *words: str) -> Lab:
    variables = {"STRONGROOM_HOME": "{place}/node"}
    return Lab(start, start.with_name("place"), ("strongroom", *words), variables)


def _seal(start: Path, version: int) -> None:
    """An encrypted file beside the node, in a format that the node may not write yet."""
    node = opening.open_node(str(start / "node"))
    try:
        keys = EnvelopeKeys(node.data_keys, lambda: version)
        (start / "sealed").write_bytes(sealed(keys, nodes.PLAINTEXT))
    finally:
        node.close()
    assert header_of(start / "sealed").prelude.format == version


def _decrypted(place: Path) -> bytes:
    run(place / "node", "strongroom", "decrypt", place / "sealed", place / "out", "--overwrite")
    found = (place / "out").read_bytes()
    (place / "out").unlink()
    return found


def _check_tidy(place: Path) -> None:
    """Nothing is beside the two files and what belongs to the node."""
    assert {path.name for path in place.iterdir()} == {"node", "password", "plain", "sealed"}
    nodes.check_whole(place / "node")


@FAULTS
@pytest.mark.parametrize("options", [(), ("--overwrite",)], ids=["new", "overwrite"])
def test_encrypting(
    start: Path, few: Torture, faults: tuple[str, ...], options: tuple[str, ...]
) -> None:
    """Issue D: OUT appears whole or not at all; an old OUT stays until then."""
    (start / "plain").write_bytes(nodes.PLAINTEXT)
    if options:
        (start / "sealed").write_bytes(b"old")
    lab = _lab(start, "encrypt", "{place}/plain", "{place}/sealed", *options)

    def check(outcome: Outcome) -> None:
        sealed = lab.place / "sealed"
        old = sealed.read_bytes() == b"old" if options else not sealed.exists()
        if old:
            assert not outcome.succeeded
            plain = lab.place / "plain"
            run(lab.place / "node", "strongroom", "encrypt", plain, sealed, *options)
        assert _decrypted(lab.place) == nodes.PLAINTEXT
        _check_tidy(lab.place)

    harness.torture(lab, few.choose(lab.points(*faults)), check)


@FAULTS
@_VERSIONS
@pytest.mark.parametrize("options", [(), ("--overwrite",)], ids=["new", "overwrite"])
def test_decrypting(
    start: Path, few: Torture, faults: tuple[str, ...], options: tuple[str, ...], version: int
) -> None:
    """Issue D: no part of a plaintext stays behind."""
    _seal(start, version)
    if options:
        (start / "plain").write_bytes(b"old")
    words = ("decrypt", "{place}/sealed", "{place}/plain", *options)
    lab = _lab(start, *words)

    def check(outcome: Outcome) -> None:
        plain = lab.place / "plain"
        old = plain.read_bytes() == b"old" if options else not plain.exists()
        if old:
            assert not outcome.succeeded
            run(lab.place / "node", "strongroom", "decrypt", lab.place / "sealed", plain, *options)
        assert plain.read_bytes() == nodes.PLAINTEXT
        _check_tidy(lab.place)

    harness.torture(lab, few.choose(lab.points(*faults)), check)


@FAULTS
@_VERSIONS
def test_rewrapping(start: Path, few: Torture, faults: tuple[str, ...], version: int) -> None:
    """One of the two slots opens at every moment, in either format."""
    _seal(start, version)
    run(start / "node", "tsm", "security", "kms", "rotate")
    lab = _lab(start, "rewrap", "{place}/sealed")

    def check(outcome: Outcome) -> None:
        del outcome
        assert _decrypted(lab.place) == nodes.PLAINTEXT
        run(lab.place / "node", "strongroom", "rewrap", lab.place / "sealed")
        assert _decrypted(lab.place) == nodes.PLAINTEXT
        nodes.check_whole(lab.place / "node")

    harness.torture(lab, few.choose(lab.points(*faults)), check)
