"""Every component that the suite runs over: one line each."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from tests.contract.consumers import (
    component_certificates,
    component_postgres,
    component_redis,
    component_smtp,
    component_zookeeper,
)
from tests.contract.consumers.harness import ConsumerLab

#: Name → class, which says what applies to it.
LABS: Mapping[str, type[ConsumerLab]] = {
    "certificates": component_certificates.CertificatesLab,
    "postgres-admin": component_postgres.PostgresAdminLab,
    "postgres-pair": component_postgres.PostgresPairLab,
    "postgres-role": component_postgres.PostgresLab,
    "redis": component_redis.RedisLab,
    "smtp": component_smtp.SmtpLab,
    "zookeeper": component_zookeeper.ZookeeperLab,
}
#: Name → what starts it in a folder.
START: Mapping[str, Callable[[Path], AbstractContextManager[ConsumerLab]]] = {
    "certificates": component_certificates.start,
    "postgres-admin": component_postgres.start_admin,
    "postgres-pair": component_postgres.start_pair,
    "postgres-role": component_postgres.start,
    "redis": component_redis.start,
    "smtp": component_smtp.start,
    "zookeeper": component_zookeeper.start,
}
