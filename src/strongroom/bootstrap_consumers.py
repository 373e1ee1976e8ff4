"""Builds the consumers that are configured; a part of bootstrap, imported when a rotation needs them.

A component is configured by ordinary keys (`redis.host`, `pgsql.host` …). None set is the embedded
default: no consumer, and its parameters still rotate in the configuration.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from strongroom.errors import StateError

if TYPE_CHECKING:
    from strongroom.clock import Clock
    from strongroom.consumers.base import Candidates, Consumer
    from strongroom.eventlog.jsonl import JsonlEventLog
    from strongroom.services.configuration import ConfigurationService
    from strongroom.services.secret_inventory import SecretInventory
    from strongroom.services.secret_rotation import SecretRotation
    from strongroom.topology.paths import DataPaths

Effective = Callable[[str], str | None]
"""The value in force of an ordinary key."""

Builder = Callable[[Effective, "Candidates"], "tuple[Consumer, ...]"]


def configured(effective: Effective, candidates: "Candidates") -> "tuple[Consumer, ...]":
    """Every configured consumer, in the order in which they rotate: an administrator after those that it changes.

    Args:
        effective: Reads the configuration.
        candidates: The values that a secret may have in its component now.

    Raises:
        StateError: Two of them claim one parameter, or a setting is missing.
    """
    builders: tuple[Builder, ...] = (_certificates, _postgres, _redis, _smtp, _zookeeper)
    found = tuple(consumer for build in builders for consumer in build(effective, candidates))
    check_owners(found)
    return found


def check_owners(found: "Sequence[Consumer]") -> None:
    """Refuse consumers of which one would undo what another did.

    Raises:
        StateError: Two of them claim one parameter.
    """
    owners: dict[str, str] = {}
    for one in (consumer.describe() for consumer in found):
        for parameter in one.parameters:
            if parameter in owners:
                raise StateError(f"{one.id} and {owners[parameter]} both rotate {parameter!r}")
            owners[parameter] = one.id


def _certificates(effective: Effective, candidates: "Candidates") -> "tuple[Consumer, ...]":
    del candidates  # files have no administrator
    directory = effective("indexandsearchserver.ssl.directory") or ""
    if not directory:
        return ()
    from strongroom.consumers.certificates import CertificatesConsumer

    return (CertificatesConsumer(Path(directory)),)


def _postgres(effective: Effective, candidates: "Candidates") -> "tuple[Consumer, ...]":
    host = effective("pgsql.host") or ""
    if not host:
        return ()
    from strongroom.consumers import postgres
    from strongroom.consumers.postgres_server import PostgresSettings

    settings = PostgresSettings(
        host,
        port=int(effective("pgsql.port") or 0),
        database=effective("pgsql.database") or "",
        admin=effective("pgsql.adminusername") or "",
        ca_file=effective("pgsql.ca_file") or "",
    )
    return postgres.consumers(settings, candidates)


def _redis(effective: Effective, candidates: "Candidates") -> "tuple[Consumer, ...]":
    host, socket = effective("redis.host") or "", effective("redis.socket") or ""
    if not (host or socket):
        return ()
    from strongroom.consumers.redis import RedisConsumer, RedisSettings

    settings = RedisSettings(
        user=effective("redis.user") or "",
        socket=socket,
        host=host,
        port=int(effective("redis.port") or 0),
        ca_file=effective("redis.ca_file") or "",
        acl_file=effective("redis.acl_file") or "",
    )
    return (RedisConsumer(settings, candidates),)


def _smtp(effective: Effective, candidates: "Candidates") -> "tuple[Consumer, ...]":
    del candidates  # the mail server's administrator is not ours
    stem = "svcmonitor.notification.smtp"
    host = effective(f"{stem}.server") or ""
    if not host:
        return ()
    from strongroom.consumers.smtp import SmtpConsumer, SmtpSettings

    account, ca_file = effective(f"{stem}.send_account") or "", effective(f"{stem}.ca_file") or ""
    settings = SmtpSettings(host, account, int(effective(f"{stem}.port") or 0), ca_file)
    return (SmtpConsumer(settings),)


def _zookeeper(effective: Effective, candidates: "Candidates") -> "tuple[Consumer, ...]":
    hosts = effective("zookeeper.hosts") or ""
    if not hosts:
        return ()
    from strongroom.consumers import zookeeper

    root, ca_file = effective("zookeeper.root") or "", effective("zookeeper.ca_file") or ""
    return zookeeper.consumers(zookeeper.ZookeeperSettings(hosts, root, ca_file), candidates)


def secret_inventory(
    paths: "DataPaths",
    configuration: "ConfigurationService",
    rotation: "SecretRotation",
    log: "JsonlEventLog",
    clock: "Clock",
) -> "SecretInventory":
    """Age of the secrets of a node, and where forms of them lie."""
    from strongroom.config import yaml_files
    from strongroom.keystore import configuration_key, replicas
    from strongroom.services.secret_inventory import OwnPlaces, SecretInventory, Sources
    from strongroom.topology.processes import SERVICES

    yaml = (yaml_files.CLUSTER_FILE, yaml_files.SERVICE_FILE)
    keys = (replicas.FILE_NAME, configuration_key.FILE_NAME)
    places = OwnPlaces(
        tuple(paths.service_config(one) / name for one in SERVICES for name in yaml),
        tuple(paths.keystores(one) / name for one in SERVICES for name in keys),
        paths.keystore_password,
    )

    def consumers() -> "tuple[Consumer, ...]":
        return configured(configuration.effective, rotation.candidates)

    sources = Sources(rotation.journals.records, log.history, consumers)
    return SecretInventory(configuration, sources, places, clock)
