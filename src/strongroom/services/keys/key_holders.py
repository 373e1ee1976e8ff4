"""All that holds keys outside the coordination service, as a regeneration sees it."""

from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from strongroom.configuration_keys.keys import ConfigurationKeys
from strongroom.eventlog.checkpoints import CheckpointFile
from strongroom.keystore.replicas import KeystoreDirectory

if TYPE_CHECKING:
    from strongroom.services.keys.spread_keys import SpreadKeys

Renewing = Callable[[str], AbstractContextManager[None]]
"""While it is held, each put writes every entry anew under the next configuration key, of this id."""


@dataclass(frozen=True)
class KeyHolders:
    """The key files of the node, and the checkpoint of its event log.

    `open_keys` reads the key files anew at each call, since the steps change them. `reseal_local` seals what the node
    itself keeps under a configuration key, given by its id, and returns the names of what it sealed. `others` are the other
    nodes of a cluster, which get the new keys; None for a single node. `renew_log_key` gives the event log of a node that
    has a key of its own for it another one.
    """

    directory: KeystoreDirectory
    open_keys: Callable[[], ConfigurationKeys]
    checkpoints: CheckpointFile
    renewing: Renewing
    reseal_local: Callable[[str], Collection[str]] = lambda _: ()
    others: "SpreadKeys | None" = None
    renew_log_key: Callable[[str], None] = lambda _: None

    def check_others(self) -> None:
        """Refuse new keys that another node could not follow.

        Raises:
            StateError: A node is not in order, or not alive.
        """
        if self.others is not None:
            self.others.check()

    def give(self, actor: str) -> None:
        """Give the other nodes the present keys, and wait until each has them.

        Raises:
            NodesError: A node has not taken them.
        """
        if self.others is not None:
            self.others.give(actor)
