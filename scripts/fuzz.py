"""Fuzzes every parser of bytes that others may have written: `make fuzz`.

A parser may refuse its input by one of our own errors, and by nothing else; what it accepts must serialise to the same
bytes where its format is canonical. Each target runs in a process of its own, for it ends by a limit of time. A finding is
written to `fuzz-findings/` and belongs, with a test, among the vectors.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FINDINGS = ROOT / "fuzz-findings"
_INSTALLATION = "6f6b1c1e-3f0a-4b52-9f0d-111111111111"
_LONGEST = 16_384

Target = tuple[Callable[[bytes], None], Callable[[], list[bytes]]]


def envelope_header() -> Target:
    """The header page of an encrypted file; half of the inputs with checksums that fit."""
    import base64
    import json
    import zlib

    from strongroom.envelope import page_1, pages
    from strongroom.system.crc32c import crc32c

    def with_checksums(page: bytes) -> bytes:
        made = bytearray(page)
        for offset in page_1.SLOT_OFFSETS:
            record = page[offset : offset + 156]
            made[offset + 156 : offset + 160] = crc32c(record).to_bytes(4, "big")
        return bytes(made)

    def run(data: bytes) -> None:
        page = data[: page_1.HEADER_BYTES].ljust(page_1.HEADER_BYTES, b"\0")
        if len(data) % 2:
            page = with_checksums(page)
        parsed = pages.parse(page)
        if not parsed.damaged and pages.serialize(parsed) != page:
            raise AssertionError("accepted a header page that is not canonical")

    def seeds() -> list[bytes]:
        text = (ROOT / "tests" / "vectors" / "envelope" / "envelope.json").read_text()
        vectors = json.loads(text)
        return [
            zlib.decompress(base64.b64decode(vector["file"]))[: page_1.HEADER_BYTES]
            for vector in vectors["good"] + vectors["bad"]
        ]

    return run, seeds


def envelope_header_2() -> Target:
    """The two blocks of a header of format 2; half of the inputs with digests that fit."""
    import base64
    import hashlib
    import json
    import zlib

    from strongroom.envelope import page_2, pages
    from strongroom.envelope.header import BLOCK_BYTES, FORMAT_2

    def with_digests(page: bytes) -> bytes:
        blocks = (page[start : start + BLOCK_BYTES - 32] for start in (0, BLOCK_BYTES))
        return b"".join(block + hashlib.sha256(block).digest() for block in blocks)

    def run(data: bytes) -> None:
        page = data[: page_2.HEADER_BYTES].ljust(page_2.HEADER_BYTES, b"\0")
        if len(data) % 2:
            page = with_digests(page)
        parsed = pages.parse(page)
        is_whole = parsed.prelude.format == FORMAT_2 and not parsed.damaged
        if is_whole and pages.serialize(parsed) != page:
            raise AssertionError("accepted a header that is not canonical")

    def seeds() -> list[bytes]:
        text = (ROOT / "tests" / "vectors" / "envelope" / "envelope_2.json").read_text()
        vectors = json.loads(text)
        return [
            zlib.decompress(base64.b64decode(vector["file"]))[: page_2.HEADER_BYTES]
            for vector in vectors["good"] + vectors["bad"]
        ]

    return run, seeds


def enc_value() -> Target:
    """The text of an encrypted configuration value of format 1, which only the upgrade reads."""
    from strongroom.crypto.secret import SecretBytes
    from strongroom.secrets import enc

    key = SecretBytes(bytes(range(32)))
    sample = enc.seal_value(key, _INSTALLATION, "a.password", b"value").encode()

    def run(data: bytes) -> None:
        enc.open_value(key, "a.password", data.decode("utf-8", "replace"))

    return run, lambda: [sample]


def enc_value_2() -> Target:
    """The text of an encrypted configuration value; nothing opens but what the key has sealed."""
    from strongroom.crypto.secret import SecretBytes
    from strongroom.secrets.committed import ValueKey

    key = ValueKey(_INSTALLATION, _INSTALLATION, SecretBytes(bytes(range(32))))
    samples = [key.seal("a.password", value).encode() for value in (b"", b"value")]

    def run(data: bytes) -> None:
        if key.open("a.password", data.decode("utf-8", "replace")) not in {b"", b"value"}:
            raise AssertionError("opened a value that nobody sealed")

    return run, lambda: samples


def pending_changes() -> Target:
    """The sealed pending transaction; nothing opens but what the key has sealed."""
    from strongroom.config import pending
    from strongroom.crypto.secret import SecretBytes

    key = SecretBytes(bytes(range(32)))
    made = pending.PendingChanges(7, 3, {"a.name": "text", "a.password": None})
    sample = made.seal(key, _INSTALLATION, _INSTALLATION)

    def run(data: bytes) -> None:
        pending.point_of_pending(data)
        if pending.open_pending(data, lambda _: key, _INSTALLATION) != made:
            raise AssertionError("opened a transaction that nobody sealed")

    return run, lambda: [sample]


def pkcs12() -> Target:
    """The keystore."""
    from strongroom.crypto.secret import SecretBytes
    from strongroom.keystore import pkcs12 as codec

    password = SecretBytes(b"password")

    def run(data: bytes) -> None:
        codec.parse(data, password)

    def seeds() -> list[bytes]:
        moment = datetime(2026, 11, 21, tzinfo=UTC)
        entry = codec.SecretKeyEntry("master-key-1", SecretBytes(bytes(32)), moment)
        return [codec.serialize([entry], password, iterations=1)]

    return run, seeds


def kms_store() -> Target:
    """The KMS store."""
    from strongroom.kms import store

    def run(data: bytes) -> None:
        if store.serialize(store.parse(data)) != data:
            raise AssertionError("accepted a store that is not canonical")

    return run, lambda: [one["store"].encode() for one in _told("linked_store")["chain"]]


def kms_store_1() -> Target:
    """The KMS store of format 1, which is read only."""
    from strongroom.canonical import to_base64
    from strongroom.kms import store_1

    def run(data: bytes) -> None:
        found = store_1.parse(data)
        if store_1.KIND.dumps({**store_1.fields(found), "mac": to_base64(found.mac)}) != data:
            raise AssertionError("accepted a store that is not canonical")

    return run, lambda: [path.read_bytes() for path in _vectors("kms")]


def anchor() -> Target:
    """The anchor."""
    from strongroom.coordination.anchor import parse

    def run(data: bytes) -> None:
        if parse(data).serialize() != data:
            raise AssertionError("accepted an anchor that is not canonical")

    return run, lambda: [_told("anchor")["document"].encode()]


def statement() -> Target:
    """A signed statement, by a key and an installation that are known."""
    from strongroom.crypto.statements import Origin, Purpose, opened

    told = _told("statements")
    genuine = [bytes.fromhex(one["statement"]) for one in told["good"]]
    origin, public = Origin(told["installation"]), bytes.fromhex(told["public"])

    def run(data: bytes) -> None:
        opened(data, public, origin, tuple(Purpose))
        if data not in genuine:
            raise AssertionError("took a statement that nobody signed")

    return run, lambda: genuine


def configuration() -> Target:
    """The configuration document."""
    from strongroom.config.document import ConfigDocument

    sample = ConfigDocument(
        version=1,
        installation_id=_INSTALLATION,
        configuration_key_id=_INSTALLATION,
        values={"a": "b"},
    )

    def run(data: bytes) -> None:
        if ConfigDocument.parse(data).serialize() != data:
            raise AssertionError("accepted a document that is not canonical")

    return run, lambda: [sample.serialize()]


def key_records() -> Target:
    """The configuration keys' file."""
    from strongroom.configuration_keys import generations, records
    from strongroom.configuration_keys.generations import KeyRecords
    from strongroom.crypto.secret import SecretBytes

    master_key = SecretBytes(bytes(32))

    def run(data: bytes) -> None:
        found = generations.parse(data, _INSTALLATION)
        generations.serialize_part(found.claimed, master_key)

    empty = KeyRecords(_INSTALLATION, _INSTALLATION, ())
    return run, lambda: [
        records.serialize(_INSTALLATION, ()),
        generations.serialize_part(empty, master_key),
    ]


def settings() -> Target:
    """Exported settings on their way in."""
    from strongroom.config import transfer

    sample = transfer.Settings({"a": "b"}, {}, transfer.topology_of({"node1": ["vizportal"]}))

    def run(data: bytes) -> None:
        parsed = transfer.parse(data)
        if transfer.parse(transfer.serialize(parsed)) != parsed:
            raise AssertionError("accepted settings that do not survive their own text")

    return run, lambda: [transfer.serialize(sample), b'{"configKeys": {"a": "1", "a": "2"}}']


def bootstrap_file() -> Target:
    """A node's bootstrap file."""
    import json
    from dataclasses import replace

    from strongroom.crypto.installation_identity import IdentityKey
    from strongroom.crypto.secret import SecretBytes
    from strongroom.crypto.statements import Origin
    from strongroom.joining import bootstrap_file as codec

    key = SecretBytes(bytes(range(32)))

    def run(data: bytes) -> None:
        claimed = codec.parse(data).claimed
        identity = IdentityKey(Origin(claimed.installation_id), key)
        again = codec.parse(codec.serialize(claimed, key, identity).reveal()).claimed
        if replace(again, identity=claimed.identity) != claimed:
            raise AssertionError("read a bootstrap file otherwise than it is written")

    def seeds() -> list[bytes]:
        found = []
        for name in ("bootstrap_file", *(f"bootstrap_file_{form}" for form in (2, 3, 4))):
            vectors = json.loads((ROOT / "tests" / "vectors" / f"{name}.json").read_text())
            found += vectors["good"] + [bad["file"] for bad in vectors["bad"]]
        return [one.encode() for one in found]

    return run, seeds


def request_xml() -> Target:
    """A request of tabcmd or TSC."""
    from strongroom.doors.tableau import xml

    def run(data: bytes) -> None:
        xml.parse_request(data)

    return run, lambda: [
        b"<tsRequest><site name='a'/></tsRequest>",
        b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>",
    ]


def request_json() -> Target:
    """The same of a client that speaks JSON."""
    from strongroom.doors.tableau import json_form

    def run(data: bytes) -> None:
        json_form.parse_request(data)

    return run, lambda: [
        b'{"site":{"name":"a","on":true,"n":7}}',
        b'{"users":{"user":[{"id":"1"}]}}',
    ]


def multipart() -> Target:
    """The body of a publish request."""
    from strongroom.doors.tableau import multipart as parser

    sample = (
        b'--B\r\ncontent-disposition: form-data; name="a"; filename="b"\r\n\r\nbytes\r\n--B--\r\n'
    )

    def run(data: bytes) -> None:
        for part in parser.read_parts(iter([data[:40], data[40:]]), b"B"):
            for _ in part.chunks():
                pass

    return run, lambda: [sample]


def package() -> Target:
    """A .tdsx or .twbx archive."""
    import io
    import zipfile

    from strongroom.extracts import packages

    def run(data: bytes) -> None:
        packages.inspect_package(io.BytesIO(data), len(data))

    def seeds() -> list[bytes]:
        made = io.BytesIO()
        with zipfile.ZipFile(made, "w") as archive:
            archive.writestr("Data/a.hyper", b"Hyper")
        return [made.getvalue()]

    return run, seeds


def vault_request() -> Target:
    """A plain request of the Vault door: what the short way takes, the parser reads as the same request and no other."""
    import httptools

    from strongroom.doors.vault import plain
    from strongroom.doors.vault.wire import parsed_body

    class Seen:
        def __init__(self) -> None:
            self.url, self.body, self.ends = b"", b"", 0
            self.headers: list[tuple[bytes, bytes]] = []

        def on_url(self, url: bytes) -> None:
            self.url += url

        def on_header(self, name: bytes, value: bytes) -> None:
            self.headers.append((name.lower(), value))

        def on_body(self, body: bytes) -> None:
            self.body += body

        def on_message_complete(self) -> None:
            self.ends += 1

    heads = plain.Heads()

    def run(data: bytes) -> None:
        found, again = heads.parsed(data, ""), heads.parsed(data, "")
        if found is None or again is None or again._replace(digest=found.digest) != found:
            if found is not again:
                raise AssertionError("a head that came again says something else")
            return
        seen = Seen()
        httptools.HttpRequestParser(seen).feed_data(data)
        told = dict(seen.headers)
        same = seen.url == b"/v1/" + found.path.encode() and seen.body == found.body
        if not same or seen.ends != 1 or told[b"x-vault-token"] != found.token.reveal():
            raise AssertionError("two parsers read two requests")
        parsed_body(found)

    line = b"POST /v1/transit/encrypt/k HTTP/1.1\r\nHost: x\r\nX-Vault-Token: hvs.a\r\n"
    seeds = [line + b'Content-Length: 18\r\n\r\n{"plaintext":"YQ"}']
    seeds.append(
        line + b"Accept: */*\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
    )
    seeds.append(line + b"Content-Length: 0\r\nAccept: */*\r\n\r\n")
    return run, lambda: seeds


TARGETS: dict[str, Callable[[], Target]] = {
    "vault-request": vault_request,
    "envelope-header": envelope_header,
    "envelope-header-2": envelope_header_2,
    "enc-value": enc_value,
    "enc-value-2": enc_value_2,
    "pending-changes": pending_changes,
    "pkcs12": pkcs12,
    "kms-store": kms_store,
    "kms-store-1": kms_store_1,
    "anchor": anchor,
    "statement": statement,
    "configuration": configuration,
    "key-records": key_records,
    "settings": settings,
    "bootstrap-file": bootstrap_file,
    "request-xml": request_xml,
    "request-json": request_json,
    "multipart": multipart,
    "package": package,
}


def fuzz(name: str, seconds: int) -> None:
    """Fuzz one target in this process; ends the process."""
    import atheris

    with atheris.instrument_imports(include=["strongroom"]):  # pyright: ignore[reportAttributeAccessIssue]
        from strongroom.errors import StrongroomError

        run, seeds = TARGETS[name]()

    def once(data: bytes) -> None:
        try:
            run(data)
        except StrongroomError:
            return

    FINDINGS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(seeds()):
            (Path(corpus) / str(number)).write_bytes(seed)
        options = [
            f"-max_total_time={seconds}",
            f"-max_len={_LONGEST}",
            "-timeout=5",
            "-rss_limit_mb=1024",
        ]
        prefix = f"-artifact_prefix={FINDINGS}/{name}-"
        atheris.Setup(
            [name, corpus, prefix, "-verbosity=0", "-print_final_stats=1", *options], once
        )
        atheris.Fuzz()


def _told(name: str) -> Any:
    return json.loads((ROOT / "tests" / "vectors" / f"{name}.json").read_text())


def _vectors(kind: str) -> Iterator[Path]:
    for path in sorted((ROOT / "tests" / "vectors").rglob("*")):
        if (
            path.is_file()
            and kind in path.as_posix()
            and path.suffix in {".bin", ".sealed", ".jks", ".p12"}
        ):
            yield path


def main() -> int:
    """Fuzz all targets, or the one that is named; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--target", choices=list(TARGETS))
    arguments = parser.parse_args()
    if arguments.target:
        fuzz(arguments.target, arguments.seconds)
        return 0
    failed = []
    for name in TARGETS:
        words = [
            sys.executable,
            "-m",
            "scripts.fuzz",
            "--target",
            name,
            "--seconds",
            str(arguments.seconds),
        ]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
        stats = [line for line in done.stderr.splitlines() if "number_of_executed_units" in line]
        runs = stats[0].split()[-1] if stats else "?"
        print(f"{'ok  ' if done.returncode == 0 else 'FAIL'} {name}: {runs} inputs", flush=True)
        if done.returncode:
            failed.append(name)
            print(done.stdout + done.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
