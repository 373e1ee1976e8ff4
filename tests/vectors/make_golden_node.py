"""Makes a golden data directory: a node of one revision with content, as a tar archive with its facts beside it.

It uses that revision's commands and the real TSC, and nothing of strongroom's own code, so any revision can run it:
`.venv/bin/python -m tests.vectors.make_golden_node tests/vectors/nodes/0.1.0`. The archive is made once, when a
revision is released or its formats are about to change, and never again: what later revisions must open is what *that*
revision wrote.
Its passwords and keys protect nothing: all of it is published.
"""

import hashlib
import io
import json
import os
import random
import signal
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

BIN = Path(sys.executable).parent
PASSWORD = "golden correct horse"
PASSPHRASE = "golden backup passphrase"
MAGIC = b"Hyper\x08\x00\x00\x01\x00"
SECRETS = {"redis.password": "golden-redis-password", "pgsql.adminpassword": "golden-pg-password"}


class Golden:
    """The node while it is made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "node"
        self.kit = folder / "kit"
        self.facts: dict[str, Any] = {"password": PASSWORD, "passphrase": PASSPHRASE}

    def run(self, *words: str, stdin: str = "") -> str:
        """What one command prints."""
        variables = {**os.environ, "STRONGROOM_HOME": str(self.home), "HOME": str(self.folder)}
        done = subprocess.run(
            [str(BIN / words[0]), *words[1:]],
            cwd=self.folder,
            env=variables,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"{words}: {done.returncode}: {done.stderr}")
        return done.stdout

    def ask(self, *words: str) -> Any:
        """The JSON of one command."""
        return json.loads(self.run(*words, "--json"))

    def file(self, name: str, text: str) -> str:
        """A small private file."""
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_text(text)
        return name

    @contextmanager
    def serving(self) -> Iterator[str]:
        """The node's server and its URL."""
        variables = {**os.environ, "STRONGROOM_HOME": str(self.home), "HOME": str(self.folder)}
        process = subprocess.Popen(
            [str(BIN / "strongroom"), "serve", "--host", "127.0.0.1", "--port", "0"],
            cwd=self.folder,
            env=variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            assert process.stdout is not None
            yield process.stdout.readline().split()[-1]
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)

    def make(self) -> None:
        """Everything, in the order in which an administrator does it."""
        self.file("password", PASSWORD + "\n")
        self.file("passphrase", PASSPHRASE + "\n")
        shares = ["--recovery-shares", "2/3", "--recovery-dir", "kit"]
        self.run(
            "strongroom", "init", "--admin", "admin", "--admin-password-file", "password", *shares
        )
        for key, value in SECRETS.items():
            self.run(
                "tsm", "configuration", "set", "-k", key, "--value-file", self.file("value", value)
            )
        self.run("tsm", "pending-changes", "apply", "--ignore-prompt")
        with self.serving() as url:
            self.content(url)
        self.later()

    def content(self, url: str) -> None:
        """Sites of each mode with extracts, under two MEKs; users; a token; an ended job of each kind."""
        for name, mode in (("Sealed", "enforced"), ("Chosen", "enabled"), ("Plain", "disabled")):
            self.run("strongroom", "sites", "create", name, "--mode", mode)
        self.run("strongroom", "users", "create", "ann", "--password-file", "password")
        self.run("strongroom", "users", "set-role", "ann", "Creator", "--site", "Sealed")
        self.facts["token"] = self.run(
            "strongroom", "tokens", "create", "nightly", "--user", "ann"
        ).split()[-1]
        self.facts["items"] = self.publish(url, "Sealed", 3) + self.publish(url, "Plain", 1)
        self.run("tsm", "security", "kms", "rotate")
        self.facts["items"] += self.publish(url, "Chosen", 1)
        self.run(
            "strongroom", "extracts", "reencrypt", "--site", "Sealed", "--item", "sealed0", "--wait"
        )
        self.run("strongroom", "extracts", "encrypt", "--site", "Chosen", "--wait")
        self.run("tsm", "security", "regenerate-internal-tokens")

    def publish(self, url: str, site: str, count: int) -> list[dict[str, str]]:
        """Data sources, and one workbook with embedded credentials."""
        import tableauserverclient as tsc

        server = tsc.Server(url, use_server_version=True)
        items = []
        with server.auth.sign_in(tsc.TableauAuth("admin", PASSWORD, site.lower())):
            project = next(
                one for one in tsc.Pager(server.projects) if one.name.lower() == "default"
            )
            for number in range(count):
                path = self.folder / f"{site.lower()}{number}.hyper"
                path.write_bytes(MAGIC + random.Random(path.name).randbytes(16_000 + 700 * number))
                item = server.datasources.publish(
                    tsc.DatasourceItem(project.id, name=path.stem), str(path), "CreateNew"
                )
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                items.append(
                    {
                        "site": site,
                        "id": item.id,
                        "name": path.stem,
                        "sha256": digest,
                        "kind": "datasource",
                    }
                )
            if site == "Sealed":
                items.append(self.workbook(server, project.id, site))
        return items

    def workbook(self, server: Any, project_id: str, site: str) -> dict[str, str]:
        """A packaged workbook whose connection has a password."""
        import tableauserverclient as tsc

        path = self.folder / "book.twbx"
        with zipfile.ZipFile(path, "w") as packed:
            packed.writestr("book.twb", "<workbook/>")
            packed.writestr("Data/book.hyper", MAGIC + random.Random("book").randbytes(5_000))
        connection = tsc.ConnectionItem()
        connection.server_address, connection.server_port = "db.example", "5432"
        connection.connection_credentials = tsc.ConnectionCredentials(
            "ann", "golden-db-password", embed=True
        )
        item = server.workbooks.publish(
            tsc.WorkbookItem(project_id, name="book"),
            str(path),
            "CreateNew",
            connections=[connection],
        )
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        return {"site": site, "id": item.id, "name": "book", "sha256": digest, "kind": "workbook"}

    def later(self) -> None:
        """What lies outside the store: a sealed file, an archived log, a backup, settings, a bootstrap file."""
        (self.folder / "loose").write_bytes(b"loose " * 4_000)
        self.run("strongroom", "encrypt", "loose", "loose.sealed")
        self.run("strongroom", "events", "archive", "--reason", "golden")
        self.run(
            "tsm", "maintenance", "backup", "--file", "golden", "--passphrase-file", "passphrase"
        )
        self.run(
            "tsm",
            "settings",
            "export",
            "--output-config-file",
            "settings.json",
            "--passphrase-file",
            "passphrase",
        )
        self.run(
            "tsm",
            "topology",
            "nodes",
            "get-bootstrap-file",
            "--file",
            "bootstrap.json",
            "--passphrase-file",
            "passphrase",
        )
        self.run("tsm", "configuration", "set", "-k", "backgrounder.log.level", "-v", "debug")
        self.facts["secrets"] = {
            name: self.run(
                "tsm", "configuration", "get", "-k", name, "--reveal-key-material"
            ).strip()
            for name in SECRETS
        }
        self.facts["kms"] = self.ask("tsm", "security", "kms", "status")
        self.facts["keystore"] = self.ask("tsm", "security", "keystore", "show")
        self.facts["loose_sha256"] = hashlib.sha256(b"loose " * 4_000).hexdigest()
        self.facts["events"] = len(self.ask("strongroom", "events", "list"))

    def pack(self, target: Path) -> None:
        """The archive and the facts."""
        (self.home / "tabsvc" / "logs").mkdir(exist_ok=True)
        names = ["node", "kit", "loose.sealed", "settings.json", "bootstrap.json"]
        memory = io.BytesIO()
        with tarfile.open(fileobj=memory, mode="w:xz", preset=9) as archive:
            for name in names:
                archive.add(self.folder / name, name, filter=_anonymous)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.with_name(target.name + ".tar.xz").write_bytes(memory.getvalue())
        target.with_name(target.name + ".json").write_text(json.dumps(self.facts, indent=1) + "\n")


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Without the maker's user, and without sockets."""
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry if entry.isdir() or entry.isfile() or entry.issym() or entry.islnk() else None


def main(target: str) -> None:
    """Make the node and pack it."""
    with tempfile.TemporaryDirectory(prefix="golden-") as name:
        golden = Golden(Path(name))
        golden.make()
        golden.pack(Path(target).absolute())


if __name__ == "__main__":
    main(sys.argv[1])
