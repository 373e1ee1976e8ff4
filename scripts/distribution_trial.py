"""Installs the wheels of both distributions in fresh environments, and tries them against each other (`make dist`)."""

import os
import subprocess
import sys
import tomllib
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

#: `cryptography` with its binding of OpenSSL, and what pip puts into each environment.
_MAY_BE_LOADED = {"cryptography", "_cffi_backend", "_openssl", "_distutils_hack", "sitecustomize"}
_CLIENT = """
import sys
import strongroom_client as client

home, url, secret = sys.argv[1], sys.argv[2], client.SecretBytes(sys.stdin.buffer.read().strip())
local = client.NodeKeyService(home)
with client.HttpKeyService(url, client.Password("admin", secret)) as remote:
    assert client.decrypt_file("sealed", "by-client", local) == 10000
    with client.create_file("by-client-sealed", remote) as new:
        new.write(open("by-client", "rb").read())
    with client.open_file("by-client-sealed", local) as one, client.open_file("sealed", remote) as other:
        assert one.read() == other.read() == open("plain", "rb").read()
loaded = {name.partition(".")[0] for name in sys.modules}
foreign = loaded - set(sys.stdlib_module_names) - {"__main__", "strongroom_client"}
print(" ".join(foreign))
"""


def prove(wheels: Path, place: Path, version: str) -> None:
    """Install and run both: a node is made, and what each program encrypts comes back through the other.

    Args:
        wheels: Where the wheels lie.
        place: A folder for everything that is made.
        version: Of both.

    Raises:
        SystemExit: Something is not as it should be, said in words.
    """
    server = _environment(place / "server", wheels / f"strongroom-{version}-py3-none-any.whl")
    everything = next(path for path in sys.path if (Path(path) / "cryptography").is_dir())
    # behind the wheel, and without the links in it: one of them would lead to the working tree
    (_packages(server) / "lent.pth").write_text(f"{everything}\n")
    name = "strongroom_client"
    client = _environment(place / "client", wheels / f"{name}-{version}-py3-none-any.whl")
    _lend(client, "strongroom-client")
    run(client / "python", "-m", "pip", "--disable-pip-version-check", "check", cwd=place)
    for commands, package in ((server, "strongroom"), (client, name)):
        say = f"import {package}; print({package}.__file__)"
        where = run(commands / "python", "-c", say, cwd=place).strip()
        if not Path(where).is_relative_to(commands.parent):
            raise SystemExit(f"the wheel of {package} is not what runs: {where}")
    _use(server, client, place, version)


def _environment(folder: Path, wheel: Path) -> Path:
    """An environment with the wheel in it and none of the packages that it needs; the folder of its commands."""
    venv.create(folder, with_pip=True, symlinks=True)
    python = folder / "bin" / "python"
    options = ("--quiet", "--disable-pip-version-check", "install", "--no-index", "--no-deps")
    run(python, "-m", "pip", *options, wheel, cwd=folder)
    return python.parent


def _packages(commands: Path) -> Path:
    say = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return Path(run(commands / "python", "-c", say, cwd=commands).strip())


def _lend(commands: Path, name: str) -> None:
    """Link the packages that a distribution needs into its environment, and those that they need: no other one."""
    target = _packages(commands)
    there = Path(__file__).resolve().parent.parent / "clients" / "pyproject.toml"
    waiting = [*tomllib.loads(there.read_text())["project"]["dependencies"]]
    seen = {name}
    while waiting:
        needed = _bare(waiting.pop())
        if needed in seen:
            continue
        seen.add(needed)
        found = metadata.distribution(needed)
        for top in sorted({path.parts[0] for path in found.files or () if path.parts[0] != ".."}):
            if not (target / top).exists() and top != "__pycache__":
                (target / top).symlink_to(str(found.locate_file(top)))
        waiting += [one for one in found.requires or () if "extra ==" not in one]


def _bare(requirement: str) -> str:
    """The name in a requirement such as `cffi>=2.0.0; platform_python_implementation != 'PyPy'`."""
    name = requirement.partition(";")[0]
    for sign in "<>=!~[ (":
        name = name.partition(sign)[0]
    return name.strip()


def _use(server: Path, client: Path, place: Path, version: str) -> None:
    for words in (("strongroom", "--version"), ("tsm", "version")):
        said = run(server / words[0], *words[1:], cwd=place)
        if version not in said:
            raise SystemExit(f"{' '.join(words)} says {said!r}, not {version}")
    (place / "password").write_text("correct horse battery\n")
    (place / "plain").write_bytes(b"some bytes" * 1000)
    node = {"STRONGROOM_HOME": str(place / "node"), "HOME": str(place)}
    strongroom, tsm = server / "strongroom", server / "tsm"
    options = ("init", "--admin", "admin", "--admin-password-file", "password")
    run(strongroom, *options, cwd=place, **node)
    run(strongroom, "encrypt", "plain", "sealed", cwd=place, **node)
    run(tsm, "configuration", "set", "-k", "gateway.data_keys", "-v", "true", cwd=place, **node)
    run(tsm, "pending-changes", "apply", "--ignore-prompt", cwd=place, **node)
    with _served(strongroom, place, node) as url:
        arguments = ("-c", _CLIENT, place / "node", url)
        secret = (place / "password").read_text()
        loaded = run(client / "python", *arguments, cwd=place, stdin=secret).strip()
    if not set(loaded.split()) <= _MAY_BE_LOADED:
        raise SystemExit(f"the client library imports more than it should: {loaded}")
    run(strongroom, "decrypt", "by-client-sealed", "again", cwd=place, **node)
    if (place / "again").read_bytes() != (place / "plain").read_bytes():
        raise SystemExit("what was encrypted is not what comes back")


@contextmanager
def _served(strongroom: Path, place: Path, node: dict[str, str]) -> Iterator[str]:
    """The node's address, while it is served."""
    process = subprocess.Popen(
        [strongroom, "serve", "--host", "127.0.0.1", "--port", "0"],
        cwd=place,
        env=_variables(node),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        line = process.stdout.readline() if process.stdout is not None else ""
        if not line.startswith("ready: "):
            raise SystemExit(f"the server that was installed does not start: {line!r}")
        yield line.removeprefix("ready: ").strip()
    finally:
        process.terminate()
        process.communicate()


def _variables(more: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | more


def run(*command: str | Path, cwd: Path, stdin: str = "", **variables: str) -> str:
    """What a command prints; it ends the script when it fails."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env=_variables(variables),
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        words = " ".join(map(str, command))
        raise SystemExit(f"{words}: exit code {done.returncode}\n{done.stdout}")
    return done.stdout
