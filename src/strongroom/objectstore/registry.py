"""The list of the kinds of object stores, a line for each, and the only place that names their modules (ADR 65).

The module of a kind is imported when an address of its scheme is met; the library behind it only when it is asked.
"""

import importlib
from typing import Final, NamedTuple

from strongroom.errors import UsageError
from strongroom.objectstore.address import Address
from strongroom.objectstore.base import Bucket
from strongroom.objectstore.kinds import StoreKind


class Row(NamedTuple):
    """A kind of object store.

    Attributes:
        scheme: The scheme of its addresses; never changes, since entries and backups hold it.
        module: The module below `strongroom.objectstore` that has its `STORE`.
        usage: The form of its addresses, for help.
    """

    scheme: str
    module: str
    usage: str


ROWS: Final = (
    Row("s3", "s3_bucket", "s3://BUCKET/PREFIX?region=R&endpoint=URL"),
    Row("az", "azure_bucket", "az://ACCOUNT/CONTAINER/PREFIX?endpoint=URL&client_id=ID"),
    Row("gs", "gcp_bucket", "gs://BUCKET/PREFIX?endpoint=URL"),
)
_BY_SCHEME: Final = {row.scheme: row for row in ROWS}


def parse(text: str) -> Address:
    """The address of a text.

    Raises:
        UsageError: The text is no address of an object store, or one with a user, a password or an unknown option.
    """
    scheme, mark, _ = text.strip().partition("://")
    if not mark or scheme.lower() not in _BY_SCHEME:
        known = ", ".join(f"{one}://" for one in _BY_SCHEME)
        raise UsageError(
            f"the address of the object store does not begin with one of {known}",
            hint=f"for example {_kind(ROWS[0]).example}",
        )
    return _kind(_BY_SCHEME[scheme.lower()]).parse(text)


def bucket(address: Address) -> Bucket:
    """The objects of an address; asks nobody."""
    return _kind(_BY_SCHEME[address.scheme]).build(address)


def _kind(row: Row) -> StoreKind:
    module = importlib.import_module(f"strongroom.objectstore.{row.module}")
    found: StoreKind = module.STORE
    return found
