"""OpenBao: credentials that end, a derived key, the age of versions."""

from collections.abc import Callable

import pytest

from strongroom.clock import SystemClock
from strongroom.errors import IntegrityError, RootRefusedError, RootUnavailableError
from strongroom.ids import new_id
from strongroom.roots import openbao as openbao_root
from strongroom.roots.base import Context
from tests.contract.roots.harness import RootLab
from tests.contract.roots.provider_openbao import KEY, POLICY, OpenbaoLab
from tests.support.fault_server import Fault

openbao = pytest.mark.parametrize("lab", ["openbao"], indirect=True)


def fresh() -> Context:
    return Context(new_id(), new_id(), new_id())


@openbao
def test_a_token_is_enough_until_it_ends(lab: OpenbaoLab) -> None:
    tokens = lab.admin.auth.token
    token = tokens.create(policies=[POLICY], ttl="1h")["auth"]["client_token"]
    root = lab.root(lab.by_token(token))
    key, record = root.generate_data_key(fresh())
    assert lab.root().unwrap(record) == key
    tokens.revoke(token)
    with pytest.raises(RootRefusedError) as caught:
        root.unwrap(record)
    assert "expired" in caught.value.hint
    assert token not in f"{caught.value.message}{caught.value.hint}"


@openbao
def test_an_approle_signs_in_again_when_its_token_ends(lab: OpenbaoLab) -> None:
    root = lab.root()
    key, record = root.generate_data_key(fresh())
    lab.front.calls.clear()
    assert root.unwrap(record) == key
    assert len(lab.front.calls) == 1
    lab.admin.sys.revoke_prefix("auth/approle/login")
    assert root.unwrap(record) == key
    assert [call for call in lab.front.calls if "login" in call] == ["POST /v1/auth/approle/login"]


class Later:
    """A monotonic clock that is moved by hand."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@openbao
def test_a_token_is_renewed_before_half_of_its_time(lab: OpenbaoLab) -> None:
    """Issue of the roots, C: a token that was set ends, unless somebody renews it."""
    token = lab.admin.auth.token.create(policies=[POLICY], ttl="1h", period="2h")
    settings = lab.by_token(token["auth"]["client_token"])
    later = Later()
    root = openbao_root.build(settings, SystemClock(), later)
    lab.front.calls.clear()
    root.renew_credentials(600)
    assert lab.front.calls == ["GET /v1/auth/token/lookup-self"]
    later.seconds = 2900  # half of two hours is 3600, and the next call is at 3500
    root.renew_credentials(600)
    assert len(lab.front.calls) == 1
    later.seconds = 3500
    root.renew_credentials(600)
    assert lab.front.calls[1:] == ["PUT /v1/auth/token/renew-self"] or lab.front.calls[1:] == [
        "POST /v1/auth/token/renew-self"
    ]
    later.seconds = 3600
    root.renew_credentials(600)
    assert len(lab.front.calls) == 2


@openbao
def test_the_token_of_an_approle_is_renewed_at_its_use(lab: OpenbaoLab) -> None:
    later = Later()
    root = openbao_root.build(lab.settings, SystemClock(), later)
    root.renew_credentials(600)  # there is none yet
    lab.front.calls.clear()
    root.check()
    later.seconds = 1799
    root.check()
    assert not any("renew-self" in call for call in lab.front.calls)
    later.seconds = 1800
    root.check()
    assert [call.rpartition("/")[2] for call in lab.front.calls].count("renew-self") == 1
    # half of its time is over, and it ended meanwhile: signed in anew
    later.seconds = 3700
    lab.admin.sys.revoke_prefix("auth/approle/login")
    root.check()


@openbao
def test_a_token_that_cannot_be_renewed_is_told(lab: OpenbaoLab) -> None:
    tokens = lab.admin.auth.token
    token = tokens.create(policies=[POLICY], ttl="1h", no_default_policy=True)
    root = openbao_root.build(lab.by_token(token["auth"]["client_token"]), SystemClock())
    with pytest.raises(RootRefusedError) as caught:
        root.renew_credentials(600)
    assert "renew-self" in caught.value.hint
    root.check()
    with lab.front.broken(Fault.UNREACHABLE), pytest.raises(RootUnavailableError):
        root.renew_credentials(600)


@openbao
def test_a_wrong_secret_id_is_not_given_until_the_role_is_locked_out(
    lab: OpenbaoLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenBao locks a role out for a quarter of an hour after five wrong logins."""
    monkeypatch.setattr(openbao_root, "MAX_WRONG_LOGINS", 2)
    root = lab.root()
    with lab.broken(Fault.EXPIRED):
        lab.front.calls.clear()
        for _ in range(3):
            with pytest.raises(RootRefusedError):
                root.check()
        with pytest.raises(RootRefusedError, match="is not given again") as caught:
            root.check()
        assert [call.rpartition("/")[2] for call in lab.front.calls] == ["login", "login"]
    assert "set-mode" in caught.value.hint
    lab.root().check()


@openbao
def test_a_derived_key_binds_the_context_once_more(lab: OpenbaoLab) -> None:
    root = lab.root(lab.derived)
    key, record = root.generate_data_key(fresh())
    assert root.unwrap(record) == key
    data = lab.transit
    with pytest.raises(Exception, match="authentication failed"):
        data.decrypt_data("derived", record.blob.decode(), context="AAAA")


@openbao
def test_new_versions_of_the_key_need_nothing(lab: OpenbaoLab) -> None:
    root = lab.root()
    key, record = root.generate_data_key(fresh())
    lab.transit.rotate_key(KEY)
    assert root.unwrap(record) == key
    lab.transit.update_key_configuration(KEY, min_decryption_version=2)
    with pytest.raises(RootRefusedError, match="too old"):
        root.unwrap(record)
    lab.transit.update_key_configuration(KEY, min_decryption_version=1)
    assert root.unwrap(record) == key


def test_a_server_of_another_installation_opens_nothing(
    labs: Callable[[str], RootLab],
) -> None:
    """The same address and name, another key: as after a restore of the wrong snapshot."""
    lab = labs("openbao")
    assert isinstance(lab, OpenbaoLab)
    root = lab.root()
    _, record = root.generate_data_key(fresh())
    backup = lab.transit.backup_key(KEY)["data"]["backup"]
    lab.transit.delete_key(KEY)
    try:
        lab.transit.create_key(KEY)
        with pytest.raises(IntegrityError):
            root.unwrap(record)
        lab.transit.update_key_configuration(KEY, deletion_allowed=True)
        lab.transit.delete_key(KEY)
    finally:
        lab.transit.restore_key(backup, name=KEY)
