"""Recovery kits: what each share's file says, and that it is proved before it is relied on."""

from dataclasses import replace

import pytest

from strongroom.clock import SystemClock
from strongroom.crypto import shares
from strongroom.errors import IntegrityError, UsageError
from strongroom.ids import new_id
from strongroom.services.recovery import kit as recovery_kit

NOW = SystemClock().now()
OWNER = recovery_kit.Owner(new_id(), "a2cd-ef34-gh56-jk72-mn23")


def test_every_file_says_what_it_is_and_its_words_are_read_back() -> None:
    kit = recovery_kit.make_kit(2, 3, OWNER, NOW)
    assert list(kit.texts) == [f"share-{number}-of-3.txt" for number in (1, 2, 3)]
    for number, text in enumerate(kit.texts.values(), 1):
        assert f"share {number} of 3" in text
        for part in (
            OWNER.installation_id,
            OWNER.fingerprint,
            kit.set_id,
            kit.recipient,
            "strongroom recover",
            "2 of the 3",
        ):
            assert part in text
        assert max(map(len, text.splitlines())) <= 100
        info = shares.describe(shares.words_of(text))
        assert (info.index, info.threshold, info.count) == (number, 2, 3)
    words = [shares.words_of(text) for text in kit.texts.values()]
    assert shares.combine(words[1:]).recipient == kit.recipient
    assert words[0].split()[10] not in repr(kit).split()


def test_a_kit_whose_texts_give_another_identity_is_not_relied_on() -> None:
    one = recovery_kit.make_kit(1, 1, OWNER, NOW)
    other = recovery_kit.make_kit(1, 1, OWNER, NOW)
    recovery_kit.prove(one, list(one.texts.values()))
    with pytest.raises(IntegrityError):
        recovery_kit.prove(replace(one, recipient=other.recipient), list(one.texts.values()))


def test_impossible_kits_are_refused() -> None:
    with pytest.raises(UsageError, match="cannot be made"):
        recovery_kit.make_kit(3, 2, OWNER, NOW)
