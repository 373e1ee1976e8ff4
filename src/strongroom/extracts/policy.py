"""What a site's mode says about encryption (E-01 … E-04, requirements section 10); pure."""

from strongroom.errors import PermissionDeniedError, StateError
from strongroom.repository.rows import SiteMode


def encrypts_at_publish(mode: SiteMode, requested: bool | None) -> bool:
    """Whether what is published now is stored encrypted.

    On an enforced site the publisher is not asked (E-02); on an enabled one the wish counts (E-03).

    Raises:
        PermissionDeniedError: Encryption is wanted and the site's mode is disabled.
    """
    if mode is SiteMode.ENFORCED:
        return True
    if mode is SiteMode.DISABLED and requested:
        raise _disabled()
    return bool(requested)


def check_change(mode: SiteMode, *, encrypt: bool) -> None:
    """Whether stored extracts may be encrypted or decrypted at a user's wish.

    Raises:
        PermissionDeniedError: To be encrypted on a site whose mode is disabled.
        StateError: To be decrypted on a site whose mode is enforced.
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
