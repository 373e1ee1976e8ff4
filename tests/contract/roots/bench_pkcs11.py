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
from tests.contract.roots.harness import RootBench, Told
from tests.fault_server import Fault

MODULE = "/usr/lib/softhsm/libsofthsm2.so"
TOKEN, KEY, OTHER = "strongroom node", "rmk-root", "another"
PIN, WRONG, SO_PIN = "5678-of-the-test", "8765-of-nobody", "1234-of-the-officer"


class Pkcs11Bench(RootBench):
    """A token with two keys, made as `--create-key` makes them."""

    faults = frozenset({Fault.UNREACHABLE, Fault.EXPIRED, Fault.MISSING, Fault.DISABLED})
    told: ClassVar[Told] = {
        Fault.UNREACHABLE: ("token",),
        Fault.EXPIRED: ("PIN", TOKEN),
        Fault.MISSING: ("no such key", "--create-key"),
        Fault.DISABLED: ("CKA_DECRYPT",),
    }

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._settings, self._foreign = (self.of(label, create=False) for label in (KEY, OTHER))

    def of(self, label: str, *, create: bool, pin: str = PIN) -> RootSettings:
        """Settings of a key."""
        return pkcs11.settings(MODULE, TOKEN, label, pin=SecretBytes(pin.encode()), create=create)

    @property
    @override
    def settings(self) -> RootSettings:
        return self._settings

    @property
    @override
    def foreign_settings(self) -> RootSettings:
        return self._foreign

    @property
    @override
    def environment(self) -> Mapping[str, str]:
        return {"SOFTHSM2_CONF": str(self.folder / "softhsm2.conf")}

    @override
    def quicken(self, patch: pytest.MonkeyPatch) -> None:
        patch.setattr(pkcs11, "MAX_WRONG_PINS", 1 << 30)  # SoftHSM counts none
        # the first test makes the keys: the library reads its configuration when it is loaded
        for label in (KEY, OTHER):
            self.root(self.of(label, create=True)).check()

    @override
    def root(self, settings: RootSettings | None = None) -> RootProvider:
        return pkcs11.build(settings or self._settings, SystemClock())

    def operate(self, work: Callable[[Any], None], pin: str = PIN) -> None:
        """What an administrator does at the token."""
        import pkcs11 as library

        token = library.lib(MODULE).get_token(token_label=TOKEN)
        with token.open(rw=True, user_pin=pin) as session:
            work(session)

    @contextmanager
    @override
    def broken(self, fault: Fault) -> Iterator[None]:
        from pkcs11 import Attribute

        tokens, away = self.folder / "tokens", self.folder / "away"

        def name(old: str, new: str) -> None:
            def work(session: Any) -> None:
                session.get_key(label=old)[Attribute.LABEL] = new

            self.operate(work)

        def allow(session: Any, allowed: bool = True) -> None:
            key = session.get_key(label=KEY)
            key[Attribute.ENCRYPT] = key[Attribute.DECRYPT] = allowed

        with ExitStack() as undo:
            match fault:
                case Fault.UNREACHABLE:
                    tokens.rename(away)
                    undo.callback(away.rename, tokens)
                case Fault.EXPIRED:
                    self.operate(lambda session: session.set_pin(PIN, WRONG))
                    undo.callback(self.operate, lambda session: session.set_pin(WRONG, PIN), WRONG)
                case Fault.MISSING:
                    name(KEY, "renamed")
                    undo.callback(name, "renamed", KEY)
                case Fault.DISABLED:
                    self.operate(lambda session: allow(session, False))
                    undo.callback(self.operate, allow)
                case _:
                    raise AssertionError(fault)
            yield


@contextmanager
def start(folder: Path) -> Iterator[Pkcs11Bench]:
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
    yield Pkcs11Bench(folder)
