"""OpenBao: credentials that end, a derived key, the age of versions."""

from collections.abc import Callable

import pytest

from strongroom.errors import IntegrityError, RootRefusedError
from strongroom.ids import new_id
from strongroom.roots.base import Context
from tests.contract.roots.bench_openbao import KEY, POLICY, OpenbaoBench
from tests.contract.roots.harness import RootBench

openbao = pytest.mark.parametrize("bench", ["openbao"], indirect=True)


def fresh() -> Context:
    return Context(new_id(), new_id(), new_id())


@openbao
def test_a_token_is_enough_until_it_ends(bench: OpenbaoBench) -> None:
    tokens = bench.admin.auth.token
    token = tokens.create(policies=[POLICY], ttl="1h")["auth"]["client_token"]
    root = bench.root(bench.by_token(token))
    key, record = root.generate_data_key(fresh())
    assert bench.root().unwrap(record) == key
    tokens.revoke(token)
    with pytest.raises(RootRefusedError) as caught:
        root.unwrap(record)
    assert "expired" in caught.value.hint
    assert token not in f"{caught.value.message}{caught.value.hint}"


@openbao
def test_an_approle_signs_in_again_when_its_token_ends(bench: OpenbaoBench) -> None:
    root = bench.root()
    key, record = root.generate_data_key(fresh())
    bench.front.calls.clear()
    assert root.unwrap(record) == key
    assert len(bench.front.calls) == 1
    bench.admin.sys.revoke_prefix("auth/approle/login")
    assert root.unwrap(record) == key
    assert [call for call in bench.front.calls if "login" in call] == [
        "POST /v1/auth/approle/login"
    ]


@openbao
def test_a_derived_key_binds_the_context_once_more(bench: OpenbaoBench) -> None:
    root = bench.root(bench.derived)
    key, record = root.generate_data_key(fresh())
    assert root.unwrap(record) == key
    data = bench.transit
    with pytest.raises(Exception, match="authentication failed"):
        data.decrypt_data("derived", record.blob.decode(), context="AAAA")


@openbao
def test_new_versions_of_the_key_need_nothing(bench: OpenbaoBench) -> None:
    root = bench.root()
    key, record = root.generate_data_key(fresh())
    bench.transit.rotate_key(KEY)
    assert root.unwrap(record) == key
    bench.transit.update_key_configuration(KEY, min_decryption_version=2)
    with pytest.raises(RootRefusedError, match="too old"):
        root.unwrap(record)
    bench.transit.update_key_configuration(KEY, min_decryption_version=1)
    assert root.unwrap(record) == key


def test_a_server_of_another_installation_opens_nothing(
    benches: Callable[[str], RootBench],
) -> None:
    """The same address and name, another key: as after a restore of the wrong snapshot."""
    bench = benches("openbao")
    assert isinstance(bench, OpenbaoBench)
    root = bench.root()
    _, record = root.generate_data_key(fresh())
    backup = bench.transit.backup_key(KEY)["data"]["backup"]
    bench.transit.delete_key(KEY)
    try:
        bench.transit.create_key(KEY)
        with pytest.raises(IntegrityError):
            root.unwrap(record)
        bench.transit.update_key_configuration(KEY, deletion_allowed=True)
        bench.transit.delete_key(KEY)
    finally:
        bench.transit.restore_key(backup, name=KEY)
