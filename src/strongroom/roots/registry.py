"""The list of the kinds of roots, a line for each, and the only place that names their modules (ADR 26).

The module of a kind is imported only when the kind is used, since it loads the large library of a cloud.
"""

import importlib
from typing import TYPE_CHECKING, Final, NamedTuple

from strongroom.errors import StateError

if TYPE_CHECKING:
    from strongroom.roots.kinds import RootKind


class Row(NamedTuple):
    """A kind of root.

    Attributes:
        kind: The name of the kind; never changes, since stores, settings and wraps hold it.
        help: The kind in a few words.
        at: The place of its `RootKind` below `strongroom.roots`, as `module:name`; empty for `<kind>:ROOT`.
        only_wraps: Whether the private half of the root's key is kept away from the node: such a root cannot be the
            mode of a node, and only `strongroom recover` opens a wrap with it.
    """

    kind: str
    help: str
    at: str = ""
    only_wraps: bool = False


LOCAL: Final = "local"
AGE: Final = "age"
SHARES: Final = "shares"

ROWS: Final = (
    Row(LOCAL, "the keystore of this installation"),
    Row("aws", "a symmetric key (CMK) of AWS KMS"),
    Row("azure", "an RSA key of Azure Key Vault"),
    Row("openbao", "a transit key of OpenBao or Vault"),
    Row("pkcs11", "an AES key in a PKCS#11 token (HSM)"),
    Row("gcp", "a symmetric key of Google Cloud KMS"),
    Row("tpm", "the TPM 2.0 of this machine"),
    Row(
        AGE, "an age recipient, whose identity is kept apart", "recipient:AGE_ROOT", only_wraps=True
    ),
    Row(
        SHARES,
        "a new identity, split into shares of words",
        "recipient:SHARES_ROOT",
        only_wraps=True,
    ),
)

#: Kinds that a KMS store may have as its mode, since their roots can unwrap.
MODES: Final = tuple(row.kind for row in ROWS if not row.only_wraps)
#: Kinds that only wrap: their private half is kept away from the node, and only `strongroom recover` asks for it.
RECIPIENT_KINDS: Final = tuple(row.kind for row in ROWS if row.only_wraps)
_BY_KIND: Final = {row.kind: row for row in ROWS}


def find(kind: str) -> "RootKind":
    """The description of a kind, by its name; imports the module of the kind.

    Raises:
        StateError: This version has no kind of that name.
    """
    found = known(kind)
    if found is None:
        raise StateError(f"this version has no root of the kind {kind!r}")
    return found


def known(kind: str) -> "RootKind | None":
    """As `find`; None for a kind that this version does not have, but another version may."""
    row = _BY_KIND.get(kind)
    if row is None:
        return None
    module, _, name = (row.at or f"{kind}:ROOT").partition(":")
    found: RootKind = getattr(importlib.import_module(f"strongroom.roots.{module}"), name)
    return found
