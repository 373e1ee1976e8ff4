"""Collects what a new node is to believe and to reach, for its bootstrap file (docs/format/bootstrap-file.md §1.2)."""

from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from strongroom.coordination.base import Coordinator
from strongroom.crypto import node_certificates
from strongroom.errors import FormatError, IntegrityError, StorageError
from strongroom.joining import authorities, shown_certificates
from strongroom.joining.bearings import (
    MOST_ADDRESSES,
    Addresses,
    Authorities,
    Bearings,
    is_address,
)
from strongroom.repository import postgres_address
from strongroom.services.configuration import https_material
from strongroom.services.keys.peers import Peers
from strongroom.system import disk, hosts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from strongroom.cluster.services_file import Services
    from strongroom.services.configuration.service import ConfigurationService

_MAX_BYTES: Final = 1 << 20
_SYSTEM: Final = "system"
"""For libpq, the authorities of the machine."""


class BearingsPorts(NamedTuple):
    """The ports of whoever collects.

    Attributes:
        configuration: Holds the certificate of the web service, and the internal authority.
        coordinator: Holds what each node shows.
        peers: The registry of the nodes.
        services: Returns where the services of the cluster are; None if they are embedded.
    """

    configuration: "ConfigurationService"
    coordinator: Coordinator
    peers: Peers
    services: "Callable[[], Services | None]"


def collect(ports: BearingsPorts, server: str) -> Bearings:
    """The bearings for a new node.

    Args:
        ports: The ports.
        server: Where the node will ask to be admitted; empty if that is not known.

    Raises:
        StorageError: The file of an authority cannot be read here.
        FormatError: The certificate of the web service is none, or the registry is damaged.
        IntegrityError: An entry of the registry is none, or says of a node what that one did not.
    """
    web = _web(ports) if server.startswith("https:") else ()
    services = ports.services()
    if services is None:
        return Bearings(Authorities(web=web))
    place, postgres = services.zookeeper, services.postgres
    root = postgres.get("sslrootcert", _SYSTEM)
    return Bearings(
        Authorities(
            nodes=_internal(ports),
            postgres=() if root == _SYSTEM else _read(root, "PostgreSQL"),
            web=web,
            zookeeper=_read(place.ca, "ZooKeeper"),
        ),
        Addresses(
            nodes=_nodes(ports, services.installation_id),
            postgres=_well_formed(postgres_address.places_of(postgres)),
            zookeeper=_well_formed(one.text for one in hosts.endpoints(place.hosts)),
        ),
    )


def _well_formed(addresses: "Iterable[str]") -> tuple[str, ...]:
    """Addresses that a file may have, as many as it may: with another one no machine would take it."""
    return tuple(filter(is_address, addresses))[:MOST_ADDRESSES]


def _read(path: str, what: str) -> tuple[bytes, ...]:
    try:
        with Path(path).open("rb") as file:
            data = file.read(_MAX_BYTES)
    except OSError as error:
        raise disk.problem(f"cannot read {path}", error) from error
    try:
        return node_certificates.from_pem(data)
    except FormatError as error:
        raise StorageError(
            f"{path}, the authority of {what}'s certificates, cannot go with the file: {error.message}",
            hint="bring that file in order, then make the bootstrap file",
        ) from error


def _web(ports: BearingsPorts) -> tuple[bytes, ...]:
    """The certificate of this installation's web service and its chain; none if others end HTTPS before it."""
    values = ports.configuration.document().values
    names = (https_material.CERTIFICATE, https_material.CHAIN)
    found = (ports.configuration.open_secret(one).reveal() for one in names if one in values)
    return tuple(one for text in found if text for one in node_certificates.from_pem(text))


def _internal(ports: BearingsPorts) -> tuple[bytes, ...]:
    if authorities.PARAMETER not in ports.configuration.document().values:
        return ()
    return authorities.parse(ports.configuration.open_secret(authorities.PARAMETER)).certificates


def _nodes(ports: BearingsPorts, installation_id: str) -> tuple[str, ...]:
    found, nodes = ports.coordinator.list(shown_certificates.PREFIX), ports.peers.all()
    known = []
    for name, node in nodes.items():
        entry = found.get(shown_certificates.PREFIX + name)
        if entry is None or node.state.is_gone:
            continue
        try:
            shown = shown_certificates.parse(entry.value, installation_id, name, node.keys.signing)
        except (FormatError, IntegrityError):
            # an address is a hint: a node's word from before its keys were lost, say, keeps no file from being made
            continue
        known.append(shown.address)
    return _well_formed(known)
