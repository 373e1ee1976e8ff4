"""Credentials that ended are read anew once, and then the call succeeds: requirements 5, 7.2, 7.5."""

import pytest

from tests.contract.roots.bench_aws import MinistackBench
from tests.contract.roots.bench_azure import AzureBench
from tests.contract.roots.bench_gcp import GcpBench
from tests.fault_server import Fault


@pytest.mark.parametrize("bench", ["azure"], indirect=True)
def test_a_token_that_the_vault_no_longer_takes_is_replaced(bench: AzureBench) -> None:
    root = bench.root()
    root.check()
    issued = len(bench.vault.client_ids)
    bench.vault.tokens.clear()
    root.check()
    assert len(bench.vault.client_ids) == issued + 1


@pytest.mark.parametrize("bench", ["aws-ministack"], indirect=True)
def test_credentials_of_aws_are_read_anew(bench: MinistackBench) -> None:
    root = bench.root()
    root.check()
    bench.front.calls.clear()
    with bench.front.broken(Fault.EXPIRED, times=1):
        root.check()
    assert bench.front.calls == ["GenerateDataKey", "GenerateDataKey", "Decrypt"]


@pytest.mark.parametrize("bench", ["gcp"], indirect=True)
def test_a_token_that_google_no_longer_takes_is_replaced(bench: GcpBench) -> None:
    """Google's library signs one itself, so nobody is asked for it."""
    root = bench.root()
    root.check()
    bench.front.calls.clear()
    with bench.front.broken(Fault.EXPIRED, times=1):
        root.check()
    verbs = [call.rpartition(":")[2] for call in bench.front.calls]
    assert verbs == ["encrypt", "encrypt", "decrypt"]
