"""Options of `tsm security kms set-mode`: A-08 to A-11, K-02."""

import argparse
import shlex

import pytest

from strongroom.cli import security
from strongroom.errors import UsageError

ARN = "arn:aws:kms:us-west-2:867530990073:key/1abc23de-fg45-6hij-7k89-1l0mn1234567"
#: As the seeds have it.
COMMAND = f'tsm security kms set-mode aws --aws-region "us-west-2" --key-arn "{ARN}"'


def parsed(line: str) -> argparse.Namespace:
    words = shlex.split(line)
    assert words[:2] == ["tsm", "security"]
    return security.build_parser("tsm security", "security").parse_args(words[2:])


def test_the_command_of_the_seeds() -> None:
    """A-10, and the key id that is not hexadecimal (A-08)."""
    arguments = parsed(COMMAND)
    settings = arguments.to_settings(arguments)
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
    assert arguments.to_settings(arguments).root_key_id == ARN


def test_azure_and_local() -> None:
    line = "tsm security kms set-mode azure --key-name K --vault-baseurl https://v.vault.azure.net/"
    arguments = parsed(f"{line} --client-id C --ca-file /ca.pem")
    settings = arguments.to_settings(arguments)
    assert settings.root_key_id == "https://v.vault.azure.net/keys/K"
    assert dict(settings.options) == {
        "vault": "https://v.vault.azure.net",
        "key": "K",
        "client_id": "C",
        "ca_file": "/ca.pem",
    }
    plain = parsed(line)
    assert set(plain.to_settings(plain).options) == {"vault", "key"}
    local = parsed("tsm security kms set-mode local --abandon-external-keys")
    assert local.to_settings(local) is None
    assert local.abandon_external_keys


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
    ],
    ids=["other region", "no ARN", "no TLS", "a version"],
)
def test_what_is_wrong_is_told_at_once(line: str) -> None:
    """A-08, A-09, Q-21."""
    arguments = parsed(f"tsm security kms set-mode {line}")
    with pytest.raises(UsageError):
        arguments.to_settings(arguments)
