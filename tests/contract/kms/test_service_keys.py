"""Service keys through every change of keys: rotation, other roots, a regeneration, a recovery, and a root that refuses.

docs/format/service-keys.md 3, 4.5.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from strongroom.crypto.age import Identity
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import RootRefusedError, StrongroomError
from strongroom.node.opening import Node
from strongroom.service_keys.model import KeyKind
from strongroom.services.service_keys.by import By
from strongroom.services.service_keys.keys import own
from strongroom.services.service_keys.mounts import BUILT_IN
from strongroom.services.service_keys.secrets import SecretAt
from strongroom.services.service_keys.use import ToDecrypt, ToEncrypt
from tests.contract.kms.recovery_lab import ACTOR, BAO, HERE, add, elsewhere, quiet, service
from tests.support.memory_root import Outside

if TYPE_CHECKING:
    from collections.abc import Callable

BY = By("os:tester")
KEY = own("orders")
SECRET = SecretAt(next(one for one in BUILT_IN if one.path == "secret"), "app/db")


def encrypted(node: Node) -> str:
    (made,) = node.service_key_use.encrypt(BY, KEY, [ToEncrypt(SecretBytes(b"a value"))])
    return made.text


def check(node: Node, texts: list[str]) -> None:
    """Every value opens, the secret is there, and a new value opens as well."""
    texts.append(encrypted(node))
    found = node.service_key_use.decrypt(BY, KEY, [ToDecrypt(text) for text in texts])
    assert [one.plain for one in found] == [SecretBytes(b"a value")] * len(texts)
    assert node.service_secrets.read(BY, SECRET).data == {"password": "x"}


def prepared(node: Node) -> list[str]:
    node.service_keys.create(BY, KEY, KeyKind.AES256_GCM)
    node.service_secrets.write(BY, SECRET, {"password": "x"})
    return [encrypted(node)]


def test_every_change_of_keys_leaves_service_keys_as_they_are(
    node: Node, outside: Outside, identity: Identity, tmp_path: Path
) -> None:
    texts = prepared(node)
    add(node, identity)
    steps: list[Callable[[], object]] = [
        lambda: node.meks.rotate(ACTOR),
        lambda: node.modes.set_mode(BAO, ACTOR),
        lambda: node.service_keys.rotate(BY, KEY),
        lambda: node.regenerate.run(ACTOR, quiet),
        lambda: node.service_keys.reseal(BY),
        lambda: node.modes.set_mode(None, ACTOR),
    ]
    for step in steps:
        step()
        check(node, texts)
    file = node.envelope_keys.new_envelope(HERE)
    with elsewhere(node, tmp_path, keystore=False) as again:
        service(again).recover((identity,), ACTOR, quiet)
        assert file is not None
        check(again, texts)


def test_a_root_that_refuses_ends_service_keys_that_were_opened(
    node: Node, outside: Outside
) -> None:
    """What is in memory is of no use once the KMS store does not open (ADR 51)."""
    texts = prepared(node)
    node.modes.set_mode(BAO, ACTOR)
    check(node, texts)
    outside.failure = RootRefusedError("denied")
    node.kms_cache.forget()
    with pytest.raises(StrongroomError):
        node.service_key_use.decrypt(BY, KEY, [ToDecrypt(texts[0])])
    with node.service_rows.one_look(), pytest.raises(StrongroomError):
        node.service_key_use.decrypt(BY, KEY, [ToDecrypt(texts[0])])
    outside.failure = None
    node.kms_cache.forget()
