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
from tests.contract.roots.harness import RootLab, Told, Unfit
from tests.support import emulators
from tests.support.fault_server import Fault


class TpmLab(RootLab):
    """Two TPMs, as of two machines."""

    form = "indirect"
    unfit: ClassVar[Unfit] = {
        Fault.SLOW: "the TSS takes no time limit; readers go on from memory meanwhile",
        Fault.RESET: "there is no connection of ours",
        Fault.BAD_TLS: "there is no TLS: the bus is encrypted by the TPM's own sessions",
        Fault.SERVER_ERROR: "there is no HTTP: a TPM that fails counts as down",
        Fault.THROTTLED: "a TPM has no quota; its lockout is a refusal",
        Fault.PENDING_DELETION: "a TPM is cleared at once",
        Fault.EXPIRED: "no credential of a TPM ends",
        Fault.MISSING: "the key is derived anew each time; a cleared TPM is another one",
        Fault.WRONG_REGION: "a TPM has no region",
    }
    told: ClassVar[Told] = {
        Fault.UNREACHABLE: ("device", "--tcti"),
        Fault.REFUSED: ("owner hierarchy has a password",),
        Fault.DISABLED: ("disabled", "enable it"),
    }

    def __init__(self, socket: Path, other: Path) -> None:
        self.socket = socket
        self.settings, self.foreign_settings = (
            tpm.settings(f"swtpm:path={one}") for one in (socket, other)
        )

    @override
    def root(self, settings: RootSettings | None = None) -> RootProvider:
        return tpm.build(settings or self.settings, SystemClock())

    def operate(self, work: Callable[[Any], object]) -> None:
        """What an administrator does at the TPM."""
        import tpm2_pytss

        with tpm2_pytss.ESAPI(self.settings.options["tcti"]) as opened:
            work(opened)

    @override
    def break_it(self, fault: Fault, undo: ExitStack) -> None:
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
def start(folder: Path) -> Iterator[TpmLab]:
    """Two TPMs in folders."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(emulators.tpm(folder / name)) for name in ("a", "b")]
        yield TpmLab(*sockets)
