"""The part of a node for the keys of extracts: data keys and the KMS store."""

import sys
import time
from functools import cached_property
from typing import TYPE_CHECKING

from strongroom.node.parts.configuration import ConfigurationPart

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from strongroom.crypto.age import Identity
    from strongroom.crypto.secret import SecretBytes
    from strongroom.envelope.keys import EnvelopeKeys
    from strongroom.kms.cache import Limits, StoreCache
    from strongroom.kms.ring_keys import RingKeys
    from strongroom.node.roots import RootProviders
    from strongroom.roots.base import RootProvider, WrapRecord
    from strongroom.services.keys.keeper import KmsPorts, StoreKeeper
    from strongroom.services.keys.spreading import Spread
    from strongroom.services.keys.words import SpreadPorts


class KeysPart(ConfigurationPart):
    """Data keys and the KMS store."""

    #: The service whose log gets the lines about the RMK (A-16); the backgrounder replaces it by its own name.
    key_log = "vizqlserver"

    def local_root(
        self, key_id: str, open_key: "Callable[[str], SecretBytes] | None" = None
    ) -> "RootProvider":
        """The local root that wraps by one configuration key."""
        from strongroom.roots.local import LocalRoot

        return LocalRoot(key_id, open_key or self.configuration.open_key, self.clock)

    def recipient_root(
        self, wrap: "WrapRecord", identities: "tuple[Identity, ...]"
    ) -> "RootProvider":
        """The recovery recipient of a wrap, with identities that may open it."""
        from strongroom.node import roots

        return roots.recipient(wrap, identities, self.clock)

    @cached_property
    def _providers(self) -> "RootProviders":
        from strongroom.node.roots import RootProviders

        return RootProviders(self)

    @cached_property
    def kms_cache(self) -> "StoreCache":
        """The open KMS store; the only object in this process that holds the RMK and the MEKs."""
        from strongroom.kms.cache import StoreCache
        from strongroom.services.keys.follows import FollowsMarks
        from strongroom.services.keys.stored import ConfiguredStore

        sealed = ConfiguredStore(self.configuration, self.coordinator)
        return StoreCache(
            sealed,
            self._providers.find,
            monotonic=time.monotonic,
            log=self._report,
            follows=FollowsMarks(self._read_marks),
            limits=self._key_limits,
        )

    def _read_marks(self, names: "tuple[str, ...]") -> "Mapping[str, str]":
        from strongroom.repository import marks_alone

        return marks_alone.read(self.marks, names)

    @cached_property
    def data_keys(self) -> "RingKeys":
        """Data keys under the MEKs."""
        from strongroom.kms.ring_keys import RingKeys

        return RingKeys(self.kms_cache.ring, self.kms_cache.ring_for)

    @cached_property
    def envelope_keys(self) -> "EnvelopeKeys":
        """The same for envelopes: extracts, parts of uploads and loose files."""
        from strongroom.envelope.keys import EnvelopeKeys

        return EnvelopeKeys(self.data_keys, self.written_envelope)

    def written_envelope(self) -> int:
        """The format in which this node writes new envelopes; every format is read."""
        from strongroom.envelope.keys import present_format

        return present_format()

    def _key_limits(self) -> "Limits":
        from strongroom.kms.cache import Limits

        values = [
            float(self.configuration.effective(f"kms.rmk.{name}_seconds") or "0")
            for name in ("keep", "offline")
        ]
        return Limits(*values)

    def _report(self, channel: str, sentence: str) -> None:
        """Write a line to the service log if the process has one; a command has none, and does not import `logging`."""
        logging = sys.modules.get("logging")
        if logging is not None:
            logging.getLogger(f"{self.key_log}.{channel}").info("%s", sentence)

    @cached_property
    def _kms_ports(self) -> "KmsPorts":
        from strongroom.services.keys.epochs import RepositoryMarks, RepositoryProof
        from strongroom.services.keys.keeper import KmsPorts

        marks = RepositoryMarks(self.repository)
        kept = RepositoryProof(self.repository, self.paths.node_id)
        return KmsPorts(self.coordinator, self.events, marks, self.clock, kept, time.monotonic)

    @cached_property
    def kms_store(self) -> "StoreKeeper":
        """The keeper of the KMS store."""
        from strongroom.services.keys.keeper import StoreKeeper

        ports = self._kms_ports
        return StoreKeeper(self.configuration, self.kms_cache, self._providers, ports, self.spread)

    @cached_property
    def spread(self) -> "Spread | None":
        """The other nodes, which open a new KMS store before it comes into force; None for a single node."""
        if self.outside is None:
            return None
        from strongroom.services.keys.spreading import Spread

        return Spread(self.paths.node_id, self.spread_ports)

    @cached_property
    def spread_ports(self) -> "SpreadPorts":
        """The ports by which changes of keys reach the other nodes of a cluster."""
        from strongroom.services.keys.words import SpreadPorts

        return SpreadPorts(
            self.coordinator,
            self.peers,
            self.events,
            self.clock,
            self.configuration.open_key,
            self._boots,
            time.monotonic,
            time.sleep,
        )

    def _boots(self) -> "Mapping[str, str]":
        return {} if self.board is None else self.board.boots()
