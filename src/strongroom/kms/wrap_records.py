"""The record of a wrap as the members of a JSON object (docs/format/kms-store.md 1.3, 5.4); pure."""

from typing import cast

from strongroom.canonical import Fields, to_base64
from strongroom.roots.base import WrapForm, WrapRecord

_MEMBERS = (
    "id",
    "kind",
    "form",
    "root_key_id",
    "region",
    "blob",
    "inner",
    "context",
    "added_at",
    "last_verified",
)
_VERSIONS = (1, 2)


def read(item: Fields) -> WrapRecord:
    """The record of these members, as a store of format 2 has it.

    Raises:
        FormatError: A member is missing, unknown, or of another type, or the version is unknown.
    """
    item.check_names((*_MEMBERS, "v"))
    version = item.number("v")
    if version not in _VERSIONS:
        raise item.refused("a wrap in it has a version that is not known here")
    return _read(item, version)


def read_1(item: Fields) -> WrapRecord:
    """The record of these members, as a store of format 1 has it: without a version.

    Raises:
        FormatError: A member is missing, unknown, or of another type.
    """
    item.check_names(_MEMBERS)
    return _read(item, 1)


def fields(wrap: WrapRecord) -> dict[str, object]:
    """The members of a record, with its version."""
    return {**fields_1(wrap), "v": wrap.version}


def fields_1(wrap: WrapRecord) -> dict[str, object]:
    """The members of a record without its version: the MAC of a store of format 1 is over them."""
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


def _read(item: Fields, version: int) -> WrapRecord:
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
        version=version,
    )
