"""The canary scan over rotation, settings, backups and bootstrap files, in one story (issue's "Must show" 7; S1 – S3).

Its components are real. All files of the operator, the node, a second node and the components are searched, what every
command said, what the server answered, and arguments and environments of all processes. What may hold a secret stands in
`ALLOWED` and nowhere else, and each line of it must be needed. The whole story runs under umask 000: nothing is private by
accident. Credentials of the other roots are planted in test_canary_modes.py.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from strongroom.roots.settings import RootSettings
from tests.canary import forms, planted_secrets, recorder, secrets_scenario, whole_scan
from tests.canary.forms import Find
from tests.canary.secrets_scenario import SMTP, Story
from tests.canary.whole_scan import Allowed
from tests.contract.roots import provider_pkcs11
from tests.contract.test_file_modes import loose
from tests.support.mail_server import MailServer
from tests.support.node_with_components import PARAMETERS, estate
from tests.support.servers import TestNode, create_node, serving

pytestmark = [pytest.mark.interop, pytest.mark.slow, pytest.mark.timeout(1200)]

_SETTINGS = r"planted .*|mail password|(?!kms\.|asset\.|eventlog\.).+#.*"
_SEARCH = r"indexandsearchserver\.ssl"

ALLOWED = (
    # what the operator keeps, or asked for, in his own folder
    Allowed("administrator's password", "operator/password", "init and clients read it there"),
    Allowed("passphrase", "operator/passphrase", "--passphrase-file"),
    Allowed("identity", "operator/key", "--identity"),
    Allowed("pkcs11 pin", "operator/pkcs11-pin", "--pin-file"),
    Allowed(r"share \d", r"operator/kit/share-\d-of-3\.txt", "the kit that is printed"),
    Allowed(rf"mail password|{SMTP}\.password#.*", "operator/mail-password", "--value-file"),
    Allowed(r"key of HTTPS|ssl\.cert.*", r"operator/https/server\.pem", "made by the operator"),
    Allowed(_SETTINGS, r"operator/plain\.json", "a plain export, 0600 (C-16)"),
    Allowed(_SETTINGS, "pipe of settings", "a plain export (C-15)"),
    Allowed("keystore password .*|credential .*", "pipe of a node", "what a new node needs (C-21)"),
    Allowed(
        rf"mail password|{SMTP}\.password#.*", "output of tsm configuration get -k", "asked for"
    ),
    # what a node keeps
    Allowed(
        "keystore password .*", "operator/[a-z]+/tabsvc/keystore/password", "opens the keystore"
    ),
    Allowed(r"kms\.persistent_store#.*", r"operator/node/.+\.tsbak", "wrapped keys (A-24)"),
    # what components need
    Allowed(rf"{_SEARCH}\.\w+\.cert\.bytes#.*", r"operator/ssl/[a-z-]+\.pem", "public"),
    Allowed(rf"{_SEARCH}\.(admin|node)\.key.*", r"operator/ssl/(admin|node)\.pem", "for these"),
    Allowed("verifier of .*", r"postgresql/data/(base|global|pg_wal)/.+", "pg_authid"),
    Allowed("hash of redis .*", r"redis/users\.acl", "hashes only (C-28)"),
    Allowed("digest of .*", r"zookeeper/data/.+", "ACLs of znodes"),
    # what clients asked for
    Allowed("session|extract", "answers of the server", "a sign-in, a download"),
)
#: Where each leak that the story makes itself is found.
LEAKS = {
    "leak into the log of postgresql": {"postgresql/server.log"},
    "leak into the log of redis": {"redis/server.log"},
    "leak into the data of zookeeper": {"zookeeper/data/version-2/log.1"},
    "leak into a file of the node": {"operator/node/tabsvc/logs/leak"},
    "leak into a file name": set(),
    "leak into a temporary file": {"operator/tmp/leak"},
    "leak into arguments": {"arguments"},
    "leak into environments": {"environments"},
}


@dataclass
class Told:
    """What came of it.

    Attributes:
        finds: By phase.
        loose: Files with another mode than they should have, by phase.
    """

    story: Story
    finds: dict[str, list[Find]] = field(default_factory=dict)
    loose: dict[str, list[str]] = field(default_factory=dict)

    def look(self, phase: str) -> None:
        """Search everything now; modes of all that strongroom wrote."""
        story, folder = self.story, self.story.node.folder
        whole = story.whole
        places = {
            "operator": folder,
            "postgresql": whole.postgres.component.folder,
            "redis": whole.redis.component.folder,
            "zookeeper": whole.zookeeper.component.folder,
        }
        self.finds[phase] = story.finds(places)
        ours = [folder / name for name in ("node", "second", "third", "kit", "ssl")]
        self.loose[phase] = [line for path in ours if path.exists() for line in loose(path)]
        exports = [*folder.glob("*.age"), *folder.glob("*.json")]
        self.loose[phase] += [path.name for path in exports if _mode(path) != 0o600]

    def leaked(self, phase: str) -> list[Find]:
        """Finds in other places than those listed, but for the leaks of our own."""
        return [
            find
            for find in whole_scan.leaks(self.finds[phase], ALLOWED)
            if find.secret not in LEAKS
        ]


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(scope="module")
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, open_umask: None) -> Told:
    folder, mail = tmp_path_factory.mktemp("canary-secrets"), MailServer()
    (folder / "tmp").mkdir()
    password = planted_secrets.canary("administrator")
    with recorder.arguments(0.02) as first:
        node = create_node(folder, password.decode())
    node.environment["TMPDIR"] = str(folder / "tmp")
    with ExitStack() as stack:
        stack.enter_context(mail.listening())
        # the tests' own commands tell Redis its first password: not the product's arguments
        whole = stack.enter_context(estate(lambda: node.home))
        hsm = token(tmp_path_factory, node, stack)
        planted = {"administrator's password": password}
        story = Story(node, planted, whole=whole, mail=mail, hsm=hsm)
        story.see("arguments", b"\n".join(first.seen))
        told = Told(story)
        homes = [one.component.folder for one in (whole.postgres, whole.redis, whole.zookeeper)]
        marks = [f"STRONGROOM_HOME={node.home}", *(f"HOME={home}" for home in homes)]
        environments = stack.enter_context(
            recorder.environments(*(mark.encode() for mark in marks))
        )
        arguments = stack.enter_context(recorder.arguments(0.02))
        tell(told, node)
        secrets_scenario.leak(story, arguments, environments)
        story.see("arguments", b"\n".join(arguments.seen))
        story.see("environments", b"\n".join(environments.seen))
        told.look("recovered")
    return told


def token(
    tmp_path_factory: pytest.TempPathFactory, node: TestNode, stack: ExitStack
) -> RootSettings:
    """A key in a SoftHSM token, for the node's commands and for this process; the PIN is told to nobody else."""
    lab = stack.enter_context(provider_pkcs11.start(tmp_path_factory.mktemp("token")))
    lab.quicken(stack.enter_context(pytest.MonkeyPatch.context()))
    node.environment |= lab.environment
    pin = planted_secrets.canary("pin").decode()
    lab.operate(lambda session: session.set_pin(provider_pkcs11.PIN, pin))
    return lab.of(provider_pkcs11.KEY, create=False, pin=pin)


def tell(told: Told, node: TestNode) -> None:
    """The whole story."""
    story = told.story
    story.note()
    secrets_scenario.plant_settings(story)
    told.look("pending")
    story.run("tsm", "pending-changes", "apply", "--ignore-prompt")
    secrets_scenario.change_roots(story)
    story.note()
    with serving(node), recorder.recording(node.url) as relay:
        node.url = relay.url
        secrets_scenario.publish(story)
        secrets_scenario.rotate(story)
        secrets_scenario.move_settings(story)
        secrets_scenario.bring_a_node(story)
        secrets_scenario.back_up(story)
        secrets_scenario.look_around(story)
    story.see("answers of the server", relay.all())
    story.leftovers += [path.name for path in story.temporary.iterdir()]
    story.note()
    told.look("served")
    secrets_scenario.restore_and_recover(story)


@pytest.mark.parametrize("phase", ["pending", "served", "recovered"])
def test_no_secret_is_anywhere_but_where_it_must_be(told: Told, phase: str) -> None:
    """S1, S3."""
    finds = told.leaked(phase)
    assert not finds, forms.describe(finds)


def test_every_place_on_the_list_is_needed(told: Told) -> None:
    """A line by which nothing is found would hide the next leak, or the search does not see that place."""
    finds = [find for found in told.finds.values() for find in found]
    assert whole_scan.unused(finds, ALLOWED) == []


@pytest.mark.parametrize("leak", LEAKS)
def test_a_leak_of_each_kind_is_found(told: Told, leak: str) -> None:
    """So the silence of the others means something."""
    places = {find.place for find in told.finds["recovered"] if find.secret == leak}
    assert LEAKS[leak] <= places
    assert places


def test_every_kind_of_secret_was_looked_for(told: Told) -> None:
    """Old and new value of everything that was rotated."""
    names = list(told.story.planted)
    for name in (*PARAMETERS, "indexandsearchserver.ssl.root.key.file_bytes", f"{SMTP}.password"):
        assert len([one for one in names if one.startswith(f"{name}#")]) >= 2, name
    at_least = {
        "RMK": 3,
        "MEK": 3,
        "master-key": 2,
        "configuration key": 2,
        "asset key": 2,
        "verifier of ": 8,
        "hash of redis": 2,
        "digest of ": 6,
        "keystore password": 2,
        "planted ": 13,
        "share ": 3,
        "data key": 1,
    }
    counts = {start: len([one for one in names if one.startswith(start)]) for start in at_least}
    assert {start: counts[start] for start in at_least if counts[start] < at_least[start]} == {}


def test_no_mode_depends_on_the_umask(told: Told) -> None:
    """S2, C-10: node, prepared nodes, certificates, kit, exports; under all umasks in tests/contract/test_file_modes.py."""
    assert told.loose == {"pending": [], "served": [], "recovered": []}


def test_no_command_leaves_a_temporary_file(told: Told) -> None:
    assert told.story.leftovers == []
