"""The canary scan over all modes (issue "a session": "Must show" 7): one served node goes through every kind of root and back.

Unique secrets stand in every slot that this has: RMKs, MEKs, configuration and master keys, the age identity and the shares of
the recovery roots, PIN, TPM password, AppRole secret id, service account's key, and what the products gave in return: tokens of
OpenBao, of the managed identity and of the instance role, and signed claims to Google.

What may hold a secret is listed here and nowhere else:

- the files that the operator gave (`--pin-file` and its like, the identity) and those that a recovery kit is made of: they lie
  in a folder beside the node, which is not searched;
- the node's keystore password lies in its own file, `tabsvc/keystore/password`, and nowhere else.
"""

import json
import re
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from strongroom.crypto import age, shares
from strongroom.crypto.secret import SecretBytes
from strongroom.roots import tpm
from strongroom.roots.settings import RootSettings
from tests.canary import forms, planted_secrets, recorder
from tests.canary.planted_secrets import canary
from tests.contract.roots.commands import words_of
from tests.contract.roots.harness import RootLab
from tests.contract.roots.provider_tpm import TpmLab
from tests.contract.roots.providers import started
from tests.support import fault_server
from tests.support.fault_server import FaultServer, Request, Response
from tests.support.servers import TestNode, create_node, serving
from tests.support.web_client import Client

pytestmark = [pytest.mark.interop, pytest.mark.slow, pytest.mark.timeout(1200)]

CHAIN = ("aws-moto", "azure", "openbao", "pkcs11", "gcp", "tpm", "local")
#: Command lines of our processes; other tests may run at the same time, and name us in theirs.
OURS = re.compile(rb"(^|/)(strongroom|tsm)\0|\0strongroom\.")
#: Headers by which credentials travel.
_TOKENS = re.compile(r"^(Bearer (?P<bearer>\S+))|(?P<vault>[sb]\.\S+|hvs\.\S+)$")


class InstanceRole:
    """IMDSv2 of a machine whose role has credentials made for this test."""

    def __init__(self) -> None:
        self.secrets = {name: canary(name).decode() for name in ("aws-secret-key", "aws-session")}
        self._token = canary("imds-token").decode()

    def answer(self, request: Request) -> Response:
        folder = "/latest/meta-data/iam/security-credentials/"
        if request.method == "PUT":
            return Response(200, self._token.encode())
        if request.headers.get("x-aws-ec2-metadata-token") != self._token:
            return Response(401)
        if request.path == folder:
            return Response(200, b"role")
        given = {
            "Code": "Success",
            "Type": "AWS-HMAC",
            "LastUpdated": "2026-11-22T00:00:00Z",
            "AccessKeyId": "ASIACANARY0000000000",
            "SecretAccessKey": self.secrets["aws-secret-key"],
            "Token": self.secrets["aws-session"],
            "Expiration": f"{datetime.now(UTC) + timedelta(hours=6):%Y-%m-%dT%H:%M:%SZ}",
        }
        return Response(200, json.dumps(given).encode(), {"Content-Type": "application/json"})


@dataclass
class Story:
    """What was planted, and all that could be seen."""

    node: TestNode
    planted: dict[str, bytes] = field(default_factory=dict)
    said: list[bytes] = field(default_factory=list)
    finds: dict[str, list[forms.Find]] = field(default_factory=dict)
    arguments: set[bytes] = field(default_factory=set)
    environments: set[bytes] = field(default_factory=set)
    modes: list[str] = field(default_factory=list)
    looked_for: set[str] = field(default_factory=set)

    def run(self, *words: str | Path, check: bool = True) -> None:
        """Run a command whose output must not hold any secret."""
        answer = self.node.run(*words, check=check)
        self.said.append(answer.out.encode() + answer.err.encode())

    def plant(self, slot: str, secret: bytes) -> None:
        self.planted[slot] = planted_secrets.telling_part(secret)

    def note_keys(self) -> None:
        """Every key of the hierarchy as it is now, and the credentials that are stored."""
        self.planted |= planted_secrets.keys_of(self.node.home)

    def listen(self, kind: str, front: FaultServer) -> None:
        """Plant each credential that travels to a root, and each token that it hands out."""
        real = front._backend

        def overheard(request: Request) -> Response:
            for name in ("Authorization", "X-Vault-Token"):
                match = _TOKENS.search(request.headers.get(name) or "")
                token = match and (match["bearer"] or match["vault"])
                if token:
                    self.plant(f"{kind} token {len(self.planted)}", token.encode())
            return real(request)

        front._backend = overheard

    def look(self, phase: str, *, again: bool = False) -> None:
        """Search the node's files now, for what was not searched for before, or for all."""
        wanted = {
            name: secret
            for name, secret in list(self.planted.items())
            if again or name not in self.looked_for
        }
        self.finds[phase] = forms.search_files(self.node.home, wanted)
        self.looked_for |= set(wanted)

    def add_recovery_roots(self) -> None:
        """An identity that the operator keeps, and a kit."""
        identity = age.new_identity()
        self.plant("age identity", identity.text.reveal())
        file = self.node.folder / "identity"
        file.write_bytes(identity.text.reveal() + b"\n")
        kit = self.node.folder / "kit"
        roots = ("tsm", "security", "kms", "roots")
        self.run(*roots, "add", "age", "--recipient", identity.recipient)
        numbers = ("--threshold", "2", "--shares", "3")
        self.run(*roots, "add", "shares", *numbers, "--output", kit)
        printed = [path.read_text() for path in sorted(kit.iterdir())]
        words = [shares.words_of(text) for text in printed]
        for number, text in enumerate(words, start=1):
            self.plant(f"share {number}", text.encode())
            (line,) = re.findall("^13[.].*$", printed[number - 1], re.MULTILINE)
            self.plant(f"share {number} as printed", line.encode())
        self.plant("identity of the kit", shares.combine(words[:2]).text.reveal())

    def enter(self, settings: RootSettings | None) -> None:
        """Move, work there, and look."""
        words = words_of(settings, self.node.folder)
        self.run("tsm", "security", "kms", "set-mode", *words)
        self.note_keys()
        mode = settings.kind if settings else "local"
        self.modes.append(mode)
        self.publish(f"in-{mode}")
        self.run("tsm", "security", "kms", "roots", "verify")
        self.look(f"in {mode}")

    def publish(self, slot: str) -> None:
        """An extract, which is then read."""
        client = Client(urlsplit(self.node.url).port or 0)
        assert client.sign_in().status == 200
        self.plant(f"session {slot}", client.token.encode())
        secret = canary(slot)
        self.plant(f"extract {slot}", secret)
        content = b"Hyper\x08\x00\x00\x01\x00\x02\x00" + secret * 500
        reply = client.publish(slot, content)
        assert reply.status == 201, reply.body
        assert client.download(reply.find("datasource").get("id", "")).body == content

    def drill(self) -> None:
        """Recovery, tried and not done."""
        kit = sorted((self.node.folder / "kit").iterdir())
        drill = ("strongroom", "recover", "--drill")
        self.run(*drill, "--identity", self.node.folder / "identity")
        self.run(*drill, "--share", kit[0], "--share", kit[2])


def settings_of(name: str, lab: RootLab) -> RootSettings:
    """As the lab has it; a TPM with a password."""
    if isinstance(lab, TpmLab):
        return tpm.settings(f"swtpm:path={lab.socket}", auth=SecretBytes(canary(name)[-32:]))
    return lab.settings


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    node = create_node(tmp_path_factory.mktemp("canary-modes"))
    # whatever writes temporary files writes them where they are searched
    (node.home / "tmp").mkdir()
    node.environment["TMPDIR"] = str(node.home / "tmp")
    node.run("strongroom", "sites", "set-mode", "Default", "enforced")
    told = Story(node)
    told.plant("keystore password", planted_secrets.keystore_password(node.home))
    role = InstanceRole()
    told.planted |= {name: text.encode() for name, text in role.secrets.items()}
    with ExitStack() as stack:
        metadata = stack.enter_context(fault_server.running(role.answer))
        labs = stack.enter_context(started(tmp_path_factory.mktemp))
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for name in CHAIN[:-1]:
            node.environment |= labs(name).environment
            if isinstance(front := getattr(labs(name), "front", None), FaultServer):
                told.listen(name, front)
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_EC2_METADATA_DISABLED"):
            del node.environment[name]
        node.environment["AWS_EC2_METADATA_SERVICE_ENDPOINT"] = metadata.url
        for name, value in node.environment.items():
            patch.setenv(name, value)
        labs("pkcs11").quicken(patch)
        told.note_keys()
        mark = f"STRONGROOM_HOME={node.home}".encode()
        environments = stack.enter_context(recorder.environments(mark))
        arguments = stack.enter_context(recorder.arguments(0.01))
        with serving(node):
            told.add_recovery_roots()
            for name in CHAIN:
                told.enter(None if name == "local" else settings_of(name, labs(name)))
            told.run("tsm", "security", "regenerate-internal-tokens")
            told.drill()
            told.run("tsm", "security", "kms", "status")
            told.note_keys()
        told.look("stopped", again=True)
        told.arguments, told.environments = arguments.seen, environments.seen
    return told


def test_every_kind_was_gone_through(story: Story) -> None:
    assert story.modes == ["aws", "azure", "openbao", "pkcs11", "gcp", "tpm", "local"]
    slots = " ".join(story.planted)
    for slot in (
        "RMK",
        "MEK",
        "configuration key",
        "aws-secret-key",
        "aws-session",
        "azure token",
        "openbao secret_id",
        "openbao token",
        "pkcs11 pin",
        "gcp credentials",
        "gcp token",
        "tpm auth",
        "age identity",
        "share 3",
        "identity of the kit",
    ):
        assert slot in slots
    assert sum(name.startswith("RMK") for name in story.planted) == len(CHAIN) + 2


def test_the_search_would_have_found_them(story: Story) -> None:
    """The operator's files do hold them, in the clear."""
    found = {find.secret for find in forms.search_files(story.node.folder, story.planted)}
    given = {"openbao secret_id", "pkcs11 pin", "gcp credentials", "tpm auth", "age identity"}
    assert given | {"share 1 as printed", "share 3 as printed"} <= found


def test_no_secret_is_in_any_file_of_the_node(story: Story) -> None:
    assert list(story.finds) == [*(f"in {mode}" for mode in story.modes), "stopped"]
    for phase, found in story.finds.items():
        finds = forms.without(found, "keystore password", "tabsvc/keystore/password")
        assert not finds, f"{phase}: {forms.describe(finds)}"


def test_no_secret_is_in_what_commands_and_the_server_say(story: Story) -> None:
    said = b"\n".join([*story.said, (story.node.folder / "serve.err").read_bytes()])
    finds = list(forms.search(said, story.planted, "what was said"))
    assert not finds, forms.describe(finds)


def test_no_secret_is_in_what_the_kernel_shows_of_our_processes(story: Story) -> None:
    mine = [line for line in story.arguments if OURS.search(line)]
    assert any(b"set-mode" in line for line in mine)
    assert any(b"AWS_EC2_METADATA_SERVICE_ENDPOINT" in one for one in story.environments)
    shown = b"\n".join([*mine, *story.environments])
    finds = list(forms.search(shown, story.planted, "arguments and environments"))
    assert not finds, forms.describe(finds)


def test_nothing_is_left_in_the_temporary_folder(story: Story) -> None:
    assert list((story.node.home / "tmp").iterdir()) == []
