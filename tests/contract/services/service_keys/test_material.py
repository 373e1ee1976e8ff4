"""Service keys and secrets in rows: sealed in their place, counted as uses of MEKs, in backups (service-keys.md 1, 3)."""

from datetime import timedelta
from pathlib import Path

import pytest

from strongroom.clock import FixedClock
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import (
    AuthenticationError,
    IntegrityError,
    NotFoundError,
    StateError,
    UsageError,
)
from strongroom.node.opening import Node
from strongroom.service_keys.model import KeyKind
from strongroom.services.service_keys.by import By
from strongroom.services.service_keys.keys import Settings, own
from strongroom.services.service_keys.mounts import BUILT_IN
from strongroom.services.service_keys.roles import OWN
from strongroom.services.service_keys.secrets import SecretAt
from strongroom.services.service_keys.tokens import Wanted
from strongroom.services.service_keys.use import ToDecrypt, ToEncrypt, ToSign
from tests.support import backups

BY = By("os:tester")
KV = next(mount for mount in BUILT_IN if mount.path == "secret")
DB = SecretAt(KV, "app/db")
KEY = own("orders")


def encrypted(node: Node, plain: bytes = b"a value") -> str:
    (made,) = node.service_key_use.encrypt(BY, KEY, [ToEncrypt(SecretBytes(plain))])
    return made.text


def decrypted(node: Node, text: str) -> bytes:
    (found,) = node.service_key_use.decrypt(BY, KEY, [ToDecrypt(text)])
    assert found.plain is not None
    return found.plain.reveal()


def test_a_mek_that_seals_keys_or_secrets_is_not_retired_until_they_are_resealed(
    node: Node,
) -> None:
    """K-11, P6."""
    node.service_keys.create(BY, KEY, KeyKind.AES256_GCM)
    node.service_secrets.write(BY, DB, {"password": "x"})
    text = encrypted(node)
    old = node.data_keys.active_id
    node.meks.rotate("os:tester")
    use = node.meks.usage().by_mek[old]
    assert (use.extracts, use.services) == (0, 2)
    with pytest.raises(StateError, match="2 versions of service keys and secrets"):
        node.meks.retire(old, "os:tester")
    assert node.service_keys.reseal(By.local("os:tester", node.events)) == (1, 1)
    node.meks.retire(old, "os:tester")
    assert decrypted(node, text) == b"a value"
    assert node.service_secrets.read(BY, DB).data == {"password": "x"}
    assert node.service_keys.reseal(BY) == (0, 0)


def test_a_row_opens_in_its_place_only(node: Node) -> None:
    """Whoever writes rows and has no key cannot exchange them (service-keys.md 3.1, 3.2)."""
    for name in ("orders", "other"):
        node.service_keys.create(BY, own(name), KeyKind.AES256_GCM)
    node.service_keys.create(BY, own("mac"), KeyKind.HMAC)
    for path in ("app/db", "app/other"):
        node.service_secrets.write(BY, SecretAt(KV, path), {"path": path})
    text = encrypted(node)
    with node.repository.transaction() as tx:
        versions = tx.service_keys.versions
        ids = {row.name: row.id for row in tx.service_keys.list(KEY.mount.id)}
        other = versions.find_version(ids["other"], 1)
        assert other is not None
        present = versions.find_version(ids["orders"], 1)
        assert present is not None
        tx.service_material.change_key(present, other.mek_id, other.sealed)
        value = tx.service_secrets.values.find_version(KV.id, "app/other", 1)
        mine = tx.service_secrets.values.find_version(KV.id, "app/db", 1)
        assert value is not None
        assert mine is not None
        tx.service_secrets.values.change(mine, sealed=value.sealed)
        tx.service_keys.update(ids["mac"], kind=KeyKind.AES256_GCM.value)
    with pytest.raises(IntegrityError):
        decrypted(node, text)
    with pytest.raises(IntegrityError):
        node.service_secrets.read(BY, DB)
    with pytest.raises(IntegrityError):
        node.service_key_use.encrypt(BY, own("mac"), [ToEncrypt(SecretBytes(b"x"))])


def test_a_backup_brings_keys_and_secrets_and_no_token_back(node: Node, tmp_path: Path) -> None:
    """A-24 to A-26; a secret id that was ended since stays so (1.1)."""
    node.service_keys.create(BY, KEY, KeyKind.AES256_GCM)
    text = encrypted(node)
    node.service_secrets.write(BY, DB, {"password": "x"})
    made = node.service_tokens.create(BY, Wanted(policies=["root"]))
    name = f"{OWN}/web"
    node.service_roles.write(BY, name, {"token_policies": ["app"]})
    kept, ended = (node.service_roles.make_secret_id(BY, name, metadata={}) for _ in range(2))
    archive = tmp_path / "backup.tsbak"
    backups.make(node, archive)
    node.service_roles.destroy_secret_id(BY, name, accessor=ended.row.id)
    node.service_secrets.write(BY, DB, {"password": "later"})
    node.service_keys.configure(BY, KEY, Settings(deletion_allowed=True))
    node.service_keys.delete(BY, KEY)
    node.meks.rotate("os:tester")
    backups.restore(node, archive)
    assert decrypted(node, text) == b"a value"
    assert node.service_secrets.read(BY, DB).data == {"password": "x"}
    with pytest.raises(AuthenticationError):
        node.service_tokens.admit(made.secret)
    role_id = node.service_roles.read(BY, name).role_id
    node.service_roles.login(BY, OWN, role_id, kept.secret, peer="127.0.0.1")
    with pytest.raises(AuthenticationError):
        node.service_roles.login(BY, OWN, role_id, ended.secret, peer="127.0.0.1")


def test_states_and_minima_decide_what_a_version_may_do(node: Node) -> None:
    """service-keys.md 2.4, 2.5."""
    node.service_keys.create(BY, KEY, KeyKind.AES256_GCM)
    first = encrypted(node)
    for _ in range(2):
        node.service_keys.rotate(BY, KEY)
    assert encrypted(node).startswith("vault:v3:")
    node.service_keys.configure(BY, KEY, Settings(to_decrypt=2, to_encrypt=2))
    with pytest.raises(UsageError, match="too old"):
        decrypted(node, first)
    with pytest.raises(UsageError):
        node.service_key_use.encrypt(BY, KEY, [ToEncrypt(SecretBytes(b"x"), version=1)])
    node.service_keys.trim(BY, KEY, 2)
    with pytest.raises(UsageError):
        node.service_keys.configure(BY, KEY, Settings(to_decrypt=1))
    with pytest.raises(UsageError, match="exportable"):
        node.service_key_use.export(BY, KEY, "encryption-key", "")
    node.service_keys.configure(BY, KEY, Settings(exportable=True))
    assert sorted(node.service_key_use.export(BY, KEY, "encryption-key", "").versions) == [2, 3]
    with pytest.raises(UsageError, match="otherwise"):
        node.service_keys.configure(BY, KEY, Settings(exportable=False))
    with pytest.raises(UsageError, match="not allowed"):
        node.service_keys.delete(BY, KEY)
    with pytest.raises(UsageError, match="signing"):
        node.service_key_use.sign(BY, KEY, [ToSign(b"x")])
    node.service_keys.set_enabled(BY, KEY, enabled=False)
    for use in (encrypted, lambda one: node.service_keys.rotate(BY, KEY)):
        with pytest.raises(StateError, match="disabled"):
            use(node)


def test_a_key_is_gone_when_its_days_are_over_and_not_before(node: Node) -> None:
    """service-keys.md 2.5."""
    clock = FixedClock(node.clock.now())
    node.clock = clock
    node.service_keys.create(BY, KEY, KeyKind.ED25519)
    node.service_keys.schedule_deletion(BY, KEY, 7)
    clock.moment += timedelta(days=6)
    node.service_keys.cancel_deletion(BY, KEY)
    node.service_keys.schedule_deletion(BY, KEY, 7)
    clock.moment += timedelta(days=8)
    with pytest.raises(NotFoundError):
        node.service_keys.cancel_deletion(BY, KEY)
    assert node.service_keys.all() == []
    node.service_keys.create(BY, KEY, KeyKind.HMAC)
    with node.repository.reading() as tx:
        assert len(tx.service_keys.list(KEY.mount.id)) == 1
        assert [
            row.version for row in tx.service_keys.versions.list(node.service_keys.all()[0].id)
        ] == [1]


def test_a_key_whose_days_are_over_leaves_a_certificate_and_no_material(node: Node) -> None:
    """Crypto-shred: the certificate says what is gone, and what still opens copies of it (service-keys.md 2.5)."""
    clock = FixedClock(node.clock.now())
    node.clock = clock
    for name in ("orders", "stays"):
        node.service_keys.create(BY, own(name), KeyKind.AES256_GCM)
    first = node.data_keys.active_id
    node.meks.rotate("os:tester")
    row = node.service_keys.rotate(BY, KEY)
    meks = " ".join(sorted({first, node.data_keys.active_id}))
    due = node.service_keys.schedule_deletion(BY, KEY, 7)
    clock.moment += timedelta(days=7) - timedelta(seconds=1)
    assert node.remove_due_service_keys() == 0
    clock.moment += timedelta(seconds=1)
    assert node.remove_due_service_keys() == 1
    assert node.remove_due_service_keys() == 0
    with node.repository.reading() as tx:
        assert [one.name for one in tx.service_keys.list(KEY.mount.id)] == ["stays"]
        assert tx.service_keys.versions.list(row.id) == []
    (event,) = node.events.history("SERVICE_KEY_DESTROYED")
    wanted = {"key": "orders", "key_id": row.id, "versions": 2, "meks": meks, "due": due}
    assert event["details"] == wanted
    assert node.events.verify().is_changed is False


def test_versions_of_a_secret_are_kept_deleted_taken_back_and_destroyed(node: Node) -> None:
    secrets = node.service_secrets
    for number in range(12):
        secrets.write(BY, DB, {"n": number}, cas=number)
    with pytest.raises(UsageError, match="check-and-set"):
        secrets.write(BY, DB, {"n": 0}, cas=0)
    assert [row.version for row in secrets.details(BY, DB).values] == list(range(3, 13))
    secrets.mark(BY, DB, (), deleted=True)
    assert secrets.read(BY, DB).data is None
    secrets.mark(BY, DB, [12], deleted=False)
    assert secrets.read(BY, DB).data == {"n": 11}
    secrets.patch(BY, DB, {"n": None, "user": {"name": "ann"}})
    assert secrets.read(BY, DB).data == {"user": {"name": "ann"}}
    secrets.destroy(BY, DB, [12])
    assert secrets.read(BY, DB, 12).data is None
    with node.repository.reading() as tx:
        value = tx.service_secrets.values.find_version(KV.id, DB.path, 12)
        assert value is not None
        assert (value.sealed, value.mek_id) == ("", "")
    secrets.remove(BY, DB)
    with pytest.raises(NotFoundError):
        secrets.read(BY, DB)
