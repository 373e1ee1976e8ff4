"""An age identity as k-of-n shares of words (SLIP-39, Shamir's sharing). The only door to shamir_mnemonic.

It touches no file. A share is 33 words of SLIP-39's list. The n shares are n groups of one member each, of which k are
needed: so k of n may be any pair, 1 of n too, and every share says k, n, its number and the id of its set. Each has a
checksum of its own that finds up to three wrong words; k - 1 shares say nothing about the identity.

What is split is the 32 bytes inside the identity's text. The library and the words are Python strings and integers:
copies live until CPython uses their memory again (SECURITY.md).
"""

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from shamir_mnemonic import MnemonicError, combine_mnemonics, generate_mnemonics
from shamir_mnemonic.share import Share

from strongroom.crypto import age, bech32
from strongroom.crypto.age import Identity
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import UsageError

MOST_SHARES = 16
"""SLIP-39 has four bits for the count."""
_IDENTITY_PREFIX = age.IDENTITY_PREFIX.lower()
_ITERATION_EXPONENT = 0
"""PBKDF2 stretches a passphrase; there is none, so more rounds would cost time and protect nothing."""
_IDENTITY_BYTES = 32


@dataclass(frozen=True)
class ShareInfo:
    """What one share says about itself; nothing of it is secret.

    Attributes:
        set_id: Four hex digits that all shares of one kit have.
        index: Its number, 1 to `count`.
        threshold: How many are needed.
        count: How many there are.
    """

    set_id: str
    index: int
    threshold: int
    count: int


def split(identity: Identity, threshold: int, count: int) -> tuple[str, ...]:
    """Shares of an identity, as words, in the order of their numbers.

    Raises:
        UsageError: Not 1 <= threshold <= count <= 16.
    """
    check_numbers(threshold, count)
    secret = bech32.decode(identity.text.reveal().decode().lower(), _IDENTITY_PREFIX)
    groups = generate_mnemonics(
        threshold, [(1, 1)] * count, secret, iteration_exponent=_ITERATION_EXPONENT
    )
    return tuple(group[0] for group in groups)


def check_numbers(threshold: int, count: int) -> None:
    """Refuse numbers of shares that cannot be.

    Raises:
        UsageError: Not 1 <= threshold <= count <= 16.
    """
    if not 1 <= threshold <= count <= MOST_SHARES:
        raise UsageError(
            f"{threshold} of {count} shares cannot be made",
            hint=f"at least 1 and at most all of 1 to {MOST_SHARES} shares can be needed",
        )


def describe(mnemonic: str) -> ShareInfo:
    """What a share says about itself, once its checksum is right.

    Raises:
        UsageError: A word or the checksum is wrong; no word is repeated.
    """
    share = _parse(mnemonic)
    return ShareInfo(
        f"{share.identifier:04x}", share.group_index + 1, share.group_threshold, share.group_count
    )


def combine(mnemonics: Sequence[str]) -> Identity:
    """The identity that was split; a share given twice counts once, and shares beyond k must fit too.

    Raises:
        UsageError: A share is not intact, is of another set, or too few are there.
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
    """The words of a share file or of what was typed: comments, numbers and line breaks left out."""
    lines = (line for line in text.splitlines() if not line.lstrip().startswith("#"))
    found = itertools.chain.from_iterable(line.lower().split() for line in lines)
    return " ".join(word for word in found if not re.fullmatch(r"[0-9]+[.:)]?", word))


# ---- inside --------------------------------------------------------------------------------------


def _parse(mnemonic: str) -> Any:
    try:
        share = Share.from_mnemonic(mnemonic)
    except MnemonicError:
        # from None: the library's message repeats words
        raise UsageError(
            "the share is not intact: a word is missing, misread or in the wrong place",
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
        if infos.setdefault(info.index, mnemonic) != mnemonic:
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
