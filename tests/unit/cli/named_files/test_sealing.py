"""The options that seal and open: no secret on the command line, files read once and within bounds."""

import argparse
import io
import os
import threading
from pathlib import Path

import pytest

from strongroom.cli.named_files import sealing
from strongroom.crypto import age
from strongroom.errors import ConflictError, UsageError


def _parse_seal(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    sealing.add_seal_options(parser)
    return parser.parse_args(words)


def _parse_open(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    sealing.add_open_options(parser)
    return parser.parse_args(words)


def test_nothing_is_asked_for_by_default() -> None:
    assert sealing.seal_from(_parse_seal()).is_empty
    assert sealing.open_from(_parse_open()).is_empty


def test_recipients_are_checked_and_counted_once() -> None:
    one, two = age.new_identity().recipient, age.new_identity().recipient
    words = ["--recipient", one, "--recipient", two.upper(), "--recipient", one]
    assert sealing.seal_from(_parse_seal(*words)).recipients == (one, two)
    with pytest.raises(UsageError, match="no age recipient"):
        sealing.seal_from(_parse_seal("--recipient", "nobody"))


def test_the_line_of_the_file_is_the_passphrase(tmp_path: Path) -> None:
    """Findings K10: one rule for all small files, so a second line is refused here too."""
    file = tmp_path / "phrase"
    file.write_bytes(b"correct horse\r\n")
    sealed_to = sealing.seal_from(_parse_seal("--passphrase-file", str(file)))
    assert sealed_to.passphrase is not None
    assert sealed_to.passphrase.reveal() == b"correct horse"
    file.write_bytes(b"correct horse\nsecond\n")
    with pytest.raises(UsageError, match="more than one line"):
        sealing.open_from(_parse_open("--passphrase-file", str(file)))


def test_a_passphrase_comes_by_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"typed")))
    opened_with = sealing.open_from(_parse_open("--passphrase-file", "-"))
    assert opened_with.passphrase is not None
    assert opened_with.passphrase.reveal() == b"typed"


def test_identities_of_several_files_are_taken_together(tmp_path: Path) -> None:
    made = [age.new_identity() for _ in range(2)]
    words = []
    for place, identity in enumerate(made):
        file = tmp_path / str(place)
        file.write_bytes(b"# comment\n" + identity.text.reveal() + b"\n")
        words += ["--identity", str(file)]
    found = sealing.open_from(_parse_open(*words)).identities
    assert [one.recipient for one in found] == [one.recipient for one in made]


def test_a_pipe_is_read_once_to_its_end(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    identity = age.new_identity()
    writer = threading.Thread(target=pipe.write_bytes, args=(identity.text.reveal(),))
    writer.start()
    (found,) = sealing.open_from(_parse_open("--identity", str(pipe))).identities
    writer.join()
    assert found.recipient == identity.recipient


@pytest.mark.parametrize("is_there", [True, False])
def test_a_tokens_plugin_asks_whoever_sits_at_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *, is_there: bool
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: is_there, raising=False)
    monkeypatch.setattr("sys.stdin.readline", lambda: "yes\n", raising=False)
    monkeypatch.setattr("getpass.getpass", lambda _: "1234")
    prompts = sealing.TerminalPrompts()
    prompts.display_message("touch it")
    assert "touch it" in capsys.readouterr().err
    assert prompts.confirm("sure?", "yes", None) is (True if is_there else None)
    assert prompts.request_public_string("name") == ("yes" if is_there else None)
    assert prompts.request_passphrase("PIN") == ("1234" if is_there else None)


def test_a_short_passphrase_is_refused_before_anything_is_sealed(tmp_path: Path) -> None:
    """X10: one character sealed an RMK. Opening takes any, since older files were sealed to such a one."""
    file = tmp_path / "phrase"
    file.write_bytes(b"a\n")
    with pytest.raises(UsageError, match="at least 12 characters"):
        sealing.seal_from(_parse_seal("--passphrase-file", str(file)))
    opened_with = sealing.open_from(_parse_open("--passphrase-file", str(file)))
    assert opened_with.passphrase is not None


def test_a_new_passphrase_is_in_its_file_before_anything_is_sealed_to_it(tmp_path: Path) -> None:
    file = tmp_path / "phrase"
    sealed_to = sealing.seal_from(_parse_seal("--new-passphrase-file", str(file)))
    assert file.stat().st_mode & 0o777 == 0o600
    opened_with = sealing.open_from(_parse_open("--passphrase-file", str(file)))
    assert sealed_to.passphrase == opened_with.passphrase


def test_a_new_passphrase_replaces_no_other(tmp_path: Path) -> None:
    file, link = tmp_path / "phrase", tmp_path / "link"
    file.write_bytes(b"an older one, which an export needs\n")
    link.symlink_to("nowhere")
    with pytest.raises(ConflictError, match="exists already"):
        sealing.seal_from(_parse_seal("--new-passphrase-file", str(file)))
    with pytest.raises(UsageError):
        sealing.seal_from(_parse_seal("--new-passphrase-file", str(link)))
    assert file.read_bytes() == b"an older one, which an export needs\n"


def test_a_new_passphrase_goes_with_nothing_else_to_seal_to(tmp_path: Path) -> None:
    new, old = tmp_path / "new", tmp_path / "old"
    old.write_bytes(b"correct horse battery staple\n")
    others = (("--passphrase-file", str(old)), ("--recipient", age.new_identity().recipient))
    for other in others:
        with pytest.raises(UsageError, match="goes with neither"):
            sealing.seal_from(_parse_seal("--new-passphrase-file", str(new), *other))
    assert not new.exists()


def test_a_new_passphrase_goes_through_a_pipe(tmp_path: Path) -> None:
    pipe, got = tmp_path / "pipe", bytearray()
    os.mkfifo(pipe, 0o600)
    reader = threading.Thread(target=lambda: got.extend(pipe.read_bytes()))
    reader.start()
    sealed_to = sealing.seal_from(_parse_seal("--new-passphrase-file", str(pipe)))
    reader.join()
    assert sealed_to.passphrase is not None
    assert bytes(got) == sealed_to.passphrase.reveal() + b"\n"
