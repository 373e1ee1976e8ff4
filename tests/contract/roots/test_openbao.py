"""OpenBao: credentials that end, a derived key, the age of versions."""

from collections.abc import Callable

import pytest

from strongroom.clock import SystemClock
from strongroom.errors import IntegrityError, RootRefusedError, RootUnavailableError
from strongroom.ids import new_id
from strongroom.roots import openbao as openbao_root
from strongroom.roots.base import Context
from tests.contract.roots.bench_openbao import KEY, POLICY, OpenbaoBench
from tests.contract.roots.harness import RootBench
from tests.fault_server import Fault

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


class Later:
    """A monotonic clock that is moved by hand."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@openbao
def test_a_token_is_renewed_before_half_of_its_time(bench: OpenbaoBench) -> None:
    """Issue of the roots, C: a token that was set ends, unless somebody renews it."""
    token = bench.admin.auth.token.create(policies=[POLICY], ttl="1h", period="2h")
    settings = bench.by_token(token["auth"]["client_token"])
    later = Later()
    root = openbao_root.build(settings, SystemClock(), later)
    bench.front.calls.clear()
    root.renew_credentials(600)
    assert bench.front.calls == ["GET /v1/auth/token/lookup-self"]
    later.seconds = 2900  # half of two hours is 3600, and the next call is at 3500
    root.renew_credentials(600)
    assert len(bench.front.calls) == 1
    later.seconds = 3500
    root.renew_credentials(600)
    assert bench.front.calls[1:] == ["PUT /v1/auth/token/renew-self"] or bench.front.calls[1:] == [
        "POST /v1/auth/token/renew-self"
    ]
    later.seconds = 3600
    root.renew_credentials(600)
    assert len(bench.front.calls) == 2


@openbao
def test_the_token_of_an_approle_is_renewed_at_its_use(bench: OpenbaoBench) -> None:
    later = Later()
    root = openbao_root.build(bench.settings, SystemClock(), later)
    root.renew_credentials(600)  # there is none yet
    bench.front.calls.clear()
    root.check()
    later.seconds = 1799
    root.check()
    assert not any("renew-self" in call for call in bench.front.calls)
    later.seconds = 1800
    root.check()
    assert [call.rpartition("/")[2] for call in bench.front.calls].count("renew-self") == 1
    # half of its time is over, and it ended meanwhile: signed in anew
    later.seconds = 3700
    bench.admin.sys.revoke_prefix("auth/approle/login")
    root.check()


@openbao
def test_a_token_that_cannot_be_renewed_is_told(bench: OpenbaoBench) -> None:
    tokens = bench.admin.auth.token
    token = tokens.create(policies=[POLICY], ttl="1h", no_default_policy=True)
    root = openbao_root.build(bench.by_token(token["auth"]["client_token"]), SystemClock())
    with pytest.raises(RootRefusedError) as caught:
        root.renew_credentials(600)
    assert "renew-self" in caught.value.hint
    root.check()
    with bench.front.broken(Fault.UNREACHABLE), pytest.raises(RootUnavailableError):
        root.renew_credentials(600)


@openbao
def test_a_wrong_secret_id_is_not_given_until_the_role_is_locked_out(
    bench: OpenbaoBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenBao locks a role out for a quarter of an hour after five wrong logins."""
    monkeypatch.setattr(openbao_root, "MAX_WRONG_LOGINS", 2)
    root = bench.root()
    with bench.broken(Fault.EXPIRED):
        bench.front.calls.clear()
        for _ in range(3):
            with pytest.raises(RootRefusedError):
                root.check()
        with pytest.raises(RootRefusedError, match="is not given again") as caught:
            root.check()
        assert [call.rpartition("/")[2] for call in bench.front.calls] == ["login", "login"]
    assert "set-mode" in caught.value.hint
    bench.root().check()


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
