"""Options of `tsm security kms set-mode`: A-08 to A-11, K-02."""

import argparse
import io
import shlex
from pathlib import Path

import pytest

from strongroom.cli.keys import kms_modes, security
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import StorageError, UsageError
from strongroom.roots.settings import RootSettings

ARN = "arn:aws:kms:us-west-2:867530990073:key/1abc23de-fg45-6hij-7k89-1l0mn1234567"
#: As the seeds have it.
COMMAND = f'tsm security kms set-mode aws --aws-region "us-west-2" --key-arn "{ARN}"'


def parsed(line: str) -> argparse.Namespace:
    words = shlex.split(line)
    assert words[:2] == ["tsm", "security"]
    return security.build_parser("tsm security", "security").parse_args(words[2:])


def settings_of(arguments: argparse.Namespace) -> RootSettings:
    found = kms_modes.to_settings(arguments)
    assert found
    return found


def test_the_command_of_the_seeds() -> None:
    """A-10, and the key id that is not hexadecimal (A-08)."""
    arguments = parsed(COMMAND)
    settings = settings_of(arguments)
    assert (settings.kind, settings.root_key_id) == ("aws", ARN)
    assert dict(settings.options) == {"region": "us-west-2"}
    assert (arguments.dry_run, arguments.abandon_external_keys) == (False, False)


@pytest.mark.parametrize(
    "line",
    [
        f"tsm security kms set-mode aws --key-arn {ARN} --aws-region us-west-2 --dry-run",
        f"tsm security kms set-mode aws --dry-run --key-arn=' \"{ARN}\" ' --aws-region '\"us-west-2\"'",
    ],
    ids=["other order", "blanks and quotes"],
)
def test_order_is_free_and_blanks_and_quotes_are_taken_off(line: str) -> None:
    """A-10, A-11."""
    arguments = parsed(line)
    assert arguments.dry_run
    assert settings_of(arguments).root_key_id == ARN


def test_azure_and_local(tmp_path: Path) -> None:
    ca_file = tmp_path / "ca.pem"
    ca_file.write_text("-----BEGIN CERTIFICATE-----\n")
    line = "tsm security kms set-mode azure --key-name K --vault-baseurl https://v.vault.azure.net/"
    arguments = parsed(f"{line} --client-id C --ca-file {ca_file}")
    settings = settings_of(arguments)
    assert settings.root_key_id == "https://v.vault.azure.net/keys/K"
    assert dict(settings.options) == {
        "vault": "https://v.vault.azure.net",
        "key": "K",
        "client_id": "C",
        "ca_file": str(ca_file),
    }
    plain = parsed(line)
    assert set(settings_of(plain).options) == {"vault", "key"}
    local = parsed("tsm security kms set-mode local --abandon-external-keys")
    assert kms_modes.to_settings(local) is None
    assert local.abandon_external_keys


def credential_file(folder: Path, text: bytes = b"the-credential\n") -> Path:
    path = folder / "credential"
    path.write_bytes(text)
    return path


def test_openbao_takes_a_token_or_an_approle_by_file(tmp_path: Path) -> None:
    file = credential_file(tmp_path)
    line = "tsm security kms set-mode openbao --address https://bao:8200 --key K"
    by_token = parsed(f"{line} --token-file {file}")
    settings = settings_of(by_token)
    assert settings.root_key_id == "https://bao:8200/v1/transit/keys/K"
    assert dict(settings.secrets) == {"token": SecretBytes(b"the-credential")}
    more = f"--mount m --namespace n --role-id R --secret-id-file {file} --ca-file {file}"
    by_role = parsed(f"{line} {more}")
    settings = settings_of(by_role)
    assert settings.root_key_id == "https://bao:8200/v1/n/m/keys/K"
    assert (settings.options["role_id"], settings.options["ca_file"]) == ("R", str(file))
    assert dict(settings.secrets) == {"secret_id": SecretBytes(b"the-credential")}
    both = parsed(f"{line} {more} --token-file {file}")
    with pytest.raises(UsageError, match="exclude each other"):
        settings_of(both)


def test_pkcs11_takes_its_pin_by_file(tmp_path: Path) -> None:
    file = credential_file(tmp_path, b"5678\n")
    line = f"tsm security kms set-mode pkcs11 --module {file} --token-label T --key-label K"
    arguments = parsed(f"{line} --pin-file {file} --create-key")
    settings = settings_of(arguments)
    assert settings.root_key_id == "pkcs11:token=T;object=K;type=secret-key"
    assert settings.options["create"] == "yes"
    assert dict(settings.secrets) == {"pin": SecretBytes(b"5678")}


def test_gcp_takes_a_service_account_by_file_or_none(tmp_path: Path) -> None:
    name = "projects/p/locations/l/keyRings/r/cryptoKeys/k"
    line = f"tsm security kms set-mode gcp --key-name {name}"
    plain = parsed(line)
    assert dict(settings_of(plain).secrets) == {}
    account = (
        b'{"type": "service_account", "client_email": "a@b", "private_key": "-",'
        b' "token_uri": "https://oauth2.googleapis.com/token"}'
    )
    file = credential_file(tmp_path, account)
    arguments = parsed(f"{line} --credentials-file {file} --endpoint https://x.googleapis.com")
    settings = settings_of(arguments)
    assert settings.root_key_id == name
    assert settings.options["endpoint"] == "https://x.googleapis.com"
    assert dict(settings.secrets) == {"credentials": SecretBytes(account)}


def test_tpm_takes_a_password_by_file_or_none(tmp_path: Path) -> None:
    plain = parsed("tsm security kms set-mode tpm")
    assert settings_of(plain).root_key_id == "tpm:device:/dev/tpmrm0"
    file = credential_file(tmp_path, b"word\n")
    arguments = parsed(f"tsm security kms set-mode tpm --tcti swtpm:path=/s --auth-file {file}")
    settings = settings_of(arguments)
    assert settings.root_key_id == "tpm:swtpm:path=/s"
    assert dict(settings.secrets) == {"auth": SecretBytes(b"word")}


def test_a_credential_comes_by_stdin_too_or_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    line = "tsm security kms set-mode openbao --address https://bao:8200 --key K"
    by_pipe, asked = parsed(f"{line} --token-file -"), parsed(line)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"piped\r\n")))
    assert settings_of(by_pipe).secrets["token"] == SecretBytes(b"piped")
    with pytest.raises(UsageError, match="is needed"):
        settings_of(asked)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("getpass.getpass", lambda prompt: "typed")
    assert settings_of(asked).secrets["token"] == SecretBytes(b"typed")


@pytest.mark.parametrize("text", [b"", b"\n", b"x" * 4097, b"\xff"])
def test_what_is_no_credential(tmp_path: Path, text: bytes) -> None:
    file = credential_file(tmp_path, text)
    line = "tsm security kms set-mode openbao --address https://bao:8200 --key K"
    arguments = parsed(f"{line} --token-file {file}")
    with pytest.raises(UsageError, match=r"characters of ASCII|is empty|more than 4096"):
        settings_of(arguments)
    file.unlink()
    with pytest.raises(StorageError, match="cannot read"):
        settings_of(arguments)


@pytest.mark.parametrize(
    "line",
    [
        "tsm security kms set-mode",
        "tsm security kms set-mode cloudhsm",
        "tsm security kms set-mode aws --aws-region us-west-2",
        f"tsm security kms set-mode aws --key-arn {ARN}",
        "tsm security kms set-mode azure --key-name K",
        "tsm security kms set-mode local --key-arn x",
    ],
    ids=["none", "unknown", "no ARN", "no region", "no vault", "not for local"],
)
def test_what_is_missing_or_unknown_is_exit_2(line: str) -> None:
    """K-02."""
    with pytest.raises(SystemExit) as caught:
        parsed(line)
    assert caught.value.code == 2


@pytest.mark.parametrize(
    "line",
    [
        f"aws --aws-region eu-central-1 --key-arn {ARN}",
        "aws --aws-region us-west-2 --key-arn 1abc23de",
        "azure --key-name K --vault-baseurl http://v.vault.azure.net",
        "azure --key-name K/1 --vault-baseurl https://v.vault.azure.net",
        "azure --key-name K --vault-baseurl https://v.vault.azure.net --ca-file /nonexistent/ca",
    ],
    ids=["other region", "no ARN", "no TLS", "a version", "no file"],
)
def test_what_is_wrong_is_told_at_once(line: str) -> None:
    """A-08, A-09, Q-21."""
    arguments = parsed(f"tsm security kms set-mode {line}")
    with pytest.raises(UsageError):
        settings_of(arguments)
