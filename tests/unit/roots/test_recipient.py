"""Roots that only wrap: an age recipient and a kit of shares (docs/format/recovery.md)."""

from dataclasses import replace

import pytest

from strongroom.clock import SystemClock
from strongroom.crypto import age, rng
from strongroom.crypto.age import Identity
from strongroom.errors import (
    IntegrityError,
    RootError,
    RootRefusedError,
    StateError,
    UsageError,
)
from strongroom.ids import new_id
from strongroom.roots import recipient
from strongroom.roots.base import NEVER, Context
from strongroom.roots.recipient import RecipientRoot

CLOCK = SystemClock()


def _root(identity: Identity, *brought: Identity) -> RecipientRoot:
    return RecipientRoot(recipient.settings(identity.recipient), CLOCK, brought)


def _context() -> Context:
    return Context(new_id(), new_id(), new_id())


def test_it_wraps_without_its_identity_and_opens_with_it() -> None:
    identity, key, context = age.new_identity(), rng.new_key(), _context()
    record = _root(identity).wrap(key, context)
    assert (record.kind, record.form, record.root_key_id) == ("age", "direct", identity.recipient)
    assert record.last_verified == NEVER
    assert key.reveal() not in record.blob
    assert recipient.settings(identity.recipient).opens(record)
    other = age.new_identity()
    assert _root(identity, other, identity).unwrap(record) == key


def test_it_is_offline_and_says_how_it_opens() -> None:
    identity = age.new_identity()
    root = _root(identity)
    root.check()
    assert not root.describe().online
    with pytest.raises(RootError, match="kept apart") as caught:
        root.unwrap(root.wrap(rng.new_key(), _context()))
    assert "strongroom recover" in caught.value.hint
    opening = _root(identity, identity)
    opening.check()
    assert opening.describe().online


def test_it_makes_no_data_key() -> None:
    """Q-19: only the mode's root gives an RMK."""
    with pytest.raises(StateError, match="only wraps"):
        _root(age.new_identity()).generate_data_key(_context())


@pytest.mark.parametrize("name", ["installation", "rmk", "wrap"])
def test_a_wrap_moved_to_another_context_does_not_open(name: str) -> None:
    """docs/format/recovery.md 1.2: age binds nothing by itself."""
    identity = age.new_identity()
    root = _root(identity, identity)
    record = root.wrap(rng.new_key(), _context())
    with pytest.raises(IntegrityError):
        root.unwrap(replace(record, context={**record.context, name: new_id()}))
    with pytest.raises(IntegrityError):
        root.unwrap(replace(record, context={}))


def test_damage_and_foreign_identities_are_refused() -> None:
    identity = age.new_identity()
    root = _root(identity, identity)
    record = root.wrap(rng.new_key(), _context())
    for blob in (record.blob[:-1], b"", record.blob[:-1] + bytes([record.blob[-1] ^ 1])):
        with pytest.raises(IntegrityError):
            root.unwrap(replace(record, blob=blob))
    with pytest.raises(RootRefusedError, match="whose identity was not given"):
        _root(identity, age.new_identity()).unwrap(record)


def test_a_root_that_gives_back_another_key_is_found() -> None:
    identity = age.new_identity()
    root = _root(identity, identity)
    record = root.wrap(rng.new_key(), _context())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RecipientRoot, "wrap", lambda *_: record)
        with pytest.raises(RootError, match="another key"):
            root.check()


def test_settings_of_a_kit_have_its_numbers_and_no_secret() -> None:
    one = age.new_identity().recipient
    kit = recipient.settings(one.upper(), label="the board", kit=("50b8", 2, 3))
    assert (kit.kind, kit.root_key_id, kit.secrets) == ("shares", one, {})
    assert kit.options == {"label": "the board", "set": "50b8", "threshold": "2", "count": "3"}
    assert recipient.build(kit, CLOCK).describe().details == kit.options
    wrap = recipient.build(kit, CLOCK).wrap(rng.new_key(), _context())
    assert recipient.of_wrap(wrap).opens(wrap)


@pytest.mark.parametrize(("who", "label"), [("age1x", ""), ("", "x" * 129), ("", "a\nb")])
def test_settings_are_checked(who: str, label: str) -> None:
    with pytest.raises(UsageError):
        recipient.settings(who or age.new_identity().recipient, label=label)
