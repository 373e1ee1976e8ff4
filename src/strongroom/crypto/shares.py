"""An age identity as k-of-n shares of words (SLIP-39, Shamir's sharing). The only door to shamir_mnemonic.

A share is 33 words of SLIP-39's list. In SLIP-39's terms, the n shares are n groups of one member each, of which k are
needed; so k of n may be any pair of numbers, even 1 of n. Every share carries k, n, its number and the id of its set,
and a checksum that finds up to three wrong words. k - 1 shares give no information about the identity.

The 32 bytes inside the identity's text are split. The library handles words and numbers as Python strings and integers,
whose copies stay in memory until CPython uses that memory again (SECURITY.md). No file is read or written.
"""

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from shamir_mnemonic import MnemonicError, combine_mnemonics, generate_mnemonics
from shamir_mnemonic.share import Share
from shamir_mnemonic.wordlist import WORDLIST

from strongroom.crypto import age, bech32
from strongroom.crypto.age import Identity
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import UsageError

MOST_SHARES = 16
"""Most shares of a set: SLIP-39 stores the number in four bits."""
_IDENTITY_PREFIX = age.IDENTITY_PREFIX.lower()
_ITERATION_EXPONENT = 0
"""SLIP-39 can stretch a passphrase by PBKDF2; without a passphrase, more rounds would cost time and protect nothing."""
_IDENTITY_BYTES = 32
_WORDS = 33
"""The number of words in a share of an identity."""
_ENOUGH_LETTERS = 4
_BY_FOUR_LETTERS = {word[:_ENOUGH_LETTERS]: word for word in WORDLIST}
_NUMBERING = re.compile(r"^[0-9]+[.:)]?")


@dataclass(frozen=True)
class ShareInfo:
    """The description that a share carries; none of it is secret.

    Attributes:
        set_id: Four hex digits that are the same in all shares of a kit.
        index: The number of the share, 1 to `count`.
        threshold: How many shares are needed.
        count: How many shares the kit has.
    """

    set_id: str
    index: int
    threshold: int
    count: int


def split(identity: Identity, threshold: int, count: int) -> tuple[str, ...]:
    """Split an identity into shares, as words, in the order of their numbers.

    Raises:
        UsageError: The numbers are not 1 <= threshold <= count <= 16.
    """
    check_numbers(threshold, count)
    secret = bech32.decode(identity.text.reveal().decode().lower(), _IDENTITY_PREFIX)
    groups = generate_mnemonics(
        threshold, [(1, 1)] * count, secret, iteration_exponent=_ITERATION_EXPONENT
    )
    return tuple(group[0] for group in groups)


def check_numbers(threshold: int, count: int) -> None:
    """Refuse impossible numbers of shares.

    Raises:
        UsageError: The numbers are not 1 <= threshold <= count <= 16.
    """
    if not 1 <= threshold <= count <= MOST_SHARES:
        raise UsageError(
            f"{threshold} of {count} shares cannot be made",
            hint=f"at least 1 and at most all of 1 to {MOST_SHARES} shares can be needed",
        )


def describe(mnemonic: str) -> ShareInfo:
    """The description that a share carries, after its checksum was verified.

    Raises:
        UsageError: A word or the checksum is wrong; the message quotes no word.
    """
    share = _parse(mnemonic)
    return ShareInfo(
        f"{share.identifier:04x}", share.group_index + 1, share.group_threshold, share.group_count
    )


def combine(mnemonics: Sequence[str]) -> Identity:
    """Combine shares to the identity; a share given twice counts once, and shares beyond k must fit as well.

    Raises:
        UsageError: A share is not intact or of another set, or too few are given.
    """
    distinct = _distinct(mnemonics)
    info = describe(distinct[0])
    missing = info.threshold - len(distinct)
    if missing > 0:
        raise UsageError(
            f"{len(distinct)} of the {info.threshold} shares that set {info.set_id} needs were given:"
            f" {missing} more {'is' if missing == 1 else 'are'} missing"
        )
    first, *others = (
        _joined([*distinct[: info.threshold - 1], last]) for last in distinct[info.threshold - 1 :]
    )
    if any(other != first for other in others):
        raise _unfitting(info.set_id)
    return Identity(SecretBytes(bech32.encode(_IDENTITY_PREFIX, first.reveal()).upper().encode()))


def words_of(text: str) -> str:
    """The words of a share file or of typed text, without comments, numbers and line breaks."""
    lines = (line for line in text.splitlines() if not line.lstrip().startswith("#"))
    found = itertools.chain.from_iterable(line.lower().split() for line in lines)
    bare = (_NUMBERING.sub("", word).rstrip(".,;") for word in found)
    return " ".join(word for word in bare if word)


# ---- inside --------------------------------------------------------------------------------------


def _whole_words(mnemonic: str) -> str:
    """A share with abbreviated words completed: by SLIP-39, the first four letters identify a word.

    Raises:
        UsageError: A word is neither in the list nor such an abbreviation.
    """
    whole = []
    for number, word in enumerate(mnemonic.lower().split(), 1):
        found = _BY_FOUR_LETTERS.get(word[:_ENOUGH_LETTERS], "")
        if word not in {found, found[:_ENOUGH_LETTERS]} or not word:
            # suggesting the nearest word of the list would print a part of the secret, and terminals and logs keep it
            raise UsageError(
                f"the share is not intact: word {number} is not in the word list of SLIP-39",
                hint=f"compare word {number} with the printed words",
            )
        whole.append(found)
    return " ".join(whole)


def _parse(mnemonic: str) -> Any:
    words = _whole_words(mnemonic)
    try:
        share = Share.from_mnemonic(words)
    except MnemonicError:
        if (count := len(words.split())) != _WORDS:
            raise UsageError(
                f"the share is not intact: it has {count} words instead of {_WORDS}",
                hint="compare it with the printed words",
            ) from None
        # from None: the library's message repeats words
        raise UsageError(
            "the share is not intact: a word is misread or in the wrong place",
            hint="compare it with the printed words; each is in the word list of SLIP-39",
        ) from None
    if (
        share.member_threshold != 1
        or share.group_index >= share.group_count
        or len(share.value) != _IDENTITY_BYTES
    ):
        raise UsageError("the share is a SLIP-39 share, but of nothing that strongroom split")
    return share


def _distinct(mnemonics: Sequence[str]) -> list[str]:
    if not mnemonics:
        raise UsageError("no share was given")
    infos: dict[int, str] = {}
    set_id = ""
    for number, mnemonic in enumerate(mnemonics, 1):
        try:
            info = describe(mnemonic)
        except UsageError as error:
            raise UsageError(f"number {number}: {error.message}", hint=error.hint) from None
        set_id = set_id or info.set_id
        if info.set_id != set_id:
            raise UsageError(
                f"share {info.index} is of set {info.set_id}, the others are of set {set_id}",
                hint="all shares must be of one kit",
            )
        whole = _whole_words(mnemonic)
        if infos.setdefault(info.index, whole) != whole:
            raise _unfitting(set_id)
    return list(infos.values())


def _joined(mnemonics: Sequence[str]) -> SecretBytes:
    try:
        return SecretBytes(combine_mnemonics(mnemonics))
    except MnemonicError:
        raise _unfitting(describe(mnemonics[0]).set_id) from None


def _unfitting(set_id: str) -> UsageError:
    return UsageError(
        f"the shares say they are of set {set_id}, but do not fit together",
        hint="one of them is of another kit that happens to have the same id",
    )
