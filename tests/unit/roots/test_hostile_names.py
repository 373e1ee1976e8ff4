"""No option that names a root leads anywhere but where it is put: a key beside it, another service of its server, a file.

Generated from the options that `kms set-mode` and `kms roots add` have; an option that is new must say what is tried of it.
"""

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from strongroom.cli.keys import kms_modes
from strongroom.config import catalog
from strongroom.errors import UsageError
from strongroom.roots import registry
from strongroom.roots.registry import Row
from strongroom.system import values

pytestmark = pytest.mark.table

EXTERNAL = [row for row in kms_modes.MODES if row.kind != registry.LOCAL]
PLAIN_STEPS = ("..", ".", "../a", "a/..", "a/../b", "a/./b", "a//b", "//a", "a//", "/../a")
STEPS = (*PLAIN_STEPS, "a/%2e%2e/b", "a\\..\\b")
CONTROL = ("a\nb", "a\rb", "a\x00b", "a\x1bb", "a\x7fb", "a\x85b", "a\u2028b", "a\u202eb")
ODD = (" ", "/", "a?b", "a#b", "a;b", "a@b/c", "a b/c")
PATH_LIKE = STEPS + CONTROL + ODD
#: A blank or a slash behind an address is taken off.
BEHIND_AN_ADDRESS = tuple(text for text in PATH_LIKE if text.strip(" /"))


class Tried(NamedTuple):
    """What is tried of an option.

    Attributes:
        good: A value that is taken; `{}` stands where a hostile one is put in.
        hostile: What is put in; nothing for an option that takes a file's content or a URL.
    """

    good: str
    hostile: tuple[str, ...] = PATH_LIKE


#: Kind → option → what is tried.
OPTIONS: Mapping[str, Mapping[str, Tried]] = {
    "aws": {
        "--key-arn": Tried("arn:aws:kms:eu-west-1:123456789012:key/{}"),
        "--aws-region": Tried("{}"),
    },
    "azure": {
        "--key-name": Tried("{}"),
        "--vault-baseurl": Tried("https://v.vault.azure.net/{}", BEHIND_AN_ADDRESS),
        "--client-id": Tried("{}"),
        "--ca-file": Tried("{}"),
    },
    "openbao": {
        "--address": Tried("https://bao.example.org/{}", BEHIND_AN_ADDRESS),
        "--key": Tried("{}"),
        "--mount": Tried("{}"),
        "--namespace": Tried("{}"),
        "--role-id": Tried("{}", CONTROL),
        "--ca-file": Tried("{}"),
    },
    "pkcs11": {
        "--module": Tried("{}"),
        "--token-label": Tried("{}", CONTROL),
        "--key-label": Tried("{}", CONTROL),
    },
    "gcp": {
        "--key-name": Tried("projects/{}/locations/l/keyRings/r/cryptoKeys/k"),
        "--endpoint": Tried("https://kms.p.googleapis.com/{}", BEHIND_AN_ADDRESS),
    },
    # a path of this machine, as an operator writes it: see 0.1.0's `swtpm:path=../tpm/socket`
    "tpm": {"--tcti": Tried("device:{}", CONTROL)},
}
#: Where the empty value, or the one of the slot, is not the good one.
GOOD = {"--aws-region": "eu-west-1", "--vault-baseurl": "", "--address": "", "--endpoint": ""}


def _parser(mode: Row) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(exit_on_error=False)
    parser.set_defaults(kind=mode.kind)
    kms_modes.add_options(parser)
    return parser


def _names(mode: Row) -> list[str]:
    """Options with a value that is none of a credential's file."""
    return [
        action.option_strings[0]
        for action in _parser(mode)._actions
        if action.nargs != 0 and not _is_credential(action.dest)
    ]


def _is_credential(name: str) -> bool:
    return name.endswith("_file") and name != "ca_file"


def _attempts() -> Iterator[tuple[Row, str, str]]:
    for mode in EXTERNAL:
        for option, tried in OPTIONS[mode.kind].items():
            yield from ((mode, option, text) for text in tried.hostile)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    (folder / "secret").write_text("a-secret-of-this-test\n")
    (folder / "lib.so").write_bytes(b"")
    (folder / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    return folder


def _settings(mode: Row, files: Path, option: str = "", value: str = "") -> object:
    """The settings of good values, and of one other."""
    words = []
    for name, tried in OPTIONS[mode.kind].items():
        path = {"--ca-file": str(files / "ca.pem"), "--module": str(files / "lib.so")}
        good = path.get(name) or tried.good.format(GOOD.get(name, "a"))
        words += [f"{name}={value if name == option else good}"]
    credential = {"openbao": "--secret-id-file", "pkcs11": "--pin-file"}.get(mode.kind)
    if credential:
        words += [credential, str(files / "secret")]
    return kms_modes.to_settings(_parser(mode).parse_args(words))


@pytest.mark.parametrize("label", ["鍵\u3000本番", "clé\u00a0RMK", "a key"])
@pytest.mark.parametrize("option", ["--token-label", "--key-label"])
def test_a_label_may_have_any_blank_of_its_language(option: str, label: str, files: Path) -> None:
    """0.1.0 took them; whoever has such a token must be able to give a new PIN for it."""
    (mode,) = (one for one in EXTERNAL if one.kind == "pkcs11")
    _settings(mode, files, option, label)


@pytest.mark.parametrize("mode", EXTERNAL, ids=lambda mode: mode.kind)
def test_each_option_is_tried(mode: Row) -> None:
    assert sorted(_names(mode)) == sorted(OPTIONS[mode.kind])


@pytest.mark.parametrize("mode", EXTERNAL, ids=lambda mode: mode.kind)
def test_good_names_are_taken(mode: Row, files: Path) -> None:
    assert _settings(mode, files)


@pytest.mark.parametrize(
    ("mode", "option", "text"),
    [pytest.param(*one, id=f"{one[0].kind} {one[1]} {one[2]!r}") for one in _attempts()],
)
def test_a_name_that_leads_elsewhere_is_refused(
    mode: Row, option: str, text: str, files: Path
) -> None:
    """Before anybody is asked, with the root's credential, for what nobody named."""
    value = OPTIONS[mode.kind][option].good.format(text)
    with pytest.raises(UsageError):
        _settings(mode, files, option, value)


@pytest.mark.parametrize("option", ["--mount", "--key"])
def test_an_empty_name_is_not_another_one(option: str, files: Path) -> None:
    """A variable of a script that is not set led to the mount `transit`."""
    (bao,) = (mode for mode in EXTERNAL if mode.kind == "openbao")
    with pytest.raises(UsageError, match="not the"):
        _settings(bao, files, option, "")


@pytest.mark.parametrize("text", [*PLAIN_STEPS, *CONTROL])
@pytest.mark.parametrize(
    "name", sorted(name for name, key in catalog.KEYS.items() if key.check is values.znode)
)
def test_so_is_a_znode(name: str, text: str) -> None:
    """The one name of a component's that ends in a path and is no file's."""
    with pytest.raises(UsageError):
        catalog.check_value(name, f"/{text}")
