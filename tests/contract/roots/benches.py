"""Every kind of root that the suite runs over: one line each."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from tests.contract.roots import (
    bench_aws,
    bench_azure,
    bench_gcp,
    bench_local,
    bench_openbao,
    bench_pkcs11,
    bench_tpm,
)
from tests.contract.roots.harness import RootBench

#: Name → class, which says what applies to it.
BENCHES: Mapping[str, type[RootBench]] = {
    "local": bench_local.LocalBench,
    "aws-ministack": bench_aws.MinistackBench,
    "aws-moto": bench_aws.MotoBench,
    "azure": bench_azure.AzureBench,
    "openbao": bench_openbao.OpenbaoBench,
    "pkcs11": bench_pkcs11.Pkcs11Bench,
    "gcp": bench_gcp.GcpBench,
    "tpm": bench_tpm.TpmBench,
}
#: Name → what starts it in a folder.
START: Mapping[str, Callable[[Path], AbstractContextManager[RootBench]]] = {
    "local": bench_local.start,
    "aws-ministack": bench_aws.start_ministack,
    "aws-moto": bench_aws.start_moto,
    "azure": bench_azure.start,
    "openbao": bench_openbao.start,
    "pkcs11": bench_pkcs11.start,
    "gcp": bench_gcp.start,
    "tpm": bench_tpm.start,
}


@contextmanager
def started(folder_of: Callable[[str], Path]) -> Iterator[Callable[[str], RootBench]]:
    """Benches by name until the end of the block, each started when it is first asked for."""
    running: dict[str, RootBench] = {}
    with ExitStack() as stack:

        def bench(name: str) -> RootBench:
            if name not in running:
                running[name] = stack.enter_context(START[name](folder_of(name)))
            return running[name]

        yield bench
