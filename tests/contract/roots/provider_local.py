"""The local root: the configuration key wraps the RMK. It asks nobody, so no fault of R10 applies."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import ClassVar

from typing_extensions import override

from strongroom.clock import SystemClock
from strongroom.crypto import rng
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import KeyNotFoundError
from strongroom.ids import new_id
from strongroom.roots.base import RootProvider
from strongroom.roots.local import KIND, LocalRoot
from strongroom.roots.settings import RootSettings
from tests.contract.roots.harness import RootLab, Unfit
from tests.support.fault_server import Fault


class LocalLab(RootLab):
    """Two configuration keys; each root knows its own."""

    unfit: ClassVar[Unfit] = dict.fromkeys(
        Fault, "nobody is asked: the configuration key is on this machine"
    )
    identity = False

    def __init__(self) -> None:
        self._keys = {new_id(): rng.new_key() for _ in range(2)}
        own, foreign = self._keys
        self.settings, self.foreign_settings = RootSettings(KIND, own), RootSettings(KIND, foreign)

    @override
    def root(self, settings: RootSettings | None = None) -> RootProvider:
        own = (settings or self.settings).root_key_id

        def open_key(key_id: str) -> SecretBytes:
            if key_id != own:
                raise KeyNotFoundError(f"there is no configuration key {key_id}")
            return self._keys[key_id]

        return LocalRoot(own, open_key, SystemClock())

    @override
    def break_it(self, fault: Fault, undo: ExitStack) -> None:
        raise AssertionError(fault)


@contextmanager
def start(folder: Path) -> Iterator[LocalLab]:
    """Nothing to start."""
    del folder
    yield LocalLab()
