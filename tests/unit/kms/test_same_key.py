"""Which stored ways to a root may lead to the key of a wrap (findings K3)."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from strongroom.clock import SystemClock
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import RootError, StateError
from strongroom.kms import same_key
from strongroom.roots.base import RootProvider, WrapRecord
from strongroom.roots.local import LocalRoot
from strongroom.roots.settings import RootSettings

OLD = RootSettings("openbao", "https://old.example/transit/keys/one")
NEW = RootSettings("openbao", "https://new.example/transit/keys/one")
GCP = RootSettings("gcp", "projects/p/cryptoKeys/k")


def wrap(kind: str, key_id: str) -> WrapRecord:
    return WrapRecord("id", kind, "direct", key_id, "", b"", b"", {}, "", "")


def _never_asked(key_id: str) -> SecretBytes:
    raise AssertionError(key_id)


def build(settings: RootSettings) -> RootProvider:
    if settings.root_key_id == "missing":
        raise RootError("a library is missing")
    return LocalRoot(settings.root_key_id, _never_asked, SystemClock())


@pytest.mark.parametrize(
    ("of", "stored", "expected"),
    [
        (wrap("openbao", OLD.root_key_id), [OLD, NEW, GCP], [NEW]),
        (wrap("openbao", OLD.root_key_id), [OLD, GCP], []),
        (wrap("openbao", OLD.root_key_id), [GCP, NEW], [NEW]),
        (wrap("openbao", OLD.root_key_id), [RootSettings("openbao", "missing"), NEW], [NEW]),
        (wrap("age", "age1x"), [RootSettings("age", "age1y")], []),
        (wrap("gcp", GCP.root_key_id), [OLD, NEW], []),
    ],
    ids=["another way", "the very way", "only another", "no library", "a recipient", "other kinds"],
)
def test_every_other_way_of_the_kind_is_tried(
    of: WrapRecord, stored: Sequence[RootSettings], expected: Sequence[RootSettings]
) -> None:
    assert [settings for settings, _ in same_key.ways(of, stored, build)] == expected


# ---- what a key that was found means for the settings ------------------------------------------------


def found(
    wanted: RootSettings, opened: Sequence[str] = (), refused: Sequence[str] = ()
) -> same_key.Recognised:
    def named(keys: Sequence[str]) -> tuple[WrapRecord, ...]:
        return tuple(replace(wrap(wanted.kind, key), id=key) for key in keys)

    return same_key.Recognised(wanted, named(opened), named(refused))


def test_a_key_that_opened_another_name_s_wrap_takes_the_place_of_its_settings() -> None:
    """An OpenBao server has moved: the wrap is called by the old address."""
    moved = found(NEW, [OLD.root_key_id])
    assert moved.is_of(OLD, [OLD, GCP])
    assert moved.settle([OLD, GCP]) == (GCP, NEW.also_as([OLD.root_key_id]))
    assert moved.unwraps(moved.opened[0])
    assert not moved.refuses(moved.opened[0])


def test_a_key_that_opened_nothing_stands_beside_the_others() -> None:
    other = found(NEW, refused=[OLD.root_key_id])
    assert other.settle([OLD, GCP]) == (OLD, GCP, NEW)
    assert other.refuses(other.refused[0])


def test_settings_at_one_address_are_one_with_all_names_that_the_key_did_not_refuse() -> None:
    before = OLD.also_as([NEW.root_key_id])
    assert found(OLD).settle([before]) == (before,)
    another = found(OLD, refused=[NEW.root_key_id])
    assert another.settings([before]) == OLD


def test_an_address_whose_wrap_another_key_made_is_not_taken() -> None:
    """Storing the new settings would replace the only ones by which that wrap might be opened."""
    of_old = wrap("openbao", OLD.root_key_id)
    with pytest.raises(StateError, match="nothing was changed: wrap id is reached at"):
        found(OLD).check_apart([of_old], [OLD])
    same_key.Recognised(OLD, (of_old,)).check_apart([of_old], [OLD])
    found(OLD).check_apart([wrap("openbao", NEW.root_key_id)], [NEW])
    found(OLD).check_apart([wrap("openbao", "https://none.example/transit/keys/x")], [OLD])
