"""What the demo prints can be typed, and its sample is a real extract (findings D16, F2)."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from demo.clients import Clients
from demo.show import Story
from tests.support.servers import ROOT

ECHO = ("python", "-c", "import sys; print(len(sys.argv))")


@pytest.mark.parametrize("word", ["", "a b", "it's", "$HOME", "*", "plain"])
def test_a_command_is_printed_as_a_shell_takes_it(
    word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Findings D16: the empty name of the first site was printed as nothing, so that `-t` took the next word."""
    Clients(tmp_path, Story()).run(*ECHO, "-t", word, "-u", "admin")
    (printed,) = [
        line.removeprefix("  $ ") for line in capsys.readouterr().out.splitlines() if "  $ " in line
    ]
    assert shlex.split(printed) == [*ECHO, "-t", word, "-u", "admin"]
    typed = subprocess.run(
        ["sh", "-c", f"set -- {printed}; printf '%s\\0' \"$@\""],
        capture_output=True,
        text=True,
        check=True,
    )
    assert typed.stdout.split("\0")[3:-1] == ["-t", word, "-u", "admin"]


@pytest.mark.parametrize(("name", "begins"), [("f.hyper", b"Hyper"), ("f.parquet", b"PAR1")])
def test_the_sample_of_the_readme_is_a_real_extract(
    name: str, begins: bytes, tmp_path: Path
) -> None:
    """Findings F2: whoever has no extract at hand could try nothing; a second run replaces nothing."""
    command = [sys.executable, "-m", "demo.sample", str(tmp_path / name), "--rows", "100"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "100 flights" in done.stdout
    data = (tmp_path / name).read_bytes()
    assert data.startswith(begins)
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (again.returncode, "is there already" in again.stderr) == (2, True)
    assert (tmp_path / name).read_bytes() == data
