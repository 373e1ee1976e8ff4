"""Roots that lie: each stands before an honest one, and changes what it says of wraps that are new."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from strongroom.crypto import rng
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import IntegrityError, RootRefusedError, RootUnavailableError
from strongroom.kms.next_store import RootSet
from strongroom.kms.store import KmsStore
from strongroom.node.opening import Node
from strongroom.roots.base import Context, RootDescription, RootProvider, WrapRecord
from strongroom.roots.settings import RootSettings
from strongroom.services.keys.keeper import StoreKeeper
from strongroom.services.keys.providers import Providers

Lie = Callable[[SecretBytes], SecretBytes]


def _another(_: SecretBytes) -> SecretBytes:
    return rng.new_key()


def _one_bit(key: SecretBytes) -> SecretBytes:
    data = bytearray(key.reveal())
    data[-1] ^= 1
    return SecretBytes(bytes(data))


def _short(key: SecretBytes) -> SecretBytes:
    return SecretBytes(key.reveal()[:-1])


def _damaged(_: SecretBytes) -> SecretBytes:
    raise IntegrityError


def _refused(_: SecretBytes) -> SecretBytes:
    raise RootRefusedError("the root refuses")


def _unavailable(_: SecretBytes) -> SecretBytes:
    raise RootUnavailableError("the root does not answer")


#: What a root may do instead of giving the key that it wrapped.
LIES: dict[str, Lie] = {
    "another key": _another,
    "one bit": _one_bit,
    "too short": _short,
    "does not open": _damaged,
    "refuses": _refused,
    "no answer": _unavailable,
}


@dataclass
class LyingRoots:
    """Implements `services.keys.providers.Providers`.

    Attributes:
        honest: Who knows the roots.
        known: RMKs of which the truth is told: those that were there before.
        lie: What becomes of the others.
        honest_calls: How often the truth is told of the others first.
    """

    honest: Providers
    known: Sequence[str]
    lie: Lie = _another
    honest_calls: int = 0
    asked: list[str] = field(default_factory=list)

    def all_for(self, store: KmsStore, mode: str, key_id: str | None = None) -> RootSet:
        return self.honest.all_for(store, mode, key_id)

    def find(self, wrap: WrapRecord) -> RootProvider:
        return LyingRoot(self.honest.find(wrap), self)

    def build(self, settings: RootSettings) -> RootProvider:
        return LyingRoot(self.honest.build(settings), self)


@dataclass
class LyingRoot:
    """A root that says of new wraps what `LyingRoots` makes it say."""

    honest: RootProvider
    roots: LyingRoots

    def generate_data_key(self, context: Context) -> tuple[SecretBytes, WrapRecord]:
        return self.honest.generate_data_key(context)

    def wrap(self, key: SecretBytes, context: Context) -> WrapRecord:
        return self.honest.wrap(key, context)

    def unwrap(self, record: WrapRecord) -> SecretBytes:
        key = self.honest.unwrap(record)
        if record.context["rmk"] in self.roots.known:
            return key
        self.roots.asked.append(record.id)
        return key if len(self.roots.asked) <= self.roots.honest_calls else self.roots.lie(key)

    def describe(self) -> RootDescription:
        return self.honest.describe()

    def check(self) -> None:
        self.honest.check()


def lie_about_new_wraps(node: Node, lie: Lie, honest_calls: int = 0) -> LyingRoots:
    """From now on the node proves new stores by roots that lie; only before its services are used."""
    known = [node.kms_store.current()[0].rmk_id]
    roots = LyingRoots(node.kms_store.providers, known, lie, honest_calls)
    node.__dict__["kms_store"] = StoreKeeper(
        node.configuration, node.kms_cache, roots, node._kms_ports
    )
    for name in ("meks", "modes", "roots", "regenerate"):
        assert hasattr(Node, name), name
        node.__dict__.pop(name, None)
    return roots
