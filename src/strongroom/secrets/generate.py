"""Fresh values for the generated secrets: passwords and the internal certificates (C-01, C-24).

The key hierarchy (`kms.*`, `asset.keys`) is not made here; that is the key management's work.
"""

from datetime import datetime

from strongroom.crypto import certificates, rng
from strongroom.secrets.catalog import SECRETS, SecretKind, SecretOrigin

_STEM = "indexandsearchserver.ssl."


def generated_values(moment: datetime) -> dict[str, bytes]:
    """A new value for every generated secret outside the key hierarchy; no two are alike.

    Args:
        moment: The present, aware; certificates are valid from it.
    """
    values = {
        name: rng.new_password().reveal()
        for name, one in SECRETS.items()
        if one.origin is SecretOrigin.GENERATED and one.kind is SecretKind.PASSWORD
    }
    issued = certificates.new_internal_certificates(moment)
    for role, pair in (("root", issued.root), ("admin", issued.admin), ("node", issued.node)):
        values[f"{_STEM}{role}.cert.bytes"] = pair.certificate
        values[f"{_STEM}{role}.key.file_bytes"] = pair.key.reveal()
    return values


def generated_names() -> frozenset[str]:
    """The names that `generated_values` gives a value."""
    return frozenset(
        name
        for name, one in SECRETS.items()
        if one.origin is SecretOrigin.GENERATED and not one.key_hierarchy
    )
