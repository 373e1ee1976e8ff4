"""MEKs in the KMS store, ordered by a number (docs/format/kms-store.md 5.5); pure.

A clock that was set back, or the clock of another machine, does not change the order; times are for people.
"""

from datetime import datetime
from typing import NamedTuple

from strongroom.canonical import Fields, to_base64
from strongroom.clock import format_utc, parse_utc
from strongroom.crypto import places, seals
from strongroom.ids import MekId
from strongroom.kms.keys import Mek, Rmk
from strongroom.kms.states import MekState

_MEMBERS = (
    "created_at",
    "decrypt_only_since",
    "encrypting_since",
    "id",
    "retire_at",
    "sequence",
    "state",
    "wrapped",
)


class NumberedMek(NamedTuple):
    """A MEK as the store holds it; everything is a claim until the MAC is verified.

    Attributes:
        id: UUID of the MEK.
        sequence: The number of the MEK, by which MEKs are ordered.
        state: `encrypt or decrypt` or `decrypt-only`.
        created_at: When the MEK was made; for people.
        encrypting_since: When the MEK became active; for people.
        decrypt_only_since: When the MEK became decrypt-only; for people.
        wrapped: The MEK, sealed under the RMK.
        retire_at: The time at which the MEK is to be retired, during which it is not used for reading either; None if no
            retirement is scheduled.
    """

    id: MekId
    sequence: int
    state: MekState
    created_at: str
    encrypting_since: str | None
    decrypt_only_since: str | None
    wrapped: bytes
    retire_at: str | None = None


def read(item: Fields) -> NumberedMek:
    """The MEK of these members.

    Raises:
        FormatError: A member is missing, unknown, or of another type.
    """
    item.check_names(_MEMBERS)
    state = item.one_of("state", MekState)
    if state is MekState.UNAVAILABLE:
        raise item.refused("a MEK in it is unavailable")
    retire_at = item.optional("retire_at", Fields.time)
    if retire_at and state is not MekState.DECRYPT_ONLY:
        raise item.refused("the MEK in it that encrypts is to be retired")
    return NumberedMek(
        id=MekId(item.id("id")),
        sequence=item.number("sequence", least=1),
        state=state,
        created_at=item.time("created_at"),
        encrypting_since=item.optional("encrypting_since", Fields.time),
        decrypt_only_since=item.optional("decrypt_only_since", Fields.time),
        wrapped=item.raw("wrapped"),
        retire_at=retire_at,
    )


def fields(mek: NumberedMek) -> dict[str, object]:
    """The members of a MEK."""
    return {**mek._asdict(), "state": mek.state.value, "wrapped": to_base64(mek.wrapped)}


def unwrapped(item: NumberedMek, rmk: Rmk) -> Mek:
    """The open MEK.

    Raises:
        FormatError: The wrap is too short.
        IntegrityError: The wrap is of another RMK or MEK, or was changed.
    """
    place = places.of_mek(rmk.installation_id, rmk.id, item.id)
    return Mek(
        item.id,
        item.state,
        parse_utc(item.created_at),
        moment(item.encrypting_since),
        moment(item.decrypt_only_since),
        seals.unwrap(item.wrapped, place, kek=rmk.material),
        moment(item.retire_at),
    )


def wrapped(mek: Mek, sequence: int, rmk: Rmk) -> NumberedMek:
    """The MEK with its number, sealed under the RMK."""
    place = places.of_mek(rmk.installation_id, rmk.id, mek.id)
    return NumberedMek(
        mek.id,
        sequence,
        mek.state,
        format_utc(mek.created_at),
        moment_text(mek.encrypting_since),
        moment_text(mek.decrypt_only_since),
        seals.wrap(mek.material, place, kek=rmk.material),
        moment_text(mek.retire_at),
    )


def moment(text: str | None) -> datetime | None:
    """The moment of a text, if there is one."""
    return None if text is None else parse_utc(text)


def moment_text(when: datetime | None) -> str | None:
    """The text of a moment, if there is one."""
    return None if when is None else format_utc(when)
