"""The steps around a wrap that all roots share: its record, the refusal of another key's record, and the round trip."""

from strongroom.clock import Clock, format_utc
from strongroom.crypto import seals
from strongroom.crypto.seals import Place
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import FormatError, IntegrityError, RootError, RootRefusedError
from strongroom.ids import new_id
from strongroom.roots.base import Context, RootProvider, WrapRecord


def new_record(
    context: Context, kind: str, root_key_id: str, blob: bytes, clock: Clock, *, inner: bytes = b""
) -> WrapRecord:
    """The record of a wrap that was made just now.

    Args:
        context: The ids that the wrap is bound to.
        kind: The kind of the provider that made the wrap.
        root_key_id: The provider's name of its key.
        blob: The ciphertext from the provider.
        clock: For the times.
        inner: The RMK under the provider's data key, which makes the wrap an indirect one.
    """
    now = format_utc(clock.now())
    return WrapRecord(
        id=context.wrap_id,
        kind=kind,
        form="indirect" if inner else "direct",
        root_key_id=root_key_id,
        region="",
        blob=blob,
        inner=inner,
        context=context.pairs(),
        added_at=now,
        last_verified=now,
    )


def unsealed(sealed: bytes, place: Place, kek: SecretBytes) -> SecretBytes:
    """The key in a seal of ours.

    Raises:
        IntegrityError: The key-encryption key or the place is another one, or the bytes were changed or cut.
    """
    try:
        return seals.unwrap(sealed, place, kek=kek)
    except FormatError as error:
        raise IntegrityError(error.message) from None


def other_key(theirs: str, own: str) -> RootRefusedError:
    """The error for a record that another key made, which is seen without a request to the provider."""
    return RootRefusedError(
        f"the RMK was wrapped by {theirs}, not by {own}",
        hint="this is the store of another installation or of a backup",
    )


def check_round_trip(root: RootProvider, key_name: str) -> None:
    """Have a fresh key wrapped and unwrapped.

    Args:
        root: The root.
        key_name: The name of the root's key, in the words of an error.

    Raises:
        RootError: Another key came back.
    """
    key, record = root.generate_data_key(Context(new_id(), new_id(), new_id()))
    if root.unwrap(record) != key:
        raise RootError(f"{key_name} gave back another key than it made")
