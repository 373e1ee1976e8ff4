"""Every kind of root that the suite runs over: one line each."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from tests.contract.roots import (
    provider_aws,
    provider_azure,
    provider_gcp,
    provider_local,
    provider_openbao,
    provider_pkcs11,
    provider_tpm,
)
from tests.contract.roots.harness import RootLab

#: Name → class, which says what applies to it.
LABS: Mapping[str, type[RootLab]] = {
    "local": provider_local.LocalLab,
    "aws-ministack": provider_aws.MinistackLab,
    "aws-moto": provider_aws.MotoLab,
    "azure": provider_azure.AzureLab,
    "openbao": provider_openbao.OpenbaoLab,
    "pkcs11": provider_pkcs11.Pkcs11Lab,
    "gcp": provider_gcp.GcpLab,
    "tpm": provider_tpm.TpmLab,
}
#: Name → what starts it in a folder.
START: Mapping[str, Callable[[Path], AbstractContextManager[RootLab]]] = {
    "local": provider_local.start,
    "aws-ministack": provider_aws.start_ministack,
    "aws-moto": provider_aws.start_moto,
    "azure": provider_azure.start,
    "openbao": provider_openbao.start,
    "pkcs11": provider_pkcs11.start,
    "gcp": provider_gcp.start,
    "tpm": provider_tpm.start,
}


@contextmanager
def started(folder_of: Callable[[str], Path]) -> Iterator[Callable[[str], RootLab]]:
    """Labs by name until the end of the block, each started when it is first asked for."""
    running: dict[str, RootLab] = {}
    with ExitStack() as stack:

        def lab(name: str) -> RootLab:
            if name not in running:
                running[name] = stack.enter_context(START[name](folder_of(name)))
            return running[name]

        yield lab
