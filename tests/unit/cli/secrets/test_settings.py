"""`tsm settings` in this process: options, words, exit codes, and ten inputs that are refused (C-12 … C-19, P7, P8, P10)."""

import io
import json
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from strongroom.cli import dispatch
from strongroom.config import versions
from strongroom.crypto import age
from strongroom.crypto.age import SealTo
from strongroom.node.opening import Node
from tests.support.small_node import create_small_node

KEY, OTHER = age.new_identity(), age.new_identity()
SEALED = age.seal(b'{"configKeys": {}}', SealTo((KEY.recipient,)))
SMTP = "svcmonitor.notification.smtp.password"


class Said(NamedTuple):
    """What a command said."""

    code: int
    out: str
    err: str


Run = Callable[..., Said]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    made = create_small_node(tmp_path_factory.mktemp("small"))
    made.configuration.set(SMTP, "applied", actor="os:test")
    made.configuration.apply(actor="os:test")
    yield made
    made.close()


@pytest.fixture
def run(
    node: Node,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Iterator[Run]:
    """Runs `tsm settings …` beside the files of a test."""
    monkeypatch.chdir(tmp_path)
    Path("right").write_text("correct horse\n")
    Path("key").write_bytes(KEY.text.reveal())
    Path("other").write_bytes(OTHER.text.reveal())

    def call(*words: str, stdin: bytes = b"") -> Said:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = dispatch.main("tsm", ["settings", *words, "--data-dir", str(node.paths.root)])
        return Said(code, *capsys.readouterr())

    yield call
    node.configuration.discard()


# ---- out -----------------------------------------------------------------------------------------


def test_a_plain_export_warns_and_is_private(run: Run) -> None:
    """C-14: as the seeds have it, and it says so."""
    said = run("export", "-f", "out.json")
    assert (said.code, said.out) == (0, "")
    assert "warning: 18 secrets go to out.json in plain text" in said.err
    assert "18 keys exported to out.json" in said.err
    assert json.loads(Path("out.json").read_bytes())["configKeys"][SMTP] == "applied"
    assert stat.S_IMODE(Path("out.json").stat().st_mode) == 0o600


def test_an_export_tells_of_what_is_pending(node: Node, run: Run) -> None:
    """Else a setting that was made, and not applied, would be missed later."""
    node.configuration.set("service.jmx_enabled", "true", actor="os:test")
    said = run("export", "-f", "out.json", "--no-secrets")
    assert said.err.endswith("pending changes are not in it: what is not applied is not exported\n")
    assert json.loads(Path("out.json").read_bytes())["configKeys"] == {}


def test_an_export_without_secrets_warns_of_nothing(run: Run) -> None:
    said = run("export", "--output-config-file", "out.json", "--no-secrets")
    assert (said.code, said.err) == (0, "0 keys exported to out.json, 0 of them secrets\n")


def test_a_sealed_export_is_imported_again(run: Run) -> None:
    """P7, C-18; passphrases, which cost seconds, are tested with the real age (tests/interop)."""
    said = run("export", "-f", "out.age", "--recipient", KEY.recipient)
    assert (said.code, said.err) == (0, "18 keys exported to out.age, 18 of them secrets\n")
    assert age.is_sealed(Path("out.age").read_bytes())
    said = run("import", "-f", "out.age", "--identity", "key")
    assert said.code == 0, said.err
    assert "nothing in it differs, nothing was changed" in said.err


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("-f", "x", "--no-secrets", "--passphrase-file", "right"), "--no-secrets leaves nothing"),
        (("-f", "-"), "secrets are not printed"),
        (("-f", "none/x"), "there is no folder none"),
        (("-f", "link"), "neither a file nor a named pipe"),
        (("-f", "x", "--recipient", "age1nobody"), "no age recipient"),
    ],
    ids=["nothing to seal", "stdout", "folder", "link", "recipient"],
)
def test_an_export_that_is_refused_opens_no_secret(
    node: Node, run: Run, words: tuple[str, ...], why: str
) -> None:
    Path("link").symlink_to("elsewhere")
    before = node.paths.events.read_bytes()
    said = run("export", *words)
    assert said.code == 2
    assert why in said.err
    assert node.paths.events.read_bytes() == before
    assert not Path("x").exists()


# ---- in ------------------------------------------------------------------------------------------


def test_an_import_is_quiet_about_what_does_not_change(run: Run) -> None:
    """Findings F6."""
    Path("in.json").write_text(json.dumps({"configKeys": {SMTP: "applied"}}))
    assert run("import", "-f", "in.json").out == "1 key unchanged\n"
    assert run("import", "-f", "in.json", "--verbose").out == f"{SMTP}: unchanged\n"


def test_an_import_reports_every_key(node: Node, run: Run) -> None:
    """C-19, 3.5."""
    text = json.dumps({"configKeys": {"gateway.timeout": "900", SMTP: "applied"}})
    Path("in.json").write_text(text)
    node.configuration.set("service.jmx_enabled", "true", actor="os:test")
    said = run("import", "-f", "in.json")
    assert (said.code, said.out) == (0, "gateway.timeout: accepted\n1 key unchanged\n")
    read = f"{len(text)} bytes read from in.json"
    assert said.err == (
        f"{read}: 1 setting imported as pending changes\n"
        "1 more were pending before, and stay\n"
        "run 'tsm pending-changes apply' to bring them into force\n"
    )


@pytest.mark.parametrize("key", ["a\nb", "\ud800", "\x1b[2J"], ids=["line", "surrogate", "escape"])
def test_names_that_cannot_be_shown(run: Run, key: str) -> None:
    """A report is safe to print, whatever the file holds."""
    text = json.dumps({"configKeys": {key: "1", SMTP: "other"}}).encode()
    said = run("import", "-f", "-", "--json", stdin=text)
    assert said.code == 2
    rows = {row["key"]: row["outcome"] for row in json.loads(said.out)}
    assert rows == {repr(key): "refused", SMTP: "accepted"}
    plain = run("import", "-f", "-", stdin=text)
    assert f"{key!r}: refused: this is no key's name" in plain.out


def test_an_empty_import_changes_nothing_and_says_so(node: Node, run: Run) -> None:
    said = run("import", "-f", "-", stdin=b'{"configKeys": {}}')
    assert (said.code, said.out) == (0, "")
    assert "18 bytes read from -: nothing in it differs, nothing was changed" in said.err
    assert node.coordinator.get(versions.PENDING) is None


def test_parts_and_force(run: Run) -> None:
    """`--config-only`, `--topology-only`, `--force-keys`."""
    topology: dict[str, object] = {"nodes": {"node9": {"services": {}}}}
    text = json.dumps({"configKeys": {"made.up": "1"}, "topologyVersion": topology}).encode()
    assert run("import", "-f", "-", stdin=text).code == 2
    assert run("import", "-f", "-", "--topology-only", "-frc", stdin=text).code == 2
    assert run("import", "-f", "-", "--config-only", stdin=text).code == 2
    said = run("import", "-f", "-", "--config-only", "--force-keys", stdin=text)
    assert (said.code, said.out) == (0, "made.up: accepted\n")


#: input, options, exit code, words: each a message of its own
INPUTS: dict[str, tuple[bytes, tuple[str, ...], int, str]] = {
    "empty": (b"", (), 21, "0 bytes read from in: they are empty"),
    "cut": (b'{"configKeys": {"a": "b', (), 21, "23 bytes read from in: they end too early"),
    "not text": (b"\x00\xff" * 50, (), 21, "100 bytes read from in: they are no text in UTF-8"),
    "gpg": (b"\x8c\x0d\x04\x09" * 9, (), 21, "they are an OpenPGP message, still encrypted"),
    "yaml": (b"gateway.timeout: 900\n", (), 21, "they are no JSON: Expecting value at line 1"),
    "foreign": (b'{"kind": "Secret"}', (), 21, "this is JSON, but no settings: 'kind' is none"),
    "twice": (b'{"configKeys": {"a": "1", "a": "2"}}', (), 21, "'a' stands twice in them"),
    "a list": (b"[1, 2]", (), 21, "they are JSON, but no object"),
    "too deep": (b"[" * 50 + b"]" * 50, (), 21, "they have more than 12 levels"),
    "sealed": (SEALED, (), 2, "they are sealed with age"),
    "wrong identity": (SEALED, ("--identity", "other"), 20, "authentication failed"),
    "cut seal": (SEALED[:60], ("--identity", "key"), 21, "the age file ends too early"),
    "not sealed": (b'{"configKeys": {}}', ("--identity", "key"), 2, "they are not sealed"),
    "obsolete": (
        b'{"configKeys": {"maestro.servicepassword": "ENC(x)"}}',
        ("--force-keys",),
        2,
        "1 of 1 setting refused",
    ),
    "foreign secret": (
        b'{"configKeys": {"redis.password": "ENC(AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA)"}}',
        ("--force-keys",),
        2,
        "1 of 1 setting refused",
    ),
    "keystore": (b"0\x82\x05\xf1\x02\x01\x03", (), 21, "7 bytes read from in: they are no text"),
}


@pytest.mark.parametrize(("data", "options", "code", "words"), INPUTS.values(), ids=INPUTS.keys())
def test_damaged_and_foreign_inputs_change_nothing(
    node: Node,
    run: Run,
    data: bytes,
    options: tuple[str, ...],
    code: int,
    words: str,
) -> None:
    """Must show 4: each refused in its own words, with the count of its bytes; pending state byte-identical."""
    node.configuration.set("service.jmx_enabled", "true", actor="os:test")
    before = [node.coordinator.get(key) for key in (versions.CURRENT, versions.PENDING)]
    events = node.paths.events.read_bytes()
    Path("in").write_bytes(data)
    said = run("import", "-f", "in", *options)
    assert said.code == code, said.err
    assert words in said.err
    assert f"{len(data)} bytes read from in" in said.err
    assert "nothing was changed" in said.err
    assert [node.coordinator.get(key) for key in (versions.CURRENT, versions.PENDING)] == before
    assert node.paths.events.read_bytes() == events
