"""PKCS#11: SoftHSM, a token in a folder."""

import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest
from typing_extensions import override

from strongroom.clock import SystemClock
from strongroom.crypto.secret import SecretBytes
from strongroom.roots import pkcs11
from strongroom.roots.base import RootProvider
from strongroom.roots.settings import RootSettings
from tests.contract.roots.harness import RootLab, Told, Unfit
from tests.support.fault_server import Fault

MODULE = "/usr/lib/softhsm/libsofthsm2.so"
TOKEN, KEY, OTHER = "strongroom node", "rmk-root", "another"
PIN, WRONG, SO_PIN = "5678-of-the-test", "8765-of-nobody", "1234-of-the-officer"


class Pkcs11Lab(RootLab):
    """A token with two keys, made as `--create-key` makes them."""

    unfit: ClassVar[Unfit] = {
        Fault.SLOW: "the vendor's library takes no time limit; readers go on from memory meanwhile",
        Fault.RESET: "there is no connection of ours",
        Fault.BAD_TLS: "there is no TLS of ours: the library runs in this process",
        Fault.SERVER_ERROR: "there is no HTTP: a token that fails counts as down",
        Fault.THROTTLED: "a token has no quota",
        Fault.REFUSED: "the PIN is the only permission: see expired credentials",
        Fault.PENDING_DELETION: "a token deletes at once",
        Fault.WRONG_REGION: "a token has no region",
    }
    told: ClassVar[Told] = {
        Fault.UNREACHABLE: ("token",),
        Fault.EXPIRED: ("PIN", TOKEN),
        Fault.MISSING: ("no such key", "--create-key"),
        Fault.DISABLED: ("CKA_DECRYPT",),
    }

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings, self.foreign_settings = (
            self.of(label, create=False) for label in (KEY, OTHER)
        )

    def of(self, label: str, *, create: bool, pin: str = PIN) -> RootSettings:
        """Settings of a key."""
        return pkcs11.settings(MODULE, TOKEN, label, pin=SecretBytes(pin.encode()), create=create)

    @property
    @override
    def environment(self) -> Mapping[str, str]:
        return {"SOFTHSM2_CONF": str(self.folder / "softhsm2.conf")}

    @override
    def quicken(self, patch: pytest.MonkeyPatch) -> None:
        import pkcs11 as library

        patch.setattr(pkcs11, "MAX_WRONG_PINS", 1 << 30)  # SoftHSM counts none
        for name, value in self.environment.items():
            patch.setenv(name, value)
        # one library serves every lab of this process, and reads its configuration only when
        # it begins: without this it would stay with the token of the lab that was first
        library.lib(MODULE).reinitialize()
        for label in (KEY, OTHER):
            self.root(self.of(label, create=True)).check()

    @override
    def root(self, settings: RootSettings | None = None) -> RootProvider:
        return pkcs11.build(settings or self.settings, SystemClock())

    def operate(self, work: Callable[[Any], None], pin: str = PIN) -> None:
        """What an administrator does at the token."""
        import pkcs11 as library

        token = library.lib(MODULE).get_token(token_label=TOKEN)
        with token.open(rw=True, user_pin=pin) as session:
            work(session)

    @override
    def break_it(self, fault: Fault, undo: ExitStack) -> None:
        tokens, away = self.folder / "tokens", self.folder / "away"
        match fault:
            case Fault.UNREACHABLE:
                tokens.rename(away)
                undo.callback(away.rename, tokens)
            case Fault.EXPIRED:
                self.operate(lambda session: session.set_pin(PIN, WRONG))
                undo.callback(self.operate, lambda session: session.set_pin(WRONG, PIN), WRONG)
            case Fault.MISSING:
                self.operate(_renaming(KEY, "renamed"))
                undo.callback(self.operate, _renaming("renamed", KEY))
            case Fault.DISABLED:
                self.operate(lambda session: _allow(session, False))
                undo.callback(self.operate, lambda session: _allow(session, True))
            case _:
                raise AssertionError(fault)


def _renaming(old: str, new: str) -> Callable[[Any], None]:
    from pkcs11 import Attribute

    def work(session: Any) -> None:
        session.get_key(label=old)[Attribute.LABEL] = new

    return work


def _allow(session: Any, allowed: bool) -> None:
    from pkcs11 import Attribute

    key = session.get_key(label=KEY)
    key[Attribute.ENCRYPT] = key[Attribute.DECRYPT] = allowed


@contextmanager
def start(folder: Path) -> Iterator[Pkcs11Lab]:
    """A token in a folder."""
    (folder / "tokens").mkdir()
    configuration = folder / "softhsm2.conf"
    configuration.write_text(f"directories.tokendir = {folder / 'tokens'}\nlog.level = ERROR\n")
    pins = ["--so-pin", SO_PIN, "--pin", PIN]
    subprocess.run(
        ["softhsm2-util", "--init-token", "--free", "--label", TOKEN, *pins],
        env={"SOFTHSM2_CONF": str(configuration), "PATH": "/usr/bin:/bin"},
        check=True,
        capture_output=True,
        timeout=30,
    )
    yield Pkcs11Lab(folder)
