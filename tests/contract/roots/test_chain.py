"""Moves over the roots outside the clouds, on a real node: Q-20, field.md R12."""

from collections.abc import Callable

import pytest

from strongroom import bootstrap
from strongroom.bootstrap import Node
from strongroom.envelope.header import Placement
from strongroom.ids import new_id
from strongroom.services.kms_keeper import ROOTS
from tests.contract.roots.harness import RootBench

HERE = Placement(new_id(), new_id())


def test_a_chain_of_moves_leaves_every_extract_readable(
    benches: Callable[[str], RootBench], node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = [benches(name) for name in ("openbao", "pkcs11", "gcp", "tpm")]
    for bench in chain:
        for name, value in bench.environment.items():
            monkeypatch.setenv(name, value)
    # makes the keys of the token, if no other test has
    chain[1].quicken(monkeypatch)
    written = {}
    for settings in (*(bench.settings for bench in chain), None):
        assert node.roots.set_mode(settings, "os:tester").done
        status = node.kms.status()
        assert (status.is_ok, status.mode) == (True, settings.kind if settings else "local")
        writer = node.vault.create(HERE, encrypted=True)
        writer.write(status.mode.encode())
        written[writer.commit()] = status.mode.encode()
        # as after a start: the RMK comes from the root
        restarted = bootstrap.open_node(str(node.paths.root))
        try:
            for stored, content in written.items():
                with restarted.vault.open(stored, HERE) as reader:
                    assert reader.read_at(0, reader.size) == content
        finally:
            restarted.close()
        shown = node.paths.coordination.read_bytes()
        for secret in settings.secrets.values() if settings else ():
            assert secret.reveal() not in shown
    assert ROOTS not in node.configuration.document().values
