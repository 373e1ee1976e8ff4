"""The end of a root's credential is shown, and due before it comes (findings K21)."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from strongroom.cli import dispatch
from strongroom.clock import SystemClock, format_utc, parse_utc
from strongroom.kms import proofs
from strongroom.node.opening import Node
from strongroom.roots import aws, ends
from strongroom.roots.base import CredentialEnd, TellsEnd
from strongroom.roots.settings import RootSettings
from tests.contract.roots.provider_aws import MotoLab
from tests.contract.roots.provider_openbao import POLICY, OpenbaoLab
from tests.contract.roots.provider_pkcs11 import Pkcs11Lab

ACTOR = "os:tester"
DAY = timedelta(days=1)
openbao = pytest.mark.parametrize("lab", ["openbao"], indirect=True)
#: Words of `bao token create` → for how long the token holds in all; None is on and on.
TOKENS: dict[str, tuple[dict[str, object], timedelta | None]] = {
    "explicit maximum": ({"ttl": "1h", "explicit_max_ttl": "48h"}, 2 * DAY),
    "explicit maximum, short": ({"ttl": "1h", "explicit_max_ttl": "2h"}, DAY / 12),
    "explicit maximum of a periodic one": (
        {"period": "1h", "explicit_max_ttl": "48h"},
        2 * DAY,
    ),
    "batch": ({"type": "batch", "ttl": "3h"}, DAY / 8),
    "not renewable": ({"renewable": False, "ttl": "3h"}, DAY / 8),
    "periodic": ({"period": "1h"}, None),
    "renewable": ({"ttl": "1h"}, None),
}


def token(lab: OpenbaoLab, words: dict[str, object]) -> RootSettings:
    made = lab.admin.adapter.post(
        "/v1/auth/token/create-orphan",
        json={"policies": [POLICY, "default"], **words},
    )
    return lab.by_token(made["auth"]["client_token"])


def end_of(root: object) -> CredentialEnd | None:
    assert isinstance(root, TellsEnd)
    return root.credential_end()


@openbao
@pytest.mark.parametrize("words", TOKENS)
def test_a_token_tells_when_it_ends_for_good(lab: OpenbaoLab, words: str) -> None:
    told, whole = TOKENS[words]
    root = lab.root(token(lab, told))
    root.check()
    end = end_of(root)
    if whole is None:
        assert end is None
        return
    assert end is not None
    left = parse_utc(end.ends_at) - datetime.now(UTC)
    assert whole - timedelta(minutes=5) < left <= whole + timedelta(seconds=5)
    lead = parse_utc(end.ends_at) - parse_utc(end.due_at)
    assert abs(lead - whole / 3) < timedelta(seconds=5)


@openbao
def test_who_may_not_ask_and_who_signs_in_anew_know_no_end(lab: OpenbaoLab) -> None:
    made = lab.admin.auth.token.create_orphan(
        policies=[POLICY], no_default_policy=True, explicit_max_ttl="1h"
    )
    root = lab.root(lab.by_token(made["auth"]["client_token"]))
    root.check()
    assert end_of(root) is None
    assert end_of(lab.root()) is None


@openbao
def test_status_shows_it_and_warns_before_it_comes(
    lab: OpenbaoLab,
    node: Node,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    node.modes.set_mode(token(lab, {"ttl": "30m", "explicit_max_ttl": "48h"}), ACTOR)

    def shown(*words: str) -> tuple[int, str, str]:
        code = dispatch.main("tsm", [*words, "--data-dir", str(node.paths.root)])
        out, err = capsys.readouterr()
        return code, out, err

    code, out, _ = shown("security", "kms", "status", "-v")
    assert (code, "Status: OK" in out, "Warning:" in out) == (0, True, False)
    assert "    Credential ends at: 20" in out
    assert json.loads(shown("security", "kms", "status", "--json")[1])["warnings"] == []

    monkeypatch.setattr(ends, "BEFORE", timedelta(days=60))
    monkeypatch.setattr(
        ends,
        "of",
        lambda notice, at, _: CredentialEnd(format_utc(at), format_utc(at - 3 * DAY), notice),
    )
    for words in ((), ("--cached",)):
        code, out, _ = shown("security", "kms", "status", *words)
        assert (code, "Status: OK" in out) == (0, True)
        assert "Warning: the credential of the openbao root https://" in out
        assert "cannot be renewed beyond it" in out
    (root,) = json.loads(shown("security", "kms", "status", "--json")[1])["roots"]
    assert root["ends_at"] > root["due_at"]
    code, out, err = shown("status")
    assert code == 0
    assert "the credential of the openbao root" in err
    assert len(json.loads(shown("status", "--json")[1])["warnings"]) == 1


@pytest.mark.parametrize("lab", ["aws-moto"], indirect=True)
@pytest.mark.parametrize(
    ("told", "known"),
    [
        ({}, None),
        ({"AWS_SESSION_TOKEN": "session"}, ""),
        ({"AWS_SESSION_TOKEN": "session", "AWS_CREDENTIAL_EXPIRATION": "{}"}, "{}"),
    ],
)
def test_session_credentials_of_the_environment_end(
    lab: MotoLab, told: dict[str, str], known: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = format_utc(datetime.now(UTC) + timedelta(hours=6))
    for name, value in told.items():
        monkeypatch.setenv(name, value.format(at))
    root = aws.build(lab.settings, SystemClock())
    root.check()
    end = end_of(root)
    if known is None:
        assert end is None
        return
    assert end is not None
    assert end.ends_at[:19] == known.format(at)[:19]
    assert end.due_at <= format_utc(datetime.now(UTC))
    assert "session" in end.notice
    assert lab.emulator.secret_key not in end.notice


@pytest.mark.parametrize("lab", ["pkcs11"], indirect=True)
def test_a_token_tells_that_wrong_pins_were_given(
    lab: Pkcs11Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pkcs11

    root = lab.root()
    root.check()
    assert end_of(root) is None
    for flag in ("USER_PIN_COUNT_LOW", "USER_PIN_FINAL_TRY", "USER_PIN_LOCKED"):
        with monkeypatch.context() as patch:
            patch.setattr(
                "strongroom.roots.pkcs11.Pkcs11Root._flags", lambda _, f=flag: pkcs11.TokenFlag[f]
            )
            end = end_of(root)
            assert end is not None
            assert "PIN" in end.notice


def test_the_rule_is_that_of_certificates_and_a_third_of_what_is_short() -> None:
    at = datetime(2027, 1, 31, tzinfo=UTC)
    assert ends.of("", at, timedelta(days=365)).due_at == format_utc(at - timedelta(days=30))
    assert ends.of("", at, timedelta(hours=3)).due_at == format_utc(at - timedelta(hours=1))


def test_a_proof_of_before_is_read_and_kept_as_it_was() -> None:
    """A node of the version before shows its last result (kms-proof.md 1.4)."""
    root = proofs.RootProof("w", "local", "k", "mode", True, "", 1.0, "2026-01-01T00:00:00Z")
    text = proofs.serialize(proofs.Proof("2026-01-01T00:00:00Z", 1, "d", (), {}, (root,)))
    assert "ends_at" not in text
    assert proofs.parse(text) is not None
    assert proofs.serialize(proofs.parse(text)) == text  # type: ignore[arg-type]
    ending = proofs.RootProof(**{**root.__dict__, "ends_at": "x", "due_at": "y", "notice": "z"})
    again = proofs.parse(proofs.serialize(proofs.Proof("", 1, "d", (), {}, (ending,))))
    assert again is not None
    assert again.roots == (ending,)
