"""Continuity of KMS stores: docs/format/kms-store.md 6; issue 10, part D; review X5."""

from dataclasses import replace

import pytest

from strongroom.crypto import rng
from strongroom.errors import FormatError, StateError
from strongroom.kms import links
from strongroom.kms import store as kms_store
from strongroom.kms.links import MAX_LINKS, Continuity, Known, Reason
from tests.support import linked_stores
from tests.support.linked_stores import Chain

KEY = rng.new_key()


def known(made: Chain) -> Known:
    return made.store.known(made.raw)


def judged(present: Chain, before: Chain) -> Continuity:
    return kms_store.parse(present.raw).continuity(known(before), present.raw)


def test_each_store_follows_from_all_before_it() -> None:
    stores = [linked_stores.first(KEY)]
    for number in range(6):
        last = stores[-1]
        stores.append(last.without(last.store.meks[0].id) if number == 3 else last.rotated())
    for at, before in enumerate(stores):
        for later in stores[at + 1 :]:
            assert judged(later, before) is Continuity.FOLLOWS
            assert judged(before, later) is Continuity.BEHIND
        assert judged(before, before) is Continuity.SAME
    assert Continuity.FOLLOWS.is_proved
    assert Continuity.SAME.is_proved


def test_the_review_s_attack_is_noticed() -> None:
    """X5: with the configuration key alone, without the RMK, a store of one's own at the next epoch."""
    genuine = linked_stores.first(KEY).rotated()
    forger = linked_stores.first(KEY, genuine.store.installation_id)
    before = genuine.before._replace(rmk=forger.rmk)
    own = kms_store.succeeding(forger.store, forger.ring, forger.rmk, before)
    assert own.epoch == genuine.store.epoch + 1
    forged = Chain(own, forger.rmk, forger.ring, KEY)
    assert judged(forged, genuine) is Continuity.FORGED
    assert judged(forged.rotated(), genuine) is Continuity.FORGED
    assert not Continuity.FORGED.is_proved


def test_a_store_of_a_stranger_is_not_connected() -> None:
    genuine = linked_stores.first(KEY)
    stranger = linked_stores.first(KEY, genuine.store.installation_id).rotated()
    assert judged(stranger, genuine) is Continuity.UNCONNECTED
    assert judged(linked_stores.first(KEY), genuine) is Continuity.DIFFERENT


def test_a_break_is_open() -> None:
    """6.3: it is red until it is accepted, and so is everything after it for whoever knows what was before."""
    before = linked_stores.first(KEY)
    broken = before.broken(Reason.ABANDONED)
    assert judged(broken, before) is Continuity.BROKEN
    assert judged(broken.rotated(), before) is Continuity.BROKEN
    assert judged(broken.rotated(), broken) is Continuity.FOLLOWS
    assert not Continuity.BROKEN.is_proved


def test_whoever_knows_what_was_before_an_accepted_store_goes_on_from_that() -> None:
    """6.5: else a server that ran through a recovery would be red until it is started anew."""
    before = linked_stores.first(KEY)
    broken = before.broken(Reason.ABANDONED)
    later = broken.rotated()
    assert links.newest(known(before), None) == known(before)
    assert links.newest(known(before), known(broken)) == known(broken)
    assert links.newest(known(later), known(broken)) == known(later)
    since = links.newest(known(before), known(broken))
    assert later.store.continuity(since, later.raw) is Continuity.FOLLOWS


def test_a_break_is_said_exactly_where_the_rmk_is_missing() -> None:
    made = linked_stores.first(KEY)
    draft = replace(made.store, links=())
    for before, reason in (
        (made.before, Reason.ABANDONED),
        (made.before._replace(rmk=None), Reason.CHANGED),
    ):
        with pytest.raises(StateError, match=reason):
            kms_store.succeeding(draft, made.ring, made.rmk, before, reason)


def test_another_mode_is_taken_by_its_signature_only() -> None:
    """X5: a node with a root outside became local, Status OK."""
    outside = linked_stores.first(KEY)
    outside = Chain(
        kms_store.first(replace(outside.store, mode="pkcs11"), outside.ring, outside.rmk),
        outside.rmk,
        outside.ring,
        KEY,
    )
    local = outside.rotated()
    assert (outside.store.mode, local.store.mode) == ("pkcs11", "local")
    assert judged(local, outside) is Continuity.FOLLOWS
    stranger = linked_stores.first(KEY, outside.store.installation_id)
    before = outside.before._replace(rmk=None)
    forged = kms_store.succeeding(
        stranger.store, stranger.ring, stranger.rmk, before, Reason.ABANDONED
    )
    assert judged(Chain(forged, stranger.rmk, stranger.ring, KEY), outside) is Continuity.BROKEN


def test_a_link_of_one_store_is_none_of_another() -> None:
    """A genuine link above other contents: the body is another one, and the parser refuses it."""
    before = linked_stores.first(KEY)
    one, other = before.rotated(), before.rotated()
    moved = replace(other.store, links=one.store.links)
    moved = replace(moved, mac=kms_store._mac(moved, other.rmk))
    with pytest.raises(FormatError, match="of another store"):
        kms_store.parse(kms_store.serialize(moved))


def test_links_are_kept_for_a_while() -> None:
    """6.1: the newest 64; whoever knows only what was before them must accept."""
    stores = [linked_stores.first(KEY)]
    for _ in range(MAX_LINKS + 2):
        stores.append(stores[-1].rotated().without(stores[-1].store.meks[-1].id))
    assert len(stores[-1].store.links) == MAX_LINKS
    assert judged(stores[-1], stores[0]) is Continuity.UNCONNECTED
    assert judged(stores[-1], stores[-20]) is Continuity.FOLLOWS


def test_the_link_after_a_store_of_format_1() -> None:
    """In the upgrade: the present RMK signs, over the bytes of the store of format 1."""
    made = linked_stores.first(KEY)
    raw = b"a store of format 1"
    before = kms_store.Predecessor(17, raw, made.rmk)
    upgraded = kms_store.succeeding(made.store, made.ring, made.rmk, before)
    seen = Known(17, kms_store.digest(raw), made.store.successor)
    assert upgraded.epoch == 18
    assert upgraded.continuity(seen, kms_store.serialize(upgraded)) is Continuity.FOLLOWS
