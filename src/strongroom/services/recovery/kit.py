"""A recovery kit: a fresh identity, split into shares, and the text of each share's file; pure.

The identity is a private key that exists in memory only, until it is split; keys are wrapped for its public half, the
recipient. A kit that does not open anything would be noticed in an emergency only, so each one is proved when it is
made: K of the texts, chosen at random, are read back and combined.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from strongroom.clock import format_utc
from strongroom.crypto import age, rng, shares
from strongroom.errors import IntegrityError

_WORDS_PER_LINE = 6
_PAIR = 2


@dataclass(frozen=True)
class Kit:
    """A recovery kit: the recipient, and the texts of all shares of its identity.

    Attributes:
        recipient: The public half of the identity, for which keys are wrapped.
        set_id: The identifier that all shares of the kit carry.
        threshold: How many shares are needed.
        count: How many shares there are.
        texts: The text of each share's file, by the name of the file.
    """

    recipient: str
    set_id: str
    threshold: int
    count: int
    texts: dict[str, str] = field(repr=False)


class Owner(NamedTuple):
    """The installation whose keys a kit opens.

    Attributes:
        installation_id: Id of the installation.
        fingerprint: Fingerprint of its identity.
    """

    installation_id: str
    fingerprint: str


def make_kit(threshold: int, count: int, owner: Owner, moment: datetime) -> Kit:
    """Make an identity, split it, compose the texts and prove them; only the shares remain of the identity.

    Args:
        threshold: How many shares are needed.
        count: How many shares to make.
        owner: The installation, which is printed on each share.
        moment: The time, which is printed as well.

    Raises:
        UsageError: The numbers are not 1 <= threshold <= count <= 16.
        IntegrityError: The texts do not give the identity back.
    """
    identity = age.new_identity()
    made = shares.split(identity, threshold, count)
    set_id = shares.describe(made[0]).set_id
    head = _Head(identity.recipient, owner, format_utc(moment))
    texts = {
        f"share-{number}-of-{count}.txt": _text(mnemonic, head)
        for number, mnemonic in enumerate(made, 1)
    }
    kit = Kit(identity.recipient, set_id, threshold, count, texts)
    prove(kit, list(texts.values()))
    return kit


def owner_of(text: str) -> Owner:
    """The installation that the text of a share names in its printed lines; empty parts where a line was not copied."""
    lines = (line.removeprefix("#").split() for line in text.splitlines() if line.startswith("#"))
    said = {words[0]: words[1] for words in lines if len(words) == _PAIR}
    return Owner(said.get("installation", ""), said.get("fingerprint", ""))


def prove(kit: Kit, texts: Sequence[str]) -> None:
    """Combine shares of a kit's texts, chosen at random and as many as are needed, and compare the identity.

    Raises:
        IntegrityError: The shares combine to another identity.
    """
    left = list(texts)
    chosen = [left.pop(rng.random_bytes(1)[0] % len(left)) for _ in range(kit.threshold)]
    if shares.combine([shares.words_of(text) for text in chosen]).recipient != kit.recipient:
        raise IntegrityError


@dataclass(frozen=True)
class _Head:
    recipient: str
    owner: Owner
    made_at: str


def _text(mnemonic: str, head: _Head) -> str:
    info, words = shares.describe(mnemonic), mnemonic.split()
    lines = [
        f"strongroom recovery share {info.index} of {info.count}",
        "",
        f"installation  {head.owner.installation_id}",
        f"fingerprint   {head.owner.fingerprint}",
        f"set           {info.set_id}",
        f"recipient     {head.recipient}",
        f"made at       {head.made_at}",
        "",
        f"Any {info.threshold} of the {info.count} shares of this set open the keys of this installation, on any",
        "machine that has a copy of its data directory. Fewer open nothing. Print it, give each share",
        "to another person, then delete the files.",
        "",
        "The fingerprint is that of the installation: a copy of a data directory that has another one is",
        "not of this installation, even if these shares open it.",
        "",
        "To check this share alone:   strongroom recover --drill --share FILE",
        "To check that enough open:   strongroom recover --drill --share FILE --share FILE …",
        "To bring the node back:      strongroom recover --share FILE --share FILE …",
        "FILE holds the words below; numbers, case and line breaks do not matter, and this text may stay.",
        "The words are a SLIP-39 share: its tools combine them as well, to the bytes of an age identity.",
        "",
    ]
    rows = [
        "  ".join(f"{place + 1:2}. {words[place]:<10}" for place in range(start, end)).rstrip()
        for start in range(0, len(words), _WORDS_PER_LINE)
        for end in (min(start + _WORDS_PER_LINE, len(words)),)
    ]
    return "\n".join([*(f"# {line}".rstrip() for line in lines), *rows]) + "\n"
