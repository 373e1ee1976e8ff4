"""Shares of an identity: k open it, k - 1 never do (R13)."""

import itertools

import pytest
from shamir_mnemonic import generate_mnemonics

from strongroom.crypto import age, shares
from strongroom.errors import UsageError

PAIRS = [(k, n) for n in range(1, 8) for k in range(1, n + 1)]


@pytest.mark.parametrize(("threshold", "count"), PAIRS)
def test_every_k_of_n_opens_and_no_fewer_do(threshold: int, count: int) -> None:
    """R13: all k of n for n <= 7, every subset of k and every subset of k - 1."""
    identity = age.new_identity()
    made = shares.split(identity, threshold, count)
    assert len(set(made)) == count
    for subset in itertools.combinations(made, threshold):
        assert shares.combine(subset).text == identity.text
    for subset in itertools.combinations(made, threshold - 1):
        with pytest.raises(UsageError, match=r"missing|no share"):
            shares.combine(subset)


def test_more_shares_than_needed_are_all_checked() -> None:
    identity = age.new_identity()
    made = shares.split(identity, 2, 4)
    assert shares.combine(made[::-1]).text == identity.text
    assert shares.combine([made[0], made[0], made[1]]).text == identity.text


def test_a_share_says_its_set_number_and_how_many_are_needed() -> None:
    made = shares.split(age.new_identity(), 3, 5)
    infos = [shares.describe(one) for one in made]
    assert [info.index for info in infos] == [1, 2, 3, 4, 5]
    assert {(info.threshold, info.count) for info in infos} == {(3, 5)}
    assert len({info.set_id for info in infos}) == 1
    assert len(infos[0].set_id) == 4


def test_missing_shares_are_counted() -> None:
    made = shares.split(age.new_identity(), 4, 5)
    with pytest.raises(
        UsageError, match=r"2 of the 4 shares .* needs were given: 2 more are missing"
    ):
        shares.combine(made[:2])
    with pytest.raises(UsageError, match="1 more is missing"):
        shares.combine(made[:3])


def test_a_share_of_another_set_is_named() -> None:
    one = shares.split(age.new_identity(), 2, 2)
    two = _other_set(one[0], 2, 2)
    other = shares.describe(two[1])
    with pytest.raises(UsageError, match=f"share 2 is of set {other.set_id}"):
        shares.combine([one[0], two[1]])


def test_shares_of_two_sets_with_one_id_do_not_pass() -> None:
    """Ids have 15 bits, so two kits may share one; then the digest inside tells."""
    one = shares.split(age.new_identity(), 2, 3)
    two = _same_set(one, 2, 3)
    for mixed in ([one[0], two[1]], [one[0], one[1], two[2]], [one[0], two[0]]):
        with pytest.raises(UsageError, match="do not fit together"):
            shares.combine(mixed)


def test_shares_beyond_the_needed_must_fit_too() -> None:
    """1 of n has no digest: shares of two such kits with one id are told apart by what they hold."""
    one = shares.split(age.new_identity(), 1, 2)
    two = _same_set(one, 1, 2)
    with pytest.raises(UsageError, match="do not fit together"):
        shares.combine([one[0], two[1]])


def test_a_misread_share_is_named_and_its_words_are_not_repeated() -> None:
    made = shares.split(age.new_identity(), 2, 3)
    words = made[1].split()
    words[10] = "academic" if words[10] != "academic" else "acid"
    with pytest.raises(UsageError, match="number 2: the share is not intact") as caught:
        shares.combine([made[0], " ".join(words)])
    assert f"{words[0]} {words[1]}" not in caught.value.message + caught.value.hint
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("text", ["", "zebra", "academic " * 33])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not intact"):
        shares.describe(text)


def test_shares_of_other_secrets_are_refused() -> None:
    of_two_members = generate_mnemonics(1, [(2, 2)], bytes(32))[0][0]
    of_16_bytes = generate_mnemonics(1, [(1, 1)], bytes(16))[0][0]
    for text in (of_two_members, of_16_bytes):
        with pytest.raises(UsageError, match="nothing that strongroom split"):
            shares.describe(text)


@pytest.mark.parametrize(("threshold", "count"), [(0, 1), (3, 2), (1, 17), (-1, 3)])
def test_impossible_splits_are_refused(threshold: int, count: int) -> None:
    with pytest.raises(UsageError, match="cannot be made"):
        shares.split(age.new_identity(), threshold, count)


def test_words_are_read_from_printed_kits_and_from_typing() -> None:
    (share,) = shares.split(age.new_identity(), 1, 1)
    words = share.split()
    numbered = "\n".join(f"{place:2}. {word.upper()}" for place, word in enumerate(words, 1))
    assert shares.words_of(f"# a comment\n  # more\n{numbered}\n") == share
    assert shares.words_of("  ".join(words)) == share


def test_four_letters_of_a_word_suffice() -> None:
    """Findings K22: SLIP-39 promises it, and people stamp four letters into steel."""
    identity = age.new_identity()
    made = shares.split(identity, 2, 3)
    short = [" ".join(word[:4] for word in share.split()) for share in made]
    assert [shares.describe(one) for one in short] == [shares.describe(one) for one in made]
    assert shares.combine([short[0], made[2]]).text == identity.text
    assert shares.combine([short[0], made[0], short[1]]).text == identity.text  # one given twice


@pytest.mark.parametrize(
    "form", ["{0}.{1}", "{0}) {1}", "{0}: {1},", " {0}\t{1}.", "{1}\u00a0", "{1};\r"]
)
def test_words_are_taken_however_people_number_and_set_them(form: str) -> None:
    """Findings K22."""
    (share,) = shares.split(age.new_identity(), 1, 1)
    words = [word.title() for word in share.split()]
    typed = "\n".join(form.format(place, word) for place, word in enumerate(words, 1))
    assert shares.words_of(typed) == share


@pytest.mark.parametrize("place", [1, 7, 33])
@pytest.mark.parametrize(
    ("typed", "meant"), [("acadmic", "academic"), ("academik", "academic"), ("rivr", "river")]
)
def test_a_word_that_is_not_in_the_list_is_counted(place: int, typed: str, meant: str) -> None:
    """Findings K22: "a word is missing" helped nobody to find it; the word that was meant is part of a secret, and not told."""
    (share,) = shares.split(age.new_identity(), 1, 1)
    words = share.split()
    words[place - 1] = typed
    with pytest.raises(UsageError, match=f"word {place} is not in the word list") as caught:
        shares.describe(" ".join(words))
    assert meant not in caught.value.message + caught.value.hint
    assert typed not in caught.value.message + caught.value.hint


@pytest.mark.parametrize("count", [1, 32, 34])
def test_words_too_many_or_too_few_are_counted(count: int) -> None:
    """Findings K22."""
    (share,) = shares.split(age.new_identity(), 1, 1)
    words = (share.split() * 2)[:count]
    with pytest.raises(UsageError, match=f"it has {count} words instead of 33"):
        shares.describe(" ".join(words))


def _other_set(share: str, threshold: int, count: int) -> tuple[str, ...]:
    while True:
        made = shares.split(age.new_identity(), threshold, count)
        if shares.describe(made[0]).set_id != shares.describe(share).set_id:
            return made


def _same_set(like: tuple[str, ...], threshold: int, count: int) -> tuple[str, ...]:
    """Shares of other bytes under the id of `like`."""
    from shamir_mnemonic.shamir import EncryptedMasterSecret, split_ems
    from shamir_mnemonic.share import Share

    identifier = Share.from_mnemonic(like[0]).identifier
    secret = EncryptedMasterSecret.from_master_secret(bytes(32), b"", identifier, True, 0)
    return tuple(group[0].mnemonic() for group in split_ems(threshold, [(1, 1)] * count, secret))
