"""A key that leaves with all its versions and comes back: only where its owner allowed that, and whole (service-keys.md 6)."""

import base64
import json
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from strongroom.clock import FixedClock
from strongroom.crypto import service_algorithms as algorithms
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import ConflictError, NotFoundError, StateError, UsageError
from strongroom.node.opening import Node
from strongroom.service_keys.model import KeyKind
from strongroom.services.service_keys.by import By
from strongroom.services.service_keys.keys import Settings, own
from strongroom.services.service_keys.mounts import OWN_TRANSIT
from strongroom.services.service_keys.use import ToDecrypt, ToEncrypt, ToSign

if TYPE_CHECKING:
    from strongroom.eventlog.base import Event

BY = By("os:tester")
KEY = own("orders")
PLAIN = b"a value"


def allowed(node: Node, kind: KeyKind = KeyKind.AES256_GCM, versions: int = 2) -> None:
    """The key, with some versions, whose plaintext may be backed up."""
    node.service_keys.create(BY, KEY, kind, exportable=True, backup_allowed=True)
    for _ in range(versions - 1):
        node.service_keys.rotate(BY, KEY)


def removed(node: Node) -> None:
    """The key is gone."""
    node.service_keys.configure(BY, KEY, Settings(deletion_allowed=True))
    node.service_keys.delete(BY, KEY)


def encrypted(node: Node) -> str:
    return node.service_key_use.encrypt(BY, KEY, [ToEncrypt(SecretBytes(PLAIN))])[0].text


def opened(node: Node, text: str, name: str = KEY.name) -> bytes:
    (found,) = node.service_key_use.decrypt(BY, own(name), [ToDecrypt(text)])
    assert found.plain is not None
    return found.plain.reveal()


def changed(backup: SecretBytes, change: Callable[[dict[str, Any]], object]) -> SecretBytes:
    """A backup with something else in it."""
    members = json.loads(base64.b64decode(backup.reveal()))
    change(members)
    return SecretBytes(base64.b64encode(json.dumps(members).encode()))


def test_a_key_that_was_removed_comes_back_with_all_that_it_could(node: Node) -> None:
    allowed(node)
    node.service_keys.configure(BY, KEY, Settings(to_encrypt=1))
    texts = [encrypted(node)]
    before = node.service_keys.show(KEY)
    backup = node.service_key_backups.back_up(BY, KEY)
    removed(node)
    restored = node.service_key_backups.restore(BY, OWN_TRANSIT, backup)
    assert not restored.is_copy
    assert [opened(node, text) for text in texts] == [PLAIN]
    after = node.service_keys.show(KEY)
    assert after.key.id == before.key.id
    assert [one.created_at for one in after.versions] == [one.created_at for one in before.versions]
    assert (after.key.latest, after.key.to_encrypt) == (2, 1)
    again = node.service_key_backups.back_up(BY, KEY)
    assert again.reveal() == backup.reveal()


@pytest.mark.parametrize("kind", list(KeyKind))
def test_every_kind_of_key_makes_and_knows_the_same_afterwards(node: Node, kind: KeyKind) -> None:
    allowed(node, kind)
    use, item = node.service_key_use, ToSign(b"message", "sha2-256", prehashed=False)
    make, know = (use.sign, use.verify) if kind.signs else (use.hmac, use.verify_hmac)
    (made,) = make(BY, KEY, [item])
    backup = node.service_key_backups.back_up(BY, KEY)
    removed(node)
    node.service_key_backups.restore(BY, OWN_TRANSIT, backup)
    (known,) = know(BY, KEY, [item._replace(made=made.text)])
    assert known.valid


def test_a_copy_beside_its_original_is_a_key_of_its_own(node: Node) -> None:
    allowed(node)
    text = encrypted(node)
    backup = node.service_key_backups.back_up(BY, KEY)
    copy = node.service_key_backups.restore(BY, OWN_TRANSIT, backup, "copy")
    assert copy.is_copy
    assert copy.key.id != node.service_keys.show(KEY).key.id
    with pytest.raises(Exception, match="authentic"):
        opened(node, text, "copy")


def test_nothing_leaves_that_the_owner_did_not_allow_twice(node: Node) -> None:
    node.service_keys.create(BY, KEY, KeyKind.AES256_GCM)
    for wanted, words in (
        (Settings(), "exporting is disallowed"),
        (Settings(exportable=True), "plaintext backup is disallowed"),
    ):
        node.service_keys.configure(BY, KEY, wanted)
        with pytest.raises(UsageError, match=words):
            node.service_key_backups.back_up(BY, KEY)
    node.service_keys.configure(BY, KEY, Settings(backup_allowed=True))
    node.service_keys.set_enabled(BY, KEY, enabled=False)
    with pytest.raises(StateError):
        node.service_key_backups.back_up(BY, KEY)
    with pytest.raises(NotFoundError):
        node.service_key_backups.back_up(BY, own("none"))


def test_a_key_in_use_is_replaced_only_by_what_has_all_of_it(node: Node) -> None:
    allowed(node)
    backups = node.service_key_backups
    backup = backups.back_up(BY, KEY)
    with pytest.raises(ConflictError, match="already exists"):
        backups.restore(BY, OWN_TRANSIT, backup)
    backups.restore(BY, OWN_TRANSIT, backup, force=True)
    node.service_keys.set_enabled(BY, KEY, enabled=False)
    with pytest.raises(StateError, match="disabled"):  # whoever may restore may not enable
        backups.restore(BY, OWN_TRANSIT, backup, force=True)
    node.service_keys.set_enabled(BY, KEY, enabled=True)
    node.service_keys.rotate(BY, KEY)
    newest = encrypted(node)
    with pytest.raises(ConflictError, match="has versions that the backup has not"):
        backups.restore(BY, OWN_TRANSIT, backup, force=True)
    assert opened(node, newest) == PLAIN
    node.service_keys.configure(BY, KEY, Settings(deletion_allowed=True))
    assert backups.restore(BY, OWN_TRANSIT, backup, force=True).key.latest == 2


def test_a_key_whose_days_are_over_leaves_its_certificate_to_whoever_takes_its_place(
    node: Node,
) -> None:
    """service-keys.md 2.5: a row is never removed in silence."""
    clock = FixedClock(node.clock.now())
    node.clock = clock
    allowed(node)
    text = encrypted(node)
    backup = node.service_key_backups.back_up(BY, KEY)
    node.service_keys.schedule_deletion(BY, KEY, 7)
    with pytest.raises(StateError):
        node.service_key_backups.restore(BY, OWN_TRANSIT, backup, force=True)
    clock.moment += timedelta(days=8)
    found: list[Event] = []
    by = By("os:tester", "", found.append, found.append)
    node.service_key_backups.restore(by, OWN_TRANSIT, backup)
    assert [event.id for event in found] == ["SERVICE_KEY_DESTROYED", "SERVICE_KEY_CHANGED"]
    assert opened(node, text) == PLAIN


def test_each_is_one_event_without_a_word_of_the_key(node: Node) -> None:
    allowed(node)
    found: list[Event] = []
    by = By("service:program", "accessor", found.append, found.append)
    backup = node.service_key_backups.back_up(by, KEY)
    node.service_key_backups.restore(by, OWN_TRANSIT, backup, "copy")
    assert [event.details["operation"] for event in found] == ["back up", "restore"]
    material = json.loads(base64.b64decode(backup.reveal()))["versions"]["1"]["material"]
    assert material not in repr(found)
    assert material not in repr(backup)


def other_curve() -> str:
    """A key on another curve."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    made = ec.generate_private_key(ec.SECP384R1()).private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return base64.b64encode(made).decode()


SHORT = base64.b64encode(bytes(31)).decode()
P256 = base64.b64encode(algorithms.new_p256().reveal()).decode()
DAMAGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "format": lambda it: it.update(format="strongroom-service-key/2"),
    "more": lambda it: it.update(more=1),
    "less": lambda it: it.pop("kind"),
    "kind": lambda it: it.update(kind="rsa"),
    "kind of another material": lambda it: it.update(kind="ecdsa-p256"),
    "id": lambda it: it.update(id="1"),
    "time": lambda it: it.update(created_at="yesterday"),
    "truth": lambda it: it.update(deletion_allowed=1),
    "number": lambda it: it.update(latest=True),
    "missing version": lambda it: it["versions"].pop("1"),
    "further version": lambda it: it["versions"].update({"3": it["versions"]["2"]}),
    "no version": lambda it: it["versions"].update({"x": it["versions"]["2"]}),
    "many versions": lambda it: it.update(latest=10**9),
    "minimum to decrypt": lambda it: it.update(to_decrypt=3),
    "minimum to encrypt": lambda it: it.update(to_encrypt=3),
    "available": lambda it: it.update(available=0),
    "time of a version": lambda it: it["versions"]["1"].update(created_at="never"),
    "no time of a version": lambda it: it["versions"]["1"].update(created_at=1),
    "short material": lambda it: it["versions"]["1"].update(material=SHORT),
    "no base64": lambda it: it["versions"]["1"].update(material="?"),
    "material of another kind": lambda it: it["versions"]["1"].update(material=P256),
    "no object": lambda it: it.update(versions=[]),
}


@pytest.fixture(scope="module")
def sound() -> SecretBytes:
    """A backup with nothing wrong in it."""
    from strongroom.service_keys.key_backup import Kept, KeyBackup, render
    from strongroom.service_keys.model import Versions

    now = "2026-11-30T12:00:00Z"
    kept = {number: Kept(SecretBytes(bytes([number]) * 32), now) for number in (1, 2)}
    key_id = "2ad5f34e-c97c-478b-9c0a-9ef2febc5117"
    aes = KeyKind.AES256_GCM
    return render(KeyBackup(key_id, "orders", aes, now, False, Versions(latest=2), kept))


def test_what_is_no_backup_is_refused_without_a_word_of_it(node: Node, sound: SecretBytes) -> None:
    texts = {name: changed(sound, damage) for name, damage in DAMAGES.items()}
    texts |= {str(one): SecretBytes(one) for one in (b"", b"?", b"bnVsbA==", b"W10=", b"/w==")}
    said = {}
    for name, text in texts.items():
        with pytest.raises(UsageError) as caught:
            node.service_key_backups.restore(BY, OWN_TRANSIT, text)
        said[name] = caught.value.message
    assert said == dict.fromkeys(texts, "the backup is none of a key, or is damaged")
    assert node.service_keys.all() == []
    node.service_key_backups.restore(BY, OWN_TRANSIT, sound)


def test_a_key_on_another_curve_is_none_of_the_kind(node: Node, sound: SecretBytes) -> None:
    def to_curve(it: dict[str, Any]) -> None:
        it["kind"] = "ecdsa-p256"
        for one in it["versions"].values():
            one["material"] = other_curve()

    with pytest.raises(UsageError, match="none of a key"):
        node.service_key_backups.restore(BY, OWN_TRANSIT, changed(sound, to_curve))


def test_a_name_that_cannot_be_is_refused(node: Node, sound: SecretBytes) -> None:
    with pytest.raises(UsageError, match="no name"):
        node.service_key_backups.restore(BY, OWN_TRANSIT, sound, "a/b")
