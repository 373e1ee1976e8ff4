"""What holds a secret, or what a secret can be guessed by, does not show it when it is printed (findings S17).

Every dataclass and named tuple of the product is looked at: one printed in a traceback or a log line shows all its fields.
"""

import dataclasses
import importlib
import pkgutil
import re
from collections.abc import Iterator

import pytest

import strongroom

_NAMES = re.compile(
    r"(^|_)(pass(word|phrase)|secret|secret_hash|password_hash|token_hash|token|sealed|pem|pin)$"
)
_TYPES = re.compile(r"\b(str|bytes|bytearray|memoryview)\b")
# what is named so and is no secret
ALLOWED = {
    ("strongroom.backup.keys", "WrappedKeys", "sealed"): "an age file, made to be kept anywhere",
    ("strongroom.backup.manifest", "Manifest", "sealed"): "names of entries",
    ("strongroom.envelope.reader", "_Scratch", "sealed"): "a view of ciphertext",
    ("strongroom.envelope.writer", "_Unit", "sealed"): "a view of ciphertext",
    ("strongroom.kms.staged", "StagedStore", "sealed"): "a seal, as it lies in ZooKeeper",
    ("strongroom.services.secrets.inventory", "OwnPlaces", "password"): "a path",
    ("strongroom.services.nodes.admit", "BootstrapRequest", "sealed"): "yes or no",
    ("strongroom.config.views", "ListedKey", "secret"): "yes or no",
}


def _classes() -> Iterator[type]:
    for module in pkgutil.walk_packages(strongroom.__path__, "strongroom."):
        # keyring is in an environment of its own
        if not module.name.endswith(("__main__", ".keyring_backend")):
            for kind in vars(importlib.import_module(module.name)).values():
                if isinstance(kind, type) and kind.__module__ == module.name:
                    yield kind


def _members(kind: type) -> Iterator[tuple[str, object, bool]]:
    """Name and type of each field, and whether printing shows it."""
    if dataclasses.is_dataclass(kind):
        for one in dataclasses.fields(kind):
            yield one.name, one.type, one.repr
    elif isinstance(names := getattr(kind, "_fields", None), tuple):
        for name in names:
            yield name, kind.__annotations__.get(name), True


def _fields() -> Iterator[tuple[str, str, str, bool]]:
    """Module, class, field with a telling name, and whether printing shows it."""
    for kind in _classes():
        for name, of_type, is_shown in _members(kind):
            if _NAMES.search(name) and _TYPES.search(_words(of_type)):
                yield kind.__module__, kind.__name__, name, is_shown


def _words(kind: object) -> str:
    return kind.__name__ if isinstance(kind, type) else str(kind)


FOUND = list(_fields())


def test_fields_are_found() -> None:
    assert ("strongroom.repository.rows", "UserRow", "password_hash", False) in FOUND
    assert len(FOUND) > 8


@pytest.mark.parametrize("field", FOUND, ids=lambda one: ".".join(map(str, one[1:3])))
def test_no_secret_is_printed(field: tuple[str, str, str, bool]) -> None:
    module, kind, name, is_shown = field
    assert not is_shown or (module, kind, name) in ALLOWED


def test_a_row_of_a_user_does_not_show_its_hash() -> None:
    """findings S17: the argon2 hash, in the repr."""
    from strongroom.repository.rows import UserRow

    row = UserRow("id", "kim", "Kim", "$argon2id$v=19$m=19456", False, "2026-11-21T12:00:00Z")
    assert "argon2" not in f"{row!r} {row} {[row]}"
