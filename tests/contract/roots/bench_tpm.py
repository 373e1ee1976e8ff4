"""TPM 2.0: swtpm, two of them."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, ClassVar

from typing_extensions import override

from strongroom.clock import SystemClock
from strongroom.roots import tpm
from strongroom.roots.base import RootProvider
from strongroom.roots.settings import RootSettings
from tests import emulators
from tests.contract.roots.harness import RootBench, Told
from tests.fault_server import Fault


class TpmBench(RootBench):
    """Two TPMs, as of two machines."""

    form = "indirect"
    faults = frozenset({Fault.UNREACHABLE, Fault.REFUSED, Fault.DISABLED})
    told: ClassVar[Told] = {
        Fault.UNREACHABLE: ("device", "--tcti"),
        Fault.REFUSED: ("owner hierarchy has a password",),
        Fault.DISABLED: ("disabled", "enable it"),
    }

    def __init__(self, socket: Path, other: Path) -> None:
        self.socket = socket
        self._settings, self._foreign = (
            tpm.settings(f"swtpm:path={one}") for one in (socket, other)
        )

    @property
    @override
    def settings(self) -> RootSettings:
        return self._settings

    @property
    @override
    def foreign_settings(self) -> RootSettings:
        return self._foreign

    @override
    def root(self, settings: RootSettings | None = None) -> RootProvider:
        return tpm.build(settings or self._settings, SystemClock())

    def operate(self, work: Callable[[Any], object]) -> None:
        """What an administrator does at the TPM."""
        import tpm2_pytss

        with tpm2_pytss.ESAPI(self._settings.options["tcti"]) as opened:
            work(opened)

    @contextmanager
    @override
    def broken(self, fault: Fault) -> Iterator[None]:
        with ExitStack() as undo:
            match fault:
                case Fault.UNREACHABLE:
                    away = self.socket.with_name("away")
                    self.socket.rename(away)
                    undo.callback(away.rename, self.socket)
                case Fault.REFUSED:
                    self.operate(_set_password(b"", b"owner"))
                    undo.callback(self.operate, _set_password(b"owner", b""))
                case Fault.DISABLED:
                    self.operate(lambda opened: _enable(opened, False))
                    undo.callback(self.operate, lambda opened: _enable(opened, True))
                case _:
                    raise AssertionError(fault)
            yield


def _set_password(old: bytes, new: bytes) -> Callable[[Any], None]:
    from tpm2_pytss import ESYS_TR

    def work(opened: Any) -> None:
        opened.tr_set_auth(ESYS_TR.OWNER, old)
        opened.hierarchy_change_auth(ESYS_TR.OWNER, new)

    return work


def _enable(opened: Any, on: bool) -> None:
    from tpm2_pytss import ESYS_TR

    opened.hierarchy_control(ESYS_TR.PLATFORM, ESYS_TR.OWNER, on)


@contextmanager
def start(folder: Path) -> Iterator[TpmBench]:
    """Two TPMs in folders."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(emulators.tpm(folder / name)) for name in ("a", "b")]
        yield TpmBench(*sockets)
