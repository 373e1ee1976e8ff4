"""Fresh values for the generated secrets: passwords and the internal certificates (C-01, C-24).

The key hierarchy (`kms.*`, `asset.keys`) is made by the key management, not here.
"""

from collections.abc import Iterable
from datetime import datetime

from strongroom.crypto import certificates, rng
from strongroom.crypto.secret import SecretBytes
from strongroom.secrets.catalog import SECRETS, SecretKind, SecretOrigin

_STEM = "indexandsearchserver.ssl."


def generated_values(moment: datetime) -> dict[str, bytes]:
    """A new value for every generated secret outside the key hierarchy; no two are alike.

    Args:
        moment: The present, aware; certificates are valid from it.
    """
    made = new_values(generated_names(), moment)
    return {name: value.reveal() for name, value in made.items()}


def new_values(names: Iterable[str], moment: datetime) -> dict[str, SecretBytes]:
    """New values for some generated secrets; the certificates form one chain.

    Args:
        names: Names of generated secrets; either all of the certificates and their keys, or none of them.
        moment: The present, aware.
    """
    wanted = set(names)
    chain = {name for name in wanted if SECRETS[name].kind is not SecretKind.PASSWORD}
    values = {name: rng.new_password() for name in sorted(wanted - chain)}
    if chain:
        made = _new_chain(moment)
        values |= {name: made[name] for name in sorted(chain)}
    return values


def _new_chain(moment: datetime) -> dict[str, SecretBytes]:
    issued = certificates.new_internal_certificates(moment)
    values = {}
    for role, pair in (("root", issued.root), ("admin", issued.admin), ("node", issued.node)):
        values[f"{_STEM}{role}.cert.bytes"] = SecretBytes(pair.certificate)
        values[f"{_STEM}{role}.key.file_bytes"] = pair.key
    return values


def generated_names() -> frozenset[str]:
    """The names that `generated_values` gives a value."""
    return frozenset(
        name
        for name, one in SECRETS.items()
        if one.origin is SecretOrigin.GENERATED and not one.key_hierarchy
    )
