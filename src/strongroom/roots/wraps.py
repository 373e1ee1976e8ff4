"""What roots do alike around a wrap: its record, the refusal of another key's record, the round trip; asks nobody itself."""

from strongroom.clock import Clock, format_utc
from strongroom.errors import RootError, RootRefusedError
from strongroom.ids import new_id
from strongroom.roots.base import Context, RootProvider, WrapRecord


def new_record(
    context: Context, kind: str, root_key_id: str, blob: bytes, clock: Clock, *, inner: bytes = b""
) -> WrapRecord:
    """The record of a wrap that was made just now.

    Args:
        context: What it was bound to.
        kind: Which provider made it.
        root_key_id: The provider's name of its key.
        blob: What the provider gave.
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


def other_key(theirs: str, own: str) -> RootRefusedError:
    """The refusal of a record that another key made; nobody need be asked."""
    return RootRefusedError(
        f"the RMK was wrapped by {theirs}, not by {own}",
        hint="this is the store of another installation or of a backup",
    )


def check_round_trip(root: RootProvider, key_name: str) -> None:
    """Have a fresh key wrapped and unwrapped.

    Args:
        root: The root.
        key_name: Its key, in the words of an error.

    Raises:
        RootError: Another key came back.
    """
    key, record = root.generate_data_key(Context(new_id(), new_id(), new_id()))
    if root.unwrap(record) != key:
        raise RootError(f"{key_name} gave back another key than it made")
