"""Decides on encryption by a site's mode (E-01 … E-04); pure."""

from strongroom.errors import PermissionDeniedError, StateError
from strongroom.repository.rows import SiteMode


def encrypts_at_publish(mode: SiteMode, requested: bool | None) -> bool:
    """Whether a file that is published now is stored encrypted.

    With mode enforced every file is (E-02); with mode enabled the publisher decides (E-03).

    Raises:
        PermissionDeniedError: The publisher wants encryption, and the site's mode is disabled.
    """
    if mode is SiteMode.ENFORCED:
        return True
    if mode is SiteMode.DISABLED and requested:
        raise _disabled()
    return bool(requested)


def check_change(mode: SiteMode, *, encrypt: bool) -> None:
    """Refuse a user's wish to encrypt or decrypt stored extracts if the site's mode does not allow it.

    Raises:
        PermissionDeniedError: The wish is to encrypt, and the site's mode is disabled.
        StateError: The wish is to decrypt, and the site's mode is enforced.
    """
    if encrypt and mode is SiteMode.DISABLED:
        raise _disabled()
    if not encrypt and mode is SiteMode.ENFORCED:
        raise StateError(
            "extract encryption is enforced on this site: nothing is decrypted",
            hint="a server administrator can set the site's mode to enabled",
        )


def _disabled() -> PermissionDeniedError:
    return PermissionDeniedError(
        "extract encryption is disabled on this site",
        hint="a server administrator can set the site's mode to enabled or enforced",
    )
