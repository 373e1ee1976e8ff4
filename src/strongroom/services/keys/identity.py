"""The identity of the installation as a secret of the configuration, which signs what leaves the node.

Its fingerprint is printed on paper (docs/format/statements.md 2), so a regeneration of the keys keeps it. A node of
format 1 has no identity; `strongroom upgrade` makes one.
"""

from typing import NamedTuple

from strongroom.canonical import to_base64
from strongroom.coordination.base import Coordinator
from strongroom.crypto import rng, said
from strongroom.crypto.installation_identity import IdentityKey
from strongroom.crypto.statements import Origin, Purpose
from strongroom.errors import StateError
from strongroom.eventlog.base import EventLog
from strongroom.eventlog.events import key_events
from strongroom.services.configuration.present import PresentConfiguration
from strongroom.services.keys.keeper import LOCK, LOCK_WAIT_S

PARAMETER = "installation.identity_key"
KIND = "identity"
"""The word for an identity in the events of keys."""


class Renewed(NamedTuple):
    """The fingerprints before and after a renewal."""

    old: str
    new: str


def find_key(configuration: PresentConfiguration) -> IdentityKey | None:
    """The identity's key in a configuration; None if it has none."""
    document = configuration.document()
    if PARAMETER not in document.values:
        return None
    return IdentityKey(Origin(document.installation_id), configuration.open_secret(PARAMETER))


class IdentityService:
    """The use cases of the identity."""

    def __init__(
        self, configuration: PresentConfiguration, coordinator: Coordinator, event_log: EventLog
    ) -> None:
        self._configuration = configuration
        self._coordinator = coordinator
        self._event_log = event_log

    def find(self) -> IdentityKey | None:
        """The identity's key, or None on a node that has none."""
        return find_key(self._configuration)

    def key(self) -> IdentityKey:
        """The identity's key.

        Raises:
            StateError: The node has no identity.
        """
        found = self.find()
        if found is None:
            raise StateError(
                "this installation has no identity: its node is of format 1",
                hint="run 'strongroom upgrade'",
            )
        return found

    def ensure(self, actor: str) -> None:
        """Make the identity of an installation that has none, as a part of an upgrade."""
        if self.find() is None:
            sealed = self._configuration.seal_secret(PARAMETER, rng.new_key().reveal())
            self._configuration.compare_and_put(
                lambda document: document.with_values({PARAMETER: sealed})
            )
        # said again by an upgrade that goes on: the run before may have died between the two
        self._event_log.append([key_events.key_generated(actor, KIND, self.key().fingerprint)])

    def renew(self, actor: str) -> Renewed:
        """Make another identity, which the old one signs in the event of the change (docs/format/statements.md 3.4).

        Raises:
            StateError: The node has no identity.
            ConflictError: Another command is changing keys.
        """
        with self._coordinator.lock(LOCK, wait_s=LOCK_WAIT_S):
            old, seed = self.key(), rng.new_key()
            new = IdentityKey(old.identity.origin, seed)
            public = new.identity.public
            signature = old.sign(Purpose.IDENTITY, said.of_identity(old.identity.public, public))
            sealed = self._configuration.seal_secret(PARAMETER, seed.reveal())
            # The event comes before the put. If we die in between, it names an identity that nobody has, and the next run
            # makes another one; the other order could lose the only statement by which the new one is known.
            self._event_log.append(
                [
                    key_events.identity_renewed(
                        actor,
                        old=old.fingerprint,
                        new=new.fingerprint,
                        public=to_base64(public),
                        signature=to_base64(signature),
                    )
                ]
            )
            self._configuration.compare_and_put(
                lambda document: document.with_values({PARAMETER: sealed})
            )
            # the previous version of the document holds the old key
            self._configuration.forget_previous()
            return Renewed(old.fingerprint, new.fingerprint)

    def fingerprint(self) -> str:
        """The fingerprint of the identity; empty on a node that has none."""
        found = self.find()
        return "" if found is None else found.fingerprint
