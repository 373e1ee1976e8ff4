"""keyring's own tests of a backend, on ours; run in an environment that has keyring and strongroom-client."""

from keyring.testing.backend import BackendBasicTests
from strongroom_client.keyring_backend import StrongroomKeyring


class TestStrongroomKeyring(BackendBasicTests):  # type: ignore[misc]  # keyring has no types
    def init_keyring(self) -> StrongroomKeyring:
        return StrongroomKeyring()
