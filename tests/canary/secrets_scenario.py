"""One story of a node's secrets, for the canary scan: settings, rotation, exports, bootstrap files, backups, recovery.

Real PostgreSQL, Redis and ZooKeeper hold the passwords, files the certificates, and a mail server of the tests one more. What
was seen on the way is kept in a `WholeScan`; it judges nothing.
"""

import base64
import hashlib
import http.client
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from strongroom.crypto import age, shares
from strongroom.joining import bootstrap_file
from strongroom.roots.settings import RootSettings
from strongroom.secrets import catalog
from tests.canary import planted_secrets, recorder
from tests.canary.whole_scan import WholeScan
from tests.contract.doors.http.test_https import certificate
from tests.contract.roots.commands import words_of
from tests.support.emulators import free_port
from tests.support.mail_server import MailServer
from tests.support.node_with_components import DIGESTS, REDIS, ROOT, USER, Estate
from tests.support.web_client import Client

SMTP = "svcmonitor.notification.smtp"
MADE_UP = "made.up.by.us.password"
_IMPORT = ("tsm", "settings", "import", "-f")
_EXPORT = ("tsm", "settings", "export", "-f")
_BOOTSTRAP = ("tsm", "topology", "nodes", "get-bootstrap-file", "-f")
_SEEN_WITHIN_S = 60


@dataclass
class Story(WholeScan):
    """The scan, and what the story is about.

    Attributes:
        whole: The components.
        mail: The mail server.
        hsm: A key in a token, with a PIN of this story.
        https_port: Where the node is served by HTTPS.
    """

    whole: Estate = field(kw_only=True)
    mail: MailServer = field(kw_only=True)
    hsm: RootSettings = field(kw_only=True)
    https_port: int = field(default_factory=free_port)

    def plant(self, slot: str) -> str:
        """A new secret."""
        self.planted[slot] = planted_secrets.canary(re.sub(r"\W", "-", slot))
        return self.planted[slot].decode()

    def note(self) -> None:
        """Everything that the node has in memory now, and its components keep of it."""
        home, present = self.node.home, self.whole.secrets()
        self.planted |= planted_secrets.keys_of(home) | planted_secrets.values_of(home)
        self._note("keystore password", planted_secrets.keystore_password(home))
        self._note("hash of redis", hashlib.sha256(present[REDIS].encode()).hexdigest().encode())
        for name, user in DIGESTS.items():
            digest = hashlib.sha1(f"{user}:{present[name]}".encode()).digest()
            self._note(f"digest of {user}", base64.b64encode(digest))
        rows = self.whole.postgres.run("select rolname, rolpassword from pg_authid")
        for role, keys in re.findall(r"^(\w+)\|SCRAM-SHA-256\S+\$(\S+)$", rows, re.MULTILINE):
            self._note(f"verifier of {role}", keys.encode())

    def _note(self, name: str, value: bytes) -> None:
        """Old and new ones are told apart."""
        self.planted[f"{name} {hashlib.sha256(value).hexdigest()[:8]}"] = value

    @property
    def recipient(self) -> str:
        """Whom everything is sealed to."""
        (identity,) = age.parse_identities(self.planted["identity"])
        return identity.recipient

    def file(self, name: str, text: str) -> None:
        """A private file of the operator's."""
        path = self.node.folder / name
        path.touch(mode=0o600)
        path.write_text(text)

    @contextmanager
    def reader(self, name: str, place: str) -> Iterator[list[bytes]]:
        """A named pipe that somebody reads: what comes out is in no file."""
        pipe = self.node.folder / name
        got: list[bytes] = []
        os.mkfifo(pipe, 0o600)
        thread = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
        thread.start()
        yield got
        thread.join()
        pipe.unlink()
        self.see(place, got[0])

    @contextmanager
    def writer(self, name: str, data: bytes) -> Iterator[None]:
        """A named pipe that somebody writes."""
        pipe = self.node.folder / name
        os.mkfifo(pipe, 0o600)
        thread = threading.Thread(target=pipe.write_bytes, args=(data,))
        thread.start()
        yield
        thread.join()
        pipe.unlink()


def plant_settings(story: Story) -> None:
    """Every secret that an administrator sets, and one known by its suffix only; imports that are refused come first."""
    folder = story.node.folder
    admin = {
        name: story.plant(f"planted {name}")
        for name, one in catalog.SECRETS.items()
        if one.origin is catalog.SecretOrigin.ADMIN and not name.startswith("ssl.")
    }
    _, https = certificate(folder / "https", passphrase=story.plant("planted ssl.key.passphrase"))
    key, _, _ = (folder / "https" / "server.pem").read_bytes().partition(b"-----END PRIVATE")
    story.planted["key of HTTPS"] = planted_secrets.telling_part(key)
    (folder / "ssl").mkdir(mode=0o700)
    settings = {
        **admin,
        **https,
        MADE_UP: story.plant(f"planted {MADE_UP}"),
        f"{SMTP}.server": "127.0.0.1",
        f"{SMTP}.port": str(story.mail.port),
        f"{SMTP}.send_account": story.mail.account,
        "gateway.https.port": str(story.https_port),
        "indexandsearchserver.ssl.directory": str(folder / "ssl"),
    }
    story.mail.password = settings[f"{SMTP}.password"]
    text = json.dumps({"configKeys": settings})
    story.run(*_IMPORT, "-", stdin=text, code=2)
    story.run(*_IMPORT, "-", stdin=text[: len(text) // 2], code=21)
    story.run(*_IMPORT, "-", "--force-keys", stdin=text)
    story.run("tsm", "pending-changes", "list")


def change_roots(story: Story) -> None:
    """Into an HSM; an identity, to which everything else is sealed too, and a kit."""
    hsm = words_of(story.hsm, story.node.folder)
    story.run("tsm", "security", "kms", "set-mode", *hsm)
    made = age.new_identity()
    story.planted["identity"] = made.text.reveal()
    story.file("key", made.text.reveal().decode() + "\n")
    story.file("passphrase", story.plant("passphrase") + "\n")
    roots = ("tsm", "security", "kms", "roots", "add")
    story.run(*roots, "age", "--recipient", made.recipient)
    story.run(*roots, "shares", "--threshold", "2", "--shares", "3", "--output", "kit")
    printed = [path.read_text() for path in sorted((story.node.folder / "kit").iterdir())]
    for number, text in enumerate(printed, start=1):
        (line,) = re.findall("^13[.].*$", text, re.MULTILINE)
        story.planted[f"share {number}"] = line.encode()
    words = [shares.words_of(text) for text in printed]
    story.planted["identity of the kit"] = shares.combine(words[:2]).text.reveal()


def publish(story: Story) -> None:
    """An extract with an embedded credential, read again; a sign-in that is refused; an answer by HTTPS."""
    story.run("strongroom", "sites", "set-mode", "Default", "enforced")
    client = Client(urlsplit(story.node.url).port or 0)
    assert client.sign_in(password=story.plant("wrong password")).status == 401
    password = story.planted["administrator's password"].decode()
    assert client.sign_in(password=password).status == 200
    story.planted["session"] = client.token.encode()
    secret = story.plant("embedded")
    inner = f'<connectionCredentials name="someone" password="{secret}" embed="true"/>'
    content = b"Hyper\x08\x00\x00\x01\x00\x02\x00" + story.plant("extract").encode() * 500
    reply = client.publish("canary", content, inner=inner)
    assert reply.status == 201, reply.body
    assert client.download(reply.find("datasource").get("id", "")).body == content
    context = ssl.create_default_context(cafile=story.node.folder / "https" / "ca.pem")
    https = http.client.HTTPSConnection("127.0.0.1", story.https_port, timeout=30, context=context)
    https.request("GET", "/readyz")
    answer = https.getresponse()
    story.see("answers by HTTPS", str(answer.headers).encode() + answer.read())
    https.close()


def rotate(story: Story) -> None:
    """Into every component; a mistyped password and a component that is down come first."""
    secrets = ("tsm", "security", "secrets")
    one = (*secrets, "rotate", f"{SMTP}.password", "--value-file")
    story.run(*one, "-", stdin=story.plant("mistyped password"), code=50)
    story.mail.password = story.plant("mail password")
    story.file("mail-password", story.mail.password + "\n")
    story.run(*one, "mail-password")
    with story.whole.redis.component.down():
        story.run(*secrets, "rotate", REDIS, code=50)
    story.note()
    story.run("tsm", "security", "regenerate-internal-tokens")
    story.note()
    story.run(*secrets, "verify")
    story.run("tsm", "configuration", "get", "-k", f"{SMTP}.password")


def move_settings(story: Story) -> None:
    """Sealed both ways, without secrets, plain to a file and through pipes; imports that are refused among them."""
    passphrase = ("--passphrase-file", "passphrase")
    story.run(*_EXPORT, "sealed.age", "--recipient", story.recipient)
    story.run(*_EXPORT, "locked.age", *passphrase)
    story.run(*_EXPORT, "bare.json", "--no-secrets")
    story.run(*_EXPORT, "plain.json")
    with story.reader("pipe", "pipe of settings") as got:
        story.run(*_EXPORT, "pipe")
    story.run(*_IMPORT, "sealed.age", "--identity", "key")
    story.run(*_IMPORT, "locked.age", *passphrase)
    wrong = story.plant("wrong passphrase")
    story.run(*_IMPORT, "locked.age", "--passphrase-file", "-", stdin=wrong, code=20)
    story.run(*_IMPORT, "plain.json", "--json")
    for data, code in ((got[0], 0), (got[0][:-20], 21)):
        with story.writer("pipe", data):
            story.run(*_IMPORT, "pipe", code=code)


def bring_a_node(story: Story) -> None:
    """A bootstrap file sealed, and one through pipes; the second use of the latter, and a damaged one, are refused."""
    server = ("--server", story.node.url)
    story.run(*_BOOTSTRAP, "node.age", "--recipient", story.recipient, *server)
    with story.reader("pipe", "pipe of a node") as got:
        story.run(*_BOOTSTRAP, "pipe", *server)
    file = bootstrap_file.parse(got[0]).claimed
    assert file.credential is not None
    story.planted["credential of a node"] = file.credential.seed.reveal()
    damaged = got[0].replace(b'"created_at":"2', b'"created_at":"3')
    for folder, data, code in (("second", got[0], 0), ("third", got[0], 3), ("third", damaged, 20)):
        with story.writer("pipe", data):
            story.run("initialize-tsm", "-b", "pipe", "-d", folder, code=code)
    story.run("initialize-tsm", "-b", "node.age", "--identity", "key", "-d", "third")


def back_up(story: Story) -> None:
    """Sealed to a recipient with the settings, to a passphrase, and not at all; a drill, and one that has no identity."""
    backup = ("tsm", "maintenance", "backup", "-f")
    story.run(*backup, "whole", "--recipient", story.recipient, "--include-settings")
    story.run(*backup, "locked", "--passphrase-file", "passphrase")
    story.run(*backup, "bare")
    verify = ("strongroom", "backup", "verify")
    story.run(*verify, "whole", "--drill", "--identity", "key", "--json")
    story.run(*verify, "locked", "--identity", "passphrase", code=2)


def look_around(story: Story) -> None:
    """Whatever lists something."""
    for words in (
        ("tsm", "security", "secrets", "list", "--json"),
        ("tsm", "security", "secrets", "inventory", "--json"),
        ("tsm", "configuration", "list"),
        ("tsm", "security", "kms", "status", "--json"),
        ("strongroom", "events", "list", "--json"),
        ("strongroom", "events", "checkpoint"),
        ("strongroom", "events", "verify"),
    ):
        story.run(*words)
    statements = story.whole.postgres.run("select query from pg_stat_statements")
    story.see("pg_stat_statements", statements.encode())


def restore_and_recover(story: Story) -> None:
    """The backup in the place of everything; then the keystore is lost, and the kit brings the node back."""
    restore = ("tsm", "maintenance", "restore", "-f", "whole", "--ignore-prompt")
    story.run(*restore, "--identity", "key")
    story.note()
    kit = [word for number in (1, 3) for word in ("--share", f"kit/share-{number}-of-3.txt")]
    story.run("strongroom", "recover", "--drill", *kit)
    for folder in [*(story.node.home / "tabsvc").rglob("keystores")]:
        shutil.rmtree(folder)
    shutil.rmtree(story.node.home / "tabsvc" / "keystore")
    story.run("strongroom", "recover", *kit)
    story.note()


def leak(story: Story, arguments: recorder.Sampler, environments: recorder.Sampler) -> None:
    """A leak of each kind, made by us: the scan has to find them."""
    whole, home = story.whole, story.node.home
    whole.postgres.run(f'select 1 as "{story.plant("leak into the log of postgresql")}"')
    word = story.plant("leak into the log of redis")
    password = whole.secrets()[REDIS]
    script = ("EVAL", "redis.log(redis.LOG_WARNING, ARGV[1])", "0", word)
    assert whole.redis.cli(*script, user=USER, password=password) == ""
    with whole.zookeeper.client() as client:
        client.create(f"{ROOT}/leak", story.plant("leak into the data of zookeeper").encode())
    encoded = base64.b64encode(b"x" + story.plant("leak into a file of the node").encode())
    story.file("node/tabsvc/logs/leak", f"..{encoded.decode()}..")
    story.file(f"tmp/{story.plant('leak into a file name')}", "")
    story.file("tmp/leak", story.plant("leak into a temporary file").encode().hex())
    argument, variable = story.plant("leak into arguments"), story.plant("leak into environments")
    process = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(100)", argument],
        env={"STRONGROOM_HOME": str(home), "LEAK": variable},
    )
    limit = time.monotonic() + _SEEN_WITHIN_S
    for sampler, word in ((arguments, argument), (environments, variable)):
        while not any(word.encode() in line for line in sampler.seen.copy()):
            assert time.monotonic() < limit, "the sampler does not see a process"
            time.sleep(0.01)
    process.kill()
    process.wait()
