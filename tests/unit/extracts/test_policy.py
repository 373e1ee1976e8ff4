"""E-01 … E-04 as tables."""

import pytest

from strongroom.errors import PermissionDeniedError, StateError
from strongroom.extracts.policy import check_change, encrypts_at_publish
from strongroom.repository.rows import SiteMode


@pytest.mark.parametrize(
    ("mode", "requested", "encrypted"),
    [
        (SiteMode.ENFORCED, None, True),
        (SiteMode.ENFORCED, False, True),
        (SiteMode.ENFORCED, True, True),
        (SiteMode.ENABLED, None, False),
        (SiteMode.ENABLED, False, False),
        (SiteMode.ENABLED, True, True),
        (SiteMode.DISABLED, None, False),
        (SiteMode.DISABLED, False, False),
    ],
)
def test_publishing(mode: SiteMode, requested: bool | None, encrypted: bool) -> None:
    assert encrypts_at_publish(mode, requested) is encrypted


def test_encryption_cannot_be_asked_for_where_it_is_disabled() -> None:
    with pytest.raises(PermissionDeniedError, match="disabled"):
        encrypts_at_publish(SiteMode.DISABLED, True)
    with pytest.raises(PermissionDeniedError, match="disabled"):
        check_change(SiteMode.DISABLED, encrypt=True)


def test_nothing_is_decrypted_where_encryption_is_enforced() -> None:
    with pytest.raises(StateError, match="enforced"):
        check_change(SiteMode.ENFORCED, encrypt=False)


@pytest.mark.parametrize(
    ("mode", "encrypt"),
    [
        (SiteMode.ENFORCED, True),
        (SiteMode.ENABLED, True),
        (SiteMode.ENABLED, False),
        (SiteMode.DISABLED, False),
    ],
)
def test_other_changes_are_free(mode: SiteMode, encrypt: bool) -> None:
    check_change(mode, encrypt=encrypt)
