"""Every component that the suite runs over: one line each."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from tests.contract.consumers import (
    bench_certificates,
    bench_postgres,
    bench_redis,
    bench_smtp,
    bench_zookeeper,
)
from tests.contract.consumers.harness import ConsumerBench

#: Name → class, which says what applies to it.
BENCHES: Mapping[str, type[ConsumerBench]] = {
    "certificates": bench_certificates.CertificatesBench,
    "postgres-admin": bench_postgres.PostgresAdminBench,
    "postgres-pair": bench_postgres.PostgresPairBench,
    "postgres-role": bench_postgres.PostgresBench,
    "redis": bench_redis.RedisBench,
    "smtp": bench_smtp.SmtpBench,
    "zookeeper": bench_zookeeper.ZookeeperBench,
}
#: Name → what starts it in a folder.
START: Mapping[str, Callable[[Path], AbstractContextManager[ConsumerBench]]] = {
    "certificates": bench_certificates.start,
    "postgres-admin": bench_postgres.start_admin,
    "postgres-pair": bench_postgres.start_pair,
    "postgres-role": bench_postgres.start,
    "redis": bench_redis.start,
    "smtp": bench_smtp.start,
    "zookeeper": bench_zookeeper.start,
}
