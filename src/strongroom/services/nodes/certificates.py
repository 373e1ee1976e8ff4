"""The certificates between nodes: this node keeps its own one valid, all together the authority (format/certificates.md).

Nothing here waits for another node, and no certificate is needed to make another one: the authority is a secret of the
configuration, which each node opens by its keystore. So an end of all certificates does not keep them from being renewed.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from strongroom.clock import Clock, format_utc
from strongroom.coordination.base import Change, Coordinator
from strongroom.crypto import node_certificates
from strongroom.crypto.node_certificates import NodeName
from strongroom.errors import FormatError, IntegrityError, StrongroomError
from strongroom.eventlog.base import EventLog
from strongroom.eventlog.events import key_events, node_events
from strongroom.joining import authorities, shown_certificates
from strongroom.joining.authorities import PARAMETER, Authorities
from strongroom.joining.own_certificate import OwnCertificate, Pair
from strongroom.joining.shown_certificates import ShownCertificates
from strongroom.services.keys.peers import LOCK, LOCK_WAIT_S, Peers

if TYPE_CHECKING:
    from strongroom.joining.node_keys import NodeKeys
    from strongroom.joining.registry import RegisteredNode
    from strongroom.services.configuration.service import ConfigurationService

SPREAD: Final = timedelta(seconds=60)
"""The time that a new authority has to reach every node before a certificate of it is shown; a node looks every 15 s."""
_HOSTS: Final = ("localhost",)
"""The names of a machine of which nothing else is known as yet; the node's own certificates name it."""
KIND: Final = "internal authority"
"""The word for it in the events of keys."""


class Lives(NamedTuple):
    """How long certificates are valid.

    Attributes:
        authority: The life of the authority.
        node: The life of certificates of nodes.
        spread: The age from which on a new authority is used.
    """

    authority: timedelta = node_certificates.AUTHORITY_LIFE
    node: timedelta = node_certificates.NODE_LIFE
    spread: timedelta = SPREAD


_LIVES: Final = Lives()


@dataclass(frozen=True)
class CertificatePorts:
    """The ports of this service.

    Attributes:
        configuration: Holds the authority.
        coordinator: Holds what each node shows.
        peers: The registry of the nodes.
        event_log: The log of this node.
        clock: Gives the present.
        read: Reads the file of this node's certificate.
        write: Writes it.
        keys: The keys by which this node signs; None on a single node, which shows its certificate to no other.
        node_id: This node.
        hosts: Further names of this machine.
        lives: How long certificates are valid.
    """

    configuration: "ConfigurationService"
    coordinator: Coordinator
    peers: Peers
    event_log: EventLog
    clock: Clock
    read: Callable[[], OwnCertificate | None]
    write: Callable[[OwnCertificate], None]
    keys: "Callable[[], NodeKeys | None]"
    node_id: str
    hosts: tuple[str, ...] = ()
    lives: Lives = _LIVES


class Certified(NamedTuple):
    """A certificate for another node's request.

    Attributes:
        certificate: The certificate, DER.
        authorities: Certificates of the authorities that count, DER.
    """

    certificate: bytes
    authorities: tuple[bytes, ...]


class CertificateService:
    """The certificate of this node, and the authority of all."""

    def __init__(self, ports: CertificatePorts) -> None:
        self._ports = ports

    def find_authorities(self) -> Authorities | None:
        """The authorities; None in an installation that has none as yet."""
        configuration = self._ports.configuration
        if PARAMETER not in configuration.document().values:
            return None
        return authorities.parse(configuration.open_secret(PARAMETER))

    def renew_authority(self, actor: str) -> Authorities:
        """Make another authority, beside which the present one is believed until no node shows a certificate of it.

        Raises:
            ConflictError: Another command works on the nodes.
        """
        with self._ports.coordinator.lock(LOCK, wait_s=LOCK_WAIT_S):
            return self._new_authority(actor, self.find_authorities())

    def certify(self, actor: str, node_id: str, asked: bytes) -> Certified | None:
        """The first certificate of another node, for its request; the caller holds the lock of the nodes.

        Args:
            actor: The person or process that asks, for the events.
            node_id: The node, which must have been admitted.
            asked: The request, DER.

        Returns:
            None while the authority is so new that a node may not have heard of it: then the node makes its own, later.

        Raises:
            FormatError: The request is not of that node, or not signed by its key.
        """
        ports = self._ports
        known, now = self._ensured(actor, ports.read()), ports.clock.now()
        if not known.is_used(now, ports.lives.spread):
            return None
        name = self._name()._replace(node_id=node_id)
        signing = node_certificates.Issuing(known.present, now, ports.lives.node)
        made = signing.certify(asked, name, _HOSTS)
        self._log(actor, (made,), node_id)
        return Certified(made, known.certificates)

    def follow(self, actor: str, address: str | None = None, *, renew: bool = False) -> bool:
        """Do what is due: an authority, a certificate of this node, its entry; may be repeated, and ended at any point.

        Args:
            actor: The person or process that asks, for the events.
            address: Where the control service of this node answers; None leaves what the entry says.
            renew: Whether this node gets another certificate, though the present one is good still.

        Returns:
            Whether anything was done.

        Raises:
            StrongroomError: A service refuses; the next run goes on from there.
        """
        ports = self._ports
        if not renew and not self._is_behind(address):
            return False
        with ports.coordinator.lock(LOCK, wait_s=LOCK_WAIT_S):
            own = ports.read()
            known = self._ensured(actor, own)
            own = self._with_coming(self._taken_over(own, known), known, renew=renew)
            ports.write(own)
            self._show(actor, own, address)
            if own.coming is not None:
                ports.write(own._replace(present=own.coming, coming=None))
            if self._may_drop(known):
                present = known.without_former()
                self._put(present)
                # the file has what is sealed now: else the next look would find it behind
                ports.write(self._taken_over(ports.read(), present))
        return True

    def shown(self) -> dict[str, ShownCertificates]:
        """The certificates that each node of the installation shows.

        Raises:
            FormatError: An entry is damaged.
            IntegrityError: A node did not say itself what its entry says.
        """
        ports = self._ports
        found = ports.coordinator.list(shown_certificates.PREFIX)
        known = {}
        for node in ports.peers.all().values():
            entry = found.get(shown_certificates.PREFIX + node.node_id)
            if entry is not None and not node.state.is_gone:
                known[node.node_id] = self._said(node, entry.value)
        return known

    def shown_by(self, node_id: str) -> ShownCertificates | None:
        """The certificates that one node shows, whatever the others' entries are; None if it shows none, or is gone.

        Raises:
            FormatError: The entry is damaged.
            IntegrityError: The node did not say itself what its entry says.
        """
        ports = self._ports
        node = ports.peers.all().get(node_id)
        entry = ports.coordinator.get(shown_certificates.PREFIX + node_id)
        if node is None or node.state.is_gone or entry is None:
            return None
        return self._said(node, entry.value)

    # ---- inside ----------------------------------------------------------------------------------

    def _said(self, node: "RegisteredNode", entry: bytes) -> ShownCertificates:
        installation, public = self._name().installation_id, node.keys.signing
        return shown_certificates.parse(entry, installation, node.node_id, public)

    def _is_behind(self, address: str | None) -> bool:
        """Whether anything is to be done; looks only."""
        ports = self._ports
        own, known = ports.read(), self.find_authorities()
        if own is None or own.present is None or own.coming is not None or known is None:
            return True
        is_stale = own.sealed_authority != ports.configuration.document().values[PARAMETER]
        if is_stale or known.is_due(ports.clock.now()) or self._is_due(own.present, known):
            return True
        said, before = self._entry(own, address)
        return self._may_drop(known) or (said is not None and not said.says_the_same(before))

    def _is_due(self, present: Pair, known: Authorities) -> bool:
        now, described = self._ports.clock.now(), present.described
        if described.is_due(now) or described.name != self._name():
            return True
        is_used = known.is_used(now, self._ports.lives.spread)
        return is_used and not known.has_issued((present.certificate,))

    def _ensured(self, actor: str, own: OwnCertificate | None) -> Authorities:
        known = self.find_authorities()
        if known is None or known.is_due(self._ports.clock.now()):
            return self._new_authority(actor, known, own)
        return known

    def _new_authority(
        self, actor: str, known: Authorities | None, own: OwnCertificate | None = None
    ) -> Authorities:
        ports = self._ports
        found = None if known is None else self._made_offline(known, own)
        if found is None:
            installation, life = self._name().installation_id, ports.lives.authority
            made = node_certificates.new_authority(installation, ports.clock.now(), life)
            found = Authorities(made) if known is None else known.renewed(made)
        new = node_certificates.fingerprint(found.present.certificate)
        event = key_events.key_generated(actor, KIND, new)
        if known is not None:
            old = node_certificates.fingerprint(known.present.certificate)
            event = node_events.authority_renewed(actor, old=old, new=new)
        # the event comes first: an authority that nobody uses is better than one of which nobody was told
        ports.event_log.append([event])
        self._put(found)
        return found

    def _made_offline(self, known: Authorities, own: OwnCertificate | None) -> Authorities | None:
        """The authority that this node made after the present one while the configuration could not be reached."""
        if own is None or not own.sealed_authority:
            return None
        try:
            secret = self._ports.configuration.open_text(PARAMETER, own.sealed_authority)
        except StrongroomError:
            # sealed under a key that a regeneration has ended since: what was made before it does not count
            return None
        found = authorities.parse(secret)
        is_next = found.former[:1] == (known.present.certificate,)
        return found if is_next and not found.is_due(self._ports.clock.now()) else None

    def _put(self, found: Authorities) -> None:
        configuration = self._ports.configuration
        sealed = configuration.seal_secret(PARAMETER, found.serialize().reveal())
        configuration.compare_and_put(lambda document: document.with_values({PARAMETER: sealed}))
        # the files of this node's services hold the secret, too; other nodes write theirs when they hear of it
        configuration.project()

    def _taken_over(self, own: OwnCertificate | None, known: Authorities) -> OwnCertificate:
        """The file with the authorities as they are now."""
        name = self._name()
        if own is None or own.name != name:
            own = OwnCertificate(name)
        sealed = self._ports.configuration.document().values[PARAMETER]
        return own._replace(authorities=known.certificates, sealed_authority=sealed)

    def _with_coming(
        self, own: OwnCertificate, known: Authorities, *, renew: bool
    ) -> OwnCertificate:
        """The file with the certificate that is shown next, if another one is needed."""
        if own.coming is not None and not self._is_due(own.coming, known):
            return own
        if own.present is not None and not renew and not self._is_due(own.present, known):
            return own._replace(coming=None)
        ports = self._ports
        signing = node_certificates.Issuing(known.present, ports.clock.now(), ports.lives.node)
        return own._replace(coming=new_pair(signing, own.name, ports.hosts))

    def _show(self, actor: str, own: OwnCertificate, address: str | None) -> None:
        """Tell the other nodes which certificates are this node's; the event comes first."""
        said, before = self._entry(own, address)
        if said is None:
            fresh = () if own.coming is None else (own.coming.certificate,)
            self._log(actor, fresh)
            return
        if said.says_the_same(before):
            return
        known = () if before is None else before.certificates
        self._log(actor, tuple(one for one in said.certificates if one not in known))
        ports, name = self._ports, shown_certificates.PREFIX + said.node_id
        keys = ports.keys()
        assert keys is not None  # noqa: S101 for the type checker: there is something to say
        entry = said.signed(own.name.installation_id, keys.signing)
        ports.coordinator.put({name: Change(entry, ports.coordinator.version(name))})

    def _log(self, actor: str, certificates: tuple[bytes, ...], node_id: str = "") -> None:
        found = [node_certificates.describe(one) for one in certificates]
        if found:
            self._ports.event_log.append(
                [
                    node_events.node_certified(
                        actor,
                        node_id or self._ports.node_id,
                        fingerprint=one.fingerprint,
                        ends_at=format_utc(one.ends),
                    )
                    for one in found
                ]
            )

    def _entry(
        self, own: OwnCertificate, address: str | None
    ) -> tuple[ShownCertificates | None, ShownCertificates | None]:
        """The entry that this node should have, and the entry that it has; None on a single node."""
        ports = self._ports
        keys = ports.keys()
        if keys is None:
            return None, None
        found, before = ports.coordinator.get(shown_certificates.PREFIX + ports.node_id), None
        if found is not None:
            installation, public = own.name.installation_id, keys.public.signing
            # a signature by a key from before a recovery is not this node's word any more: the entry is replaced
            with suppress(IntegrityError):
                before = shown_certificates.parse(found.value, installation, ports.node_id, public)
        if address is None:
            address = "" if before is None else before.address
        now = format_utc(ports.clock.now())
        return ShownCertificates(ports.node_id, own.certificates, address, now), before

    def _may_drop(self, known: Authorities) -> bool:
        """Whether there is an authority before the present one, and no node shows a certificate of it."""
        ports = self._ports
        if not known.former or not known.is_used(ports.clock.now(), ports.lives.spread):
            return False
        nodes = [one.node_id for one in ports.peers.all().values() if not one.state.is_gone]
        if not nodes:
            own = ports.read()
            return own is not None and known.has_issued(own.certificates)
        try:
            shown = self.shown()
        except (FormatError, IntegrityError):
            # a node whose word does not hold may show a certificate of it still
            return False
        return all(node in shown and known.has_issued(shown[node].certificates) for node in nodes)

    def _name(self) -> NodeName:
        return NodeName(self._ports.configuration.document().installation_id, self._ports.node_id)


def new_pair(
    signing: node_certificates.Issuing, name: NodeName, hosts: tuple[str, ...] = ()
) -> Pair:
    """A new key, and a certificate for it.

    Args:
        signing: The authority, at this moment.
        name: The node.
        hosts: Further names of the machine.
    """
    key = node_certificates.new_key()
    return Pair(signing.certify(node_certificates.request(key, name), name, hosts), key)
