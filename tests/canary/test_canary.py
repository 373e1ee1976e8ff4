"""The canary scan (issue: "Must show" 4): unique secrets in every slot, the whole scenario, and then nothing may be found.

What may hold a secret is listed here and nowhere else:

- `configuration get`, `inspect --reveal-data-key`, `tokens create` and `decrypt` print what they were asked for: their
  output is not searched;
- the answer to a sign-in holds the session token of that sign-in, the answer to a download holds the downloaded file;
- the node's keystore password lies in its own file, `tabsvc/keystore/password`, and nowhere else;
- the clients' own files (password files, tabcmd's session file) are outside the node, in a folder that is not searched.
"""

import json
import re
import secrets
import socket
import zipfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from strongroom.crypto import age
from strongroom.secrets import catalog
from tests.canary import forms, planted_secrets, recorder
from tests.contract.doors.http.test_https import certificate
from tests.support.servers import ADMIN, PASSWORD, Answer, TestNode, create_node, serving

pytestmark = [pytest.mark.interop, pytest.mark.slow, pytest.mark.timeout(1200)]

SITE = "Vaulted"
DOWNLOADED = {"upload.hyper", "upload.chunked", "upload.tdsx"}


@dataclass
class Scenario:
    """What was planted, and all that could be seen."""

    node: TestNode
    planted: dict[str, bytes] = field(default_factory=dict)
    said: list[bytes] = field(default_factory=list)
    phases: dict[str, list[forms.Find]] = field(default_factory=dict)
    answers: bytes = b""
    arguments: set[bytes] = field(default_factory=set)

    @property
    def outside(self) -> Path:
        """The clients' folder."""
        return self.node.folder

    def plant(self, slot: str) -> str:
        self.planted[slot] = planted_secrets.canary(slot.replace(".", "-"))
        return self.planted[slot].decode()

    def run(self, *words: str | Path, stdin: str | None = None, check: bool = True) -> Answer:
        """Run a command whose output must not hold any secret."""
        answer = self.node.run(*words, stdin=stdin, check=check)
        self.said.append(answer.out.encode() + answer.err.encode())
        return answer

    def look(self, phase: str) -> None:
        """Search the node's files now."""
        self.phases[phase] = forms.search_files(self.node.home, self.planted)

    def plant_settings(self) -> None:
        """Every secret an administrator can set, and one known by its suffix only; certificates and key are real ones."""
        ca_file, https = certificate(
            self.outside / "https", passphrase=self.plant("ssl.key.passphrase")
        )
        https["ssl.chain.file_bytes"] = ca_file.read_text()
        for name, parameter in catalog.SECRETS.items():
            if name in https:
                self.planted[name] = planted_secrets.telling_part(https[name].encode())
                self.put(name, https[name])
            elif parameter.origin is catalog.SecretOrigin.ADMIN and not parameter.key_hierarchy:
                self.set(name)
        self.set("made.up.by.us.password", "--force-keys")

    def set(self, name: str, *options: str) -> None:
        self.put(name, self.plant(name), *options)

    def put(self, name: str, value: str, *options: str) -> None:
        words = ["configuration", "set", "-k", name, "--value-file", "-", *options]
        self.run("tsm", *words, stdin=value)

    def note_secrets(self) -> None:
        """What was made, as it is in memory: values of the configuration, and every key of the hierarchy."""
        self.planted |= planted_secrets.values_of(self.node.home)
        self.planted |= planted_secrets.keys_of(self.node.home)

    def client_file(self, name: str, text: str) -> Path:
        path = self.outside / name
        path.write_text(text)
        path.chmod(0o600)
        return path

    def make_uploads(self) -> None:
        import pantab
        import pyarrow as pa
        from pyarrow import parquet

        words = [self.plant("upload.hyper")] * 50
        pantab.frame_to_hyper(pa.table({"word": words}), self.outside / "plain.hyper", table="t")
        words = [self.plant("upload.chunked")] * 50 + [secrets.token_hex(500) for _ in range(3000)]
        parquet.write_table(
            pa.table({"word": words}), self.outside / "chunked.parquet", compression="none"
        )
        with zipfile.ZipFile(self.outside / "package.tdsx", "w") as package:
            package.writestr("package.tds", f"<datasource note='{self.plant('upload.tdsx')}'/>")
            package.write(self.outside / "plain.hyper", "Data/plain.hyper")

    def publish(self) -> None:
        """By both clients, in one part and in chunks, with embedded credentials."""
        self.node.login(SITE.lower())
        for file, name in (("plain.hyper", "plain"), ("package.tdsx", "package")):
            words = ["publish", file, "-n", name, "--overwrite", "--db-username", "someone"]
            self.run(
                "tabcmd",
                *words,
                "--db-password",
                self.plant(f"credentials.{name}"),
                "--save-db-password",
            )
        script = self.client_file("chunks.py", _CHUNKS)
        client: list[str | Path] = [self.node.url, SITE.lower(), ADMIN, self.node.password_file]
        self.run("python", script, *client, "chunked.parquet")
        self.cut_upload()

    def cut_upload(self) -> None:
        """A publish request that ends in the middle of the file."""
        parts = urlsplit(self.node.url)
        token, site = self.sign_in()
        head = f"POST /api/3.26/sites/{site}/datasources?datasourceType=hyper&overwrite=true HTTP/1.1\r\nhost: x\r\n"
        head += f"x-tableau-auth: {token}\r\ncontent-type: multipart/mixed; boundary=B\r\ncontent-length: 900000\r\n\r\n"
        body = "--B\r\ncontent-disposition: form-data; name=request_payload\r\n\r\n"
        body += "<tsRequest><datasource name='cut'/></tsRequest>\r\n"
        body += "--B\r\ncontent-disposition: form-data; name=tableau_datasource; filename=cut.hyper\r\n\r\n"
        text = (
            head.encode()
            + body.encode()
            + b"Hyper\x08\0\0\1\0"
            + self.plant("upload.cut").encode() * 5000
        )
        with socket.create_connection((parts.hostname or "", parts.port or 0)) as connection:
            connection.sendall(text)

    def sign_in(self) -> tuple[str, str]:
        """Past the recorder, for a token of our own."""
        import requests

        body = f'<tsRequest><credentials name="{ADMIN}" password="{PASSWORD}">'
        body += f'<site contentUrl="{SITE.lower()}"/></credentials></tsRequest>'
        answer = requests.post(f"{self.direct}/api/3.26/auth/signin", data=body, timeout=30).text
        found = re.search(
            r'credentials[^>]*token="([^"]+)".*?site[^>]* id="([^"]+)"', answer, re.DOTALL
        )
        assert found, answer
        self.planted[f"session.{len(self.planted)}"] = found.group(1).encode()
        return found.group(1), found.group(2)

    direct: str = ""


_CHUNKS = """
import os, sys
os.environ["TSC_FILESIZE_LIMIT_MB"] = "1"
os.environ["TSC_CHUNK_SIZE_MB"] = "1"
import tableauserverclient as tsc
url, site, user, password, file = sys.argv[1:]
server = tsc.Server(url, use_server_version=True)
with server.auth.sign_in(tsc.TableauAuth(user, open(password).read().strip(), site)):
    project = next(one for one in tsc.Pager(server.projects) if one.name.lower() == "default")
    item = tsc.DatasourceItem(project.id, name="chunked")
    item = server.datasources.publish(item, file, tsc.Server.PublishMode.Overwrite)
    for one in tsc.Pager(server.datasources):
        server.datasources.download(one.id, filepath=os.getcwd())
"""


def wrong_credentials(scenario: Scenario) -> None:
    """What was claimed must not be kept either."""
    file = scenario.client_file("wrong", scenario.plant("password.wrong") + "\n")
    words = ["-s", scenario.node.url, "-t", SITE.lower()]
    assert (
        scenario.run(
            "tabcmd", "login", *words, "-u", ADMIN, "--password-file", file, check=False
        ).code
        == 1
    )
    file = scenario.client_file("wrong-token", scenario.plant("token.wrong") + "\n")
    words += ["--token-name", "script", "--token-file", str(file)]
    assert scenario.run("tabcmd", "login", *words, check=False).code == 1


def token(scenario: Scenario) -> None:
    """A personal access token: printed once, allowed there."""
    made = scenario.node.run("strongroom", "tokens", "create", "script", "--user", ADMIN).last_word
    scenario.planted["token"] = made.encode()
    file = scenario.client_file("token", made + "\n")
    words: list[str | Path] = [
        "-s",
        scenario.node.url,
        "-t",
        SITE.lower(),
        "--token-name",
        "script",
        "--token-file",
        file,
    ]
    scenario.run("tabcmd", "login", *words)


def rotate(scenario: Scenario) -> None:
    """Every rotation, every job, each followed by the secrets it made."""
    words = ["--site", SITE, "--wait"]
    scenario.run("tsm", "security", "kms", "rotate")
    scenario.run("strongroom", "extracts", "rewrap", *words)
    scenario.run("tsm", "security", "regenerate-internal-tokens")
    scenario.note_secrets()
    scenario.run("strongroom", "extracts", "reencrypt", *words)
    for mek in scenario.node.run("tsm", "security", "kms", "status", "--json").json["meks"]:
        if mek["status"] == "decrypt-only":
            scenario.run("tsm", "security", "kms", "retire", mek["id"], "--yes")


def standalone(scenario: Scenario) -> None:
    """The envelope on a file, and its data key."""
    sealed = scenario.node.home / "sealed.bin"
    scenario.run("strongroom", "encrypt", "plain.hyper", sealed)
    shown = scenario.node.run("strongroom", "inspect", sealed, "--json", "--reveal-data-key").json
    scenario.planted["data key"] = bytes.fromhex(shown["data_key"])
    scenario.run("strongroom", "verify", sealed)
    scenario.run("strongroom", "rewrap", sealed)


def backup(scenario: Scenario) -> None:
    """A backup with its keys and the configuration sealed, while the server works, and a drill of it (A-24)."""
    made = age.new_identity()
    scenario.planted["backup identity"] = made.text.reveal()
    scenario.client_file("backup.key", made.text.reveal().decode() + "\n")
    words = ["-f", "canary", "--recipient", made.recipient, "--include-settings"]
    scenario.run("tsm", "maintenance", "backup", *words)
    scenario.run("tsm", "maintenance", "backup", "-f", "unsealed")
    opened = ["--identity", str(scenario.outside / "backup.key"), "--json"]
    scenario.run("strongroom", "backup", "verify", "canary", "--drill", *opened)


def restore(scenario: Scenario) -> None:
    """The same backup in the place of everything; a new RMK and a new MEK."""
    words = ["-f", "canary", "--ignore-prompt", "--identity", str(scenario.outside / "backup.key")]
    scenario.run("tsm", "maintenance", "restore", *words)
    scenario.note_secrets()


@pytest.fixture(scope="module")
def scenario(tmp_path_factory: pytest.TempPathFactory) -> Scenario:
    folder = tmp_path_factory.mktemp("canary")
    temporary = folder / "node-tmp"
    temporary.mkdir()
    node = create_node(folder)
    # whatever writes temporary files writes them where they are searched
    (node.home / "tmp").mkdir()
    node.environment["TMPDIR"] = str(node.home / "tmp")
    story = Scenario(node, {"password": PASSWORD.encode()})
    story.planted["keystore password"] = planted_secrets.keystore_password(node.home)
    with ExitStack() as stack:
        arguments = stack.enter_context(recorder.arguments())
        story.note_secrets()
        story.plant_settings()
        story.look("pending")
        story.run("tsm", "pending-changes", "list")
        story.run("tsm", "pending-changes", "apply", "--ignore-prompt")
        story.look("applied")
        stack.enter_context(serving(node))
        story.direct = node.url
        relay = stack.enter_context(recorder.recording(node.url))
        node.url = relay.url
        play(story)
        story.answers = relay.all()
        story.look("served")
        story.arguments = arguments.seen
    story.look("stopped")
    restore(story)
    story.look("restored")
    return story


def play(story: Scenario) -> None:
    """Everything that clients and administrators do while the server runs."""
    story.run("strongroom", "sites", "create", SITE)
    story.run("strongroom", "sites", "set-mode", SITE, "enforced")
    story.make_uploads()
    wrong_credentials(story)
    token(story)
    story.publish()
    standalone(story)
    rotate(story)
    backup(story)
    # allowed to print it; must leave an event, and no copy
    story.node.run("tsm", "configuration", "get", "-k", "redis.password")
    for words in (
        ("tsm", "configuration", "list"),
        ("tsm", "security", "kms", "status"),
        ("tsm", "security", "kms", "usage"),
        ("tsm", "security", "keystore", "show"),
        ("tsm", "status", "-v"),
        ("strongroom", "events", "verify"),
        ("strongroom", "jobs", "list"),
        ("strongroom", "extracts", "list", "--site", SITE),
    ):
        story.run(*words, check=False)


def is_wrapped_in_backup(find: forms.Find) -> bool:
    """A backup holds the KMS store without its outermost layer: RMK and MEKs in it are wrapped (A-24)."""
    return find.place.endswith(".tsbak") and find.secret.startswith("kms.persistent_store#")


@pytest.mark.parametrize("phase", ["pending", "applied", "served", "stopped", "restored"])
def test_no_secret_is_in_any_file_of_the_node(scenario: Scenario, phase: str) -> None:
    finds = forms.without(scenario.phases[phase], "keystore password", "tabsvc/keystore/password")
    finds = [find for find in finds if not is_wrapped_in_backup(find)]
    assert not finds, forms.describe(finds)


def test_every_slot_was_planted(scenario: Scenario) -> None:
    admin = [one for one in catalog.SECRETS.values() if one.origin is catalog.SecretOrigin.ADMIN]
    assert {one.name for one in admin} <= set(scenario.planted)
    slots = {
        "password",
        "token",
        "data key",
        "upload.hyper",
        "upload.chunked",
        "upload.cut",
        "password.wrong",
    }
    assert slots <= set(scenario.planted)
    assert len(scenario.planted) > 60


def test_the_search_would_have_found_it(scenario: Scenario) -> None:
    """The canaries do stand in the clients' files, in the clear."""
    found = {find.secret for find in forms.search_files(scenario.outside, scenario.planted)}
    assert {"upload.hyper", "upload.chunked", "token", "password.wrong"} <= found


def test_no_secret_is_in_what_commands_say(scenario: Scenario) -> None:
    finds = list(forms.search(b"\n".join(scenario.said), scenario.planted, "output of commands"))
    assert not finds, forms.describe(finds)


def test_no_secret_is_in_any_process_argument(scenario: Scenario) -> None:
    """tabcmd's own `--db-password` is its user's choice and no argument of ours."""
    mine = [line for line in scenario.arguments if b"strongroom" in line or b"tsm" in line]
    ours = [line for line in mine if b"tabcmd" not in line]
    finds = list(forms.search(b"\n".join(ours), scenario.planted, "process arguments"))
    assert ours
    assert not finds, forms.describe(finds)


def test_no_secret_is_in_any_answer_but_the_downloads(scenario: Scenario) -> None:
    assert b"tsResponse" in scenario.answers
    finds = [
        find
        for find in forms.search(scenario.answers, scenario.planted, "answers")
        if find.secret not in DOWNLOADED
    ]
    assert not finds, forms.describe(finds)


def test_downloads_did_hold_the_content(scenario: Scenario) -> None:
    """So the answers were really recorded."""
    found = {find.secret for find in forms.search(scenario.answers, scenario.planted, "answers")}
    assert found & DOWNLOADED


def test_events_name_ids_and_no_values(scenario: Scenario) -> None:
    lines = [
        json.loads(line)
        for path in (scenario.node.home / "tabsvc/events").glob("*.jsonl")
        for line in path.read_text().splitlines()
    ]
    ids = {line["id"] for line in lines}
    assert {"KEY_GENERATED", "SECRET_ENCRYPTED", "SECRET_REVEALED", "SIGN_IN_FAILED"} <= ids


def test_nothing_is_left_in_the_temporary_folder(scenario: Scenario) -> None:
    assert list((scenario.node.home / "tmp").iterdir()) == []
