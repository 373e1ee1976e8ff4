"""Tells whose data directory it is that a recovery identity opens (docs/format/recovery.md 6); changes nothing.

Whoever knows a recovery recipient, which is public, can make a whole data directory for it, in which everything fits:
the recovery would bring the stranger's keys into force. The identity of the installation tells such a directory from the
genuine one, by its fingerprint, which is printed on every share.
"""

from typing import NamedTuple

from strongroom.errors import IntegrityError
from strongroom.secrets import committed
from strongroom.services.configuration.present import PresentConfiguration
from strongroom.services.keys import identity

_HINT = "nothing was changed; recover from a copy of the data directory of the right installation"


class Known(NamedTuple):
    """The installation as the operator knows it, from the shares or from a note.

    Attributes:
        fingerprint: Fingerprint of the installation's identity; empty if it is not known.
        installation_id: Id of the installation; empty if it is not known.
    """

    fingerprint: str = ""
    installation_id: str = ""


NOTHING_KNOWN = Known()


def check_installation(installation_id: str, known: Known) -> None:
    """Refuse a data directory of another installation than the shares name.

    Args:
        installation_id: The installation that the data directory claims to be of; whose it is, the fingerprint tells.
        known: The knowledge of the operator.

    Raises:
        IntegrityError: The id is another one.
    """
    if known.installation_id not in {"", installation_id}:
        raise IntegrityError(
            f"the shares are of the installation {known.installation_id}, the data directory is of"
            f" {installation_id}",
            hint=_HINT,
        )


def check_fingerprint(configuration: PresentConfiguration, proved_by: str, known: Known) -> str:
    """Compare the identity in an opened configuration with the known fingerprint; returns its fingerprint, or nothing.

    Args:
        configuration: The configuration, with the keys that the recovery identity opened.
        proved_by: The configuration key by which every entry was proved.
        known: The knowledge of the operator.

    Raises:
        IntegrityError: The identity is another one, or is put beside entries of another configuration key.
    """
    key = identity.find_key(configuration)
    found = "" if key is None else key.fingerprint
    if not known.fingerprint:
        return found
    if found != known.fingerprint:
        whose = (
            f"of the installation {found}" if found else "of no installation that has an identity"
        )
        raise IntegrityError(
            f"the data directory is {whose}, not of {known.fingerprint}", hint=_HINT
        )
    # The genuine identity's sealed key lies in every copy of the data directory. A stranger could put it, and the wrap of
    # the configuration key that opens it, into a directory whose entries are of a key of the stranger's. Entries that are
    # of the key which opens the identity only who has that key can have written.
    sealed_by = committed.key_id_of(configuration.document().values[identity.PARAMETER])
    if sealed_by != proved_by:
        raise IntegrityError(
            f"the entries are of the configuration key {proved_by}, the installation's identity is sealed under"
            f" another one, {sealed_by}: who wrote the entries is not known",
            hint="without --fingerprint, and shares without their printed lines, the recovery goes on, and its origin"
            " is not proved",
        )
    return found
