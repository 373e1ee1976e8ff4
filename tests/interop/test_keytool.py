"""The real keytool and java.security.KeyStore open our keystore, and we open theirs (C-03, K-05, Q-11)."""

import os
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from strongroom.crypto import rng
from strongroom.crypto.secret import SecretBytes
from strongroom.errors import KeystoreError
from strongroom.keystore import pkcs12
from strongroom.keystore.master_key import new_master_key
from strongroom.keystore.replicas import KeystoreDirectory

pytestmark = pytest.mark.interop

_NOW = datetime(2026, 11, 21, 20, 0, 0, tzinfo=UTC)
_GET_KEY = """
import java.io.FileInputStream;
import java.nio.file.*;
import java.security.*;
import java.util.*;

public class GetKey {
    public static void main(String[] a) throws Exception {
        char[] password = Files.readString(Path.of(a[1])).toCharArray();
        for (String type : new String[] {"PKCS12", "JKS"}) {
            KeyStore store = KeyStore.getInstance(type);
            try (FileInputStream in = new FileInputStream(a[0])) { store.load(in, password); }
            for (String alias : new TreeSet<String>(Collections.list(store.aliases()))) {
                Key key = store.getKey(alias, password);
                System.out.println(type + " " + alias + " " + key.getAlgorithm() + " " + key.getFormat()
                    + " " + HexFormat.of().formatHex(key.getEncoded()));
            }
        }
    }
}
"""


@pytest.fixture
def directory(tmp_path: Path) -> KeystoreDirectory:
    directory = KeystoreDirectory([tmp_path / "one"], tmp_path / "keystore" / "password")
    directory.create(new_master_key(_NOW))
    directory.add_alias("master-key-2", rng.new_key(), created_at=_NOW)
    return directory


def _keytool(*arguments: str | Path, program: str = "keytool") -> str:
    # the C locale: words and dates of the answer do not follow the machine's
    ran = subprocess.run(
        [program, "-J-Duser.language=en", "-J-Duser.timezone=UTC", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def _opened(directory: KeystoreDirectory, option: str = "-storepass:file") -> list[str | Path]:
    return [option, directory.password_file]


def _password(directory: KeystoreDirectory) -> SecretBytes:
    return SecretBytes(directory.password_file.read_bytes())


def test_keytool_lists_our_keystore(directory: KeystoreDirectory) -> None:
    """C-03: also under the type JKS, as a file of this name suggests."""
    listed = _keytool("-list", "-v", "-keystore", directory.primary, *_opened(directory))
    assert "Keystore type: PKCS12" in listed
    assert "Your keystore contains 2 entries" in listed
    assert listed.count("Entry type: SecretKeyEntry") == 2
    assert "Creation date: Nov 21, 2026" in listed
    for alias in ("master-key-1", "master-key-2"):
        assert f"Alias name: {alias}" in listed
    _keytool("-list", "-keystore", directory.primary, "-storetype", "JKS", *_opened(directory))


def test_keystore_get_key_gives_the_same_bytes(
    directory: KeystoreDirectory, tmp_path: Path
) -> None:
    source = tmp_path / "GetKey.java"
    source.write_text(_GET_KEY)
    ran = subprocess.run(
        ["java", "-XX:TieredStopAtLevel=1", source, directory.primary, directory.password_file],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    keystore = directory.load()
    keys = {alias: keystore.master_key(alias).reveal().hex() for alias in keystore.aliases}
    assert ran.stdout.splitlines() == [
        f"{kind} {alias} AES RAW {keys[alias]}"
        for kind in ("PKCS12", "JKS")
        for alias in ("master-key-1", "master-key-2")
    ]


def _keytools() -> list[str]:
    """Every keytool of this machine, each once: other versions of Java lie beside the first in the path."""
    found = shutil.which("keytool")
    beside = [str(path) for path in Path("/usr/lib/jvm").glob("*/bin/keytool")]
    named = {os.path.realpath(path): path for path in (found, *sorted(beside)) if path}
    assert named, "these tests need keytool of a JDK: 'make dev' installs it"
    return list(named.values())


@pytest.mark.parametrize("keytool", _keytools())
@pytest.mark.parametrize("properties", [[], ["-J-Dkeystore.pkcs12.legacy"]], ids=["now", "legacy"])
def test_keytool_copies_our_keystore_and_we_read_the_copy(
    directory: KeystoreDirectory, tmp_path: Path, keytool: str, properties: list[str]
) -> None:
    """findings P3: Java decrypts every key and encrypts it anew, in its version's way, or in that of JDK 8."""
    copy = tmp_path / "copy.p12"
    _keytool(
        *properties,
        "-importkeystore", "-noprompt", "-deststoretype", "PKCS12",
        "-srckeystore", directory.primary, *_opened(directory, "-srcstorepass:file"),
        "-destkeystore", copy, *_opened(directory, "-deststorepass:file"),
        program=keytool,
    )  # fmt: skip
    ours = {entry.alias: entry.key for entry in directory.load().entries}
    theirs = pkcs12.parse(copy.read_bytes(), _password(directory))
    assert {entry.alias: entry.key for entry in theirs} == ours


def test_a_keystore_of_keytool_is_read_and_its_key_added_to_ours(
    directory: KeystoreDirectory, tmp_path: Path
) -> None:
    foreign = tmp_path / "foreign.p12"
    _keytool(
        "-genseckey", "-alias", "Brought-Along", "-keyalg", "AES", "-keysize", "256",
        "-storetype", "PKCS12", "-keystore", foreign, *_opened(directory),
    )  # fmt: skip
    (entry,) = pkcs12.parse(foreign.read_bytes(), _password(directory))
    assert entry.alias == "brought-along"
    _keytool(
        "-importkeystore", "-noprompt",
        "-srckeystore", foreign, *_opened(directory, "-srcstorepass:file"),
        "-destkeystore", directory.primary, *_opened(directory, "-deststorepass:file"),
    )  # fmt: skip
    directory.primary.chmod(0o600)
    keystore = directory.load()
    assert set(keystore.aliases) == {"master-key-1", "master-key-2", "brought-along"}
    assert keystore.master_key("brought-along") == entry.key


def test_an_entry_added_by_keytool_stays_through_our_changes(
    directory: KeystoreDirectory,
) -> None:
    _keytool(
        "-genseckey", "-alias", "second", "-keyalg", "AES", "-keysize", "256",
        "-keystore", directory.primary, *_opened(directory),
    )  # fmt: skip
    directory.primary.chmod(0o600)
    key = directory.load().master_key("second")
    directory.add_alias("master-key-3", rng.new_key(), created_at=_NOW)
    assert directory.load().master_key("second") == key
    assert "contains 4 entries" in _keytool(
        "-list", "-keystore", directory.primary, *_opened(directory)
    )


@pytest.mark.parametrize(
    ("algorithm", "why"),
    [
        (["AES", "-keysize", "128"], "16 bytes instead of 32"),
        (["HmacSHA256", "-keysize", "256"], "for AES"),
    ],
)
def test_secret_keys_of_another_kind_are_refused(
    directory: KeystoreDirectory, algorithm: list[str], why: str
) -> None:
    _keytool(
        "-genseckey", "-alias", "other", "-keyalg", *algorithm,
        "-keystore", directory.primary, *_opened(directory),
    )  # fmt: skip
    with pytest.raises(KeystoreError, match=why):
        pkcs12.parse(directory.primary.read_bytes(), _password(directory))


def test_a_keystore_with_a_certificate_is_refused_and_not_stripped(
    directory: KeystoreDirectory,
) -> None:
    _keytool(
        "-genkeypair", "-alias", "pair", "-keyalg", "EC", "-dname", "CN=x",
        "-keystore", directory.primary, *_opened(directory),
    )  # fmt: skip
    with pytest.raises(
        KeystoreError, match=r"of another kind: it (holds certificates|does not say)"
    ):
        pkcs12.parse(directory.primary.read_bytes(), _password(directory))


def test_keytool_refuses_the_wrong_password(directory: KeystoreDirectory, tmp_path: Path) -> None:
    """K-05: whoever has the file alone has nothing."""
    wrong = tmp_path / "wrong"
    wrong.write_bytes(b"wrong password")
    ran = subprocess.run(
        ["keytool", "-list", "-keystore", directory.primary, "-storepass:file", wrong],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ran.returncode != 0
    assert "integrity check" in ran.stdout.lower()
