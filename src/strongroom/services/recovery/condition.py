"""Finds out what is lost of a node that is to be recovered, as it is at the moment of the question."""

from contextlib import suppress

from strongroom.errors import KeyNotFoundError, KeystoreError, StrongroomError
from strongroom.services.recovery.opener import Opened
from strongroom.services.recovery.ports import RecoverPorts


class Condition:
    """The state of a node's keystore and root; nothing is remembered, since each step of a recovery changes it."""

    def __init__(self, ports: RecoverPorts) -> None:
        self._ports = ports

    def is_whole(self, opened: Opened) -> bool:
        """Whether keystore and the mode's root both work, so that nothing has to be recovered."""
        if not self.keys_are_whole():
            return False
        store = opened.store.store
        with suppress(StrongroomError):
            root = self._ports.keeper.providers.find(store.wraps[0])
            return root.unwrap(store.wraps[0]) == opened.store.rmk.material
        return False

    def keys_are_whole(self) -> bool:
        """Whether the keystore opens every configuration key that is in force."""
        document = self._ports.keeper.configuration.document()
        try:
            keys = self._ports.open_keys(document.installation_id)
            keys.verify()
            keys.open(document.configuration_key_id)
        except (KeystoreError, KeyNotFoundError):
            return False
        return True
