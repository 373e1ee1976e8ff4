"""Credentials that ended are read anew once, and then the call succeeds."""

import pytest

from tests.contract.roots.provider_aws import MinistackLab
from tests.contract.roots.provider_azure import AzureLab
from tests.contract.roots.provider_gcp import GcpLab
from tests.support.fault_server import Fault


@pytest.mark.parametrize("lab", ["azure"], indirect=True)
def test_a_token_that_the_vault_no_longer_takes_is_replaced(lab: AzureLab) -> None:
    root = lab.root()
    root.check()
    issued = len(lab.vault.client_ids)
    lab.vault.tokens.clear()
    root.check()
    assert len(lab.vault.client_ids) == issued + 1


@pytest.mark.parametrize("lab", ["aws-ministack"], indirect=True)
def test_credentials_of_aws_are_read_anew(lab: MinistackLab) -> None:
    root = lab.root()
    root.check()
    lab.front.calls.clear()
    with lab.front.broken(Fault.EXPIRED, times=1):
        root.check()
    assert lab.front.calls == ["GenerateDataKey", "GenerateDataKey", "Decrypt"]


@pytest.mark.parametrize("lab", ["gcp"], indirect=True)
def test_a_token_that_google_no_longer_takes_is_replaced(lab: GcpLab) -> None:
    """Google's library signs one itself, so nobody is asked for it."""
    root = lab.root()
    root.check()
    lab.front.calls.clear()
    with lab.front.broken(Fault.EXPIRED, times=1):
        root.check()
    verbs = [call.rpartition(":")[2] for call in lab.front.calls]
    assert verbs == ["encrypt", "encrypt", "decrypt"]
