"""Which stored ways to a root may lead to the key of a wrap (findings K3)."""

from collections.abc import Sequence

import pytest

from strongroom.clock import SystemClock
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import RootError
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
