"""The record of a wrap as the members of a JSON object (docs/format/kms-store.md 1.3); pure."""

from typing import cast

from strongroom.canonical import Fields, to_base64
from strongroom.roots.base import WrapForm, WrapRecord


def read(item: Fields, besides: tuple[str, ...] = ()) -> WrapRecord:
    """The record of these members.

    Args:
        item: The members.
        besides: The names of members that are not the record's, which the caller reads.

    Raises:
        FormatError: A member is missing, unknown, or of another type.
    """
    item.check_names((*WrapRecord.__annotations__, *besides))
    return WrapRecord(
        id=item.id("id"),
        kind=item.text("kind"),
        form=cast("WrapForm", item.text("form")),
        root_key_id=item.text("root_key_id"),
        region=item.text("region"),
        blob=item.raw("blob"),
        inner=item.raw("inner"),
        context=item.text_map("context"),
        added_at=item.time("added_at"),
        last_verified=item.time("last_verified"),
    )


def fields(wrap: WrapRecord) -> dict[str, object]:
    """The members of a record."""
    return {
        "id": wrap.id,
        "kind": wrap.kind,
        "form": wrap.form,
        "root_key_id": wrap.root_key_id,
        "region": wrap.region,
        "blob": to_base64(wrap.blob),
        "inner": to_base64(wrap.inner),
        "context": dict(wrap.context),
        "added_at": wrap.added_at,
        "last_verified": wrap.last_verified,
    }
