"""Whoever uses the installation: people who publish and read, programs with service keys, an operator with commands."""

import base64
import hashlib
import http.client
import json
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from strongroom.system.compat import override
from tests.support.web_client import Client, Reply
from tests.torture.fleet import Fleet, Member
from tests.torture.soak.model import Register, Seen

SITE = "Soak"
HEAD = b"Hyper\x08\x00\x00\x01\x00\x02\x00"
NAMES = 60
KEYS = 4
VALUES = 20
_LOST = (OSError, http.client.HTTPException)
_PAUSE_S = 0.15
_REFUSED = frozenset({423, 503})
"""Statuses of storage, coordination and keys that cannot be used now, and of a server that is being stopped."""


@dataclass
class World:
    """What all of them share.

    Attributes:
        fleet: The installation.
        seen: What happened.
        stopping: Set when they are to end.
        seed: Of every choice.
        site_id: The site, on which the administrator has been signed in.
        session: The administrator's session, which holds on every node.
        root: A token of the Vault door.
        extracts: What each name of an extract may hold: the digest of its bytes, or nothing.
        values: What each key-value pair may hold.
        setting: What the setting that the operator changes may hold.
        default: What that setting holds before anybody changed it.
        ciphertexts: Ciphertexts of service keys, with their plaintexts.
        rotations: How many rotations of the keys were done, and of how many nobody knows.
        minutes: How long the run is.
    """

    fleet: Fleet
    seen: Seen
    stopping: threading.Event
    seed: int
    site_id: str
    session: str
    root: str
    extracts: dict[str, Register] = field(default_factory=dict)
    values: dict[str, Register] = field(default_factory=dict)
    setting: Register = field(default_factory=Register)
    default: str = ""
    ciphertexts: list[tuple[str, str, bytes]] = field(default_factory=list)
    rotations: dict[str, int] = field(default_factory=lambda: {"done": 0, "unknown": 0})

    def client(self, member: Member) -> Client:
        """A client of the administrator at a node."""
        return Client(member.port, self.session, self.site_id)

    def member(self, chance: random.Random) -> Member:
        """A node of a choice."""
        return chance.choice(list(self.fleet.members.values()))


def told(reply: Reply) -> str:
    """The outcome of a call that was not done, as it is counted; the code of the answer is in it."""
    try:
        return f"{reply.status} {reply.code}"
    except Exception:  # noqa: BLE001 whatever it is, the soak goes on
        return f"{reply.status} {reply.body[:60]!r}"


class Caller:
    """A loop of calls of one kind, at nodes of its choice."""

    kind = ""

    def __init__(self, world: World, number: int) -> None:
        self.world = world
        self.seen = world.seen
        self.chance = random.Random(f"{world.seed} {self.kind} {number}")
        self.begun = 0.0

    def run(self) -> None:
        """Call until the end."""
        while not self.world.stopping.wait(self.chance.uniform(0, 2 * _PAUSE_S)):
            self.begun = time.monotonic()
            try:
                self.call(self.world.member(self.chance))
            except _LOST as error:
                self.seen.failed(self.kind, f"lost: {type(error).__name__}", self.begun)
            except Exception as error:  # noqa: BLE001 whatever it is, the soak goes on
                self.seen.must_not(f"{self.kind} of the soak itself: {error!r}")

    def call(self, member: Member) -> None:
        """Make one call."""
        raise NotImplementedError

    def refused(self, kind: str, reply: Reply) -> None:
        """Note a call that was answered and is not done."""
        self.seen.failed(kind, told(reply), self.begun)
        if reply.status not in _REFUSED:
            self.seen.must_not(f"{kind}: {reply.status} {reply.body[-400:]!r}")


class Publisher(Caller):
    """Publishes, replaces and deletes extracts of 1 B to 2 MiB."""

    kind = "publish"

    @override
    def call(self, member: Member) -> None:
        name, register = self.chance.choice(list(self.world.extracts.items()))
        if not register.claim():
            return
        client = self.world.client(member)
        if None not in register.possible and self.chance.random() < 0.15:
            self._change(register, None, "delete", lambda: self._delete(client, name))
            return
        content = HEAD + self.chance.randbytes(int(2 ** self.chance.uniform(0, 21)))
        query = {"overwrite": "true"}
        digest = hashlib.sha256(content).hexdigest()
        self._change(
            register, digest, "publish", lambda: client.publish(name, content, query=query)
        )

    def _change(
        self, register: Register, value: str | None, kind: str, call: Callable[[], Reply]
    ) -> None:
        register.begin(value)
        try:
            reply = call()
        except _LOST:
            register.unknown()
            raise
        if reply.status in {201, 204}:
            register.done(value)
            self.seen.count(kind, "done")
        else:
            # an answer such as "storage cannot be used" may come behind a commit whose own answer was lost
            register.unknown()
            self.refused(kind, reply)

    def _delete(self, client: Client, name: str) -> Reply:
        found = listed(client, name)
        if found is None:
            return Reply(204, {}, b"")
        if isinstance(found, Reply):
            return found
        reply = client.on_site("DELETE", f"/datasources/{found}")
        return Reply(204, {}, b"") if reply.status == 404 else reply


def listed(client: Client, name: str) -> str | Reply | None:
    """The id of an extract by its name; None without one, or the answer that is none."""
    reply = client.on_site("GET", "/datasources", query={"filter": f"name:eq:{name}"})
    if reply.status != 200:
        return reply
    found = [one.attrib["id"] for one in reply.all("datasource")]
    assert len(found) <= 1, f"{name} is there {len(found)} times"
    return found[0] if found else None


class Reader(Caller):
    """Downloads extracts and compares them."""

    kind = "read"

    @override
    def call(self, member: Member) -> None:
        name, register = self.chance.choice(list(self.world.extracts.items()))
        client, mark = self.world.client(member), register.mark()
        found = listed(client, name)
        if isinstance(found, Reply):
            self.refused("list", found)
            return
        value: str | None = None
        if found is not None:
            reply = client.download(found)
            if reply.status not in {200, 404}:
                self.refused("read", reply)
                return
            if reply.status == 200:
                value = hashlib.sha256(reply.body).hexdigest()
                length = int(reply.headers.get("content-length", len(reply.body)))
                if length != len(reply.body):
                    raise http.client.IncompleteRead(reply.body[:0])
        if value not in (possible := register.since(mark)):
            self.seen.must_not(f"{name} is {value} and not one of {sorted(map(str, possible))}")
        self.seen.count("read", "done")


class Program(Caller):
    """Uses service keys and key-value pairs through the Vault door."""

    kind = "vault"

    @override
    def call(self, member: Member) -> None:
        choice = self.chance.random()
        if choice < 0.35 or not self.world.ciphertexts:
            self._encrypt(member)
        elif choice < 0.7:
            self._decrypt(member)
        elif choice < 0.72:
            name = f"key{self.chance.randrange(KEYS)}"
            self._said("rotate a key", vault(self.world, member, f"transit/keys/{name}/rotate"))
        elif choice < 0.86:
            self._put(member)
        else:
            self._get(member)

    def _encrypt(self, member: Member) -> None:
        name = f"key{self.chance.randrange(KEYS)}"
        plain = self.chance.randbytes(24)
        body = {"plaintext": base64.b64encode(plain).decode()}
        status, said = vault(self.world, member, f"transit/encrypt/{name}", body)
        if self._said("encrypt", (status, said)):
            self.world.ciphertexts.append((name, said["data"]["ciphertext"], plain))

    def _decrypt(self, member: Member) -> None:
        name, text, plain = self.chance.choice(self.world.ciphertexts)
        status, said = vault(self.world, member, f"transit/decrypt/{name}", {"ciphertext": text})
        is_done = self._said("decrypt", (status, said))
        if is_done and base64.b64decode(said["data"]["plaintext"]) != plain:
            self.seen.must_not(f"{text} decrypts to something else")

    def _put(self, member: Member) -> None:
        name, register = self.chance.choice(list(self.world.values.items()))
        if not register.claim():
            return
        value = self.chance.randbytes(8).hex()
        register.begin(value)
        try:
            said = vault(self.world, member, f"secret/data/{name}", {"data": {"v": value}})
        except _LOST:
            register.unknown()
            raise
        if self._said("put a secret", said):
            register.done(value)
        else:
            register.unknown()

    def _get(self, member: Member) -> None:
        name, register = self.chance.choice(list(self.world.values.items()))
        mark = register.mark()
        status, said = vault(self.world, member, f"secret/data/{name}", method="GET")
        value = None
        if status != 404:
            if not self._said("get a secret", (status, said)):
                return
            value = said["data"]["data"]["v"]
        if value not in register.since(mark):
            self.seen.must_not(f"secret {name} is {value}, not one of {register.since(mark)}")

    def _said(self, kind: str, answer: tuple[int, Any]) -> bool:
        status, said = answer
        if status in {200, 204}:
            self.seen.count(kind, "done")
            return True
        self.seen.failed(kind, f"{status}", self.begun)
        if status != 503:
            self.seen.must_not(f"{kind}: {status} {said}")
        return False


def vault(
    world: World, member: Member, path: str, body: object = None, method: str = "POST"
) -> tuple[int, Any]:
    """Status and body of a call of the Vault door."""
    connection = http.client.HTTPConnection("127.0.0.1", member.vault_port, timeout=60)
    try:
        raw = json.dumps(body) if body is not None else None
        connection.request(method, f"/v1/{path}", raw, {"X-Vault-Token": world.root})
        answer = connection.getresponse()
        data = answer.read()
        return answer.status, json.loads(data) if data else {}
    finally:
        connection.close()


class Operator(Caller):
    """Rotates keys, rewraps and re-encrypts, changes settings and passwords, by the commands of a node."""

    kind = "command"
    #: Codes that say that the services, or other nodes, cannot do this now.
    passing = frozenset({1, 6, 7, 22, 30, 31, 35, 40, 41, 42, 51})

    @override
    def run(self) -> None:
        while not self.world.stopping.wait(self.chance.uniform(0, 4)):
            try:
                self.call(self.world.member(self.chance))
            except Exception as error:  # noqa: BLE001 whatever it is, the soak goes on
                self.seen.must_not(f"a command did not end, or the soak is wrong: {error!r}")

    @override
    def call(self, member: Member) -> None:
        do = self.chance.choices(
            (self._rotate, self._job, self._set, self._passwords, self._look), (4, 6, 3, 1, 2)
        )[0]
        do(member)

    def _run(self, member: Member, kind: str, *words: str) -> tuple[int, str]:
        begun = time.monotonic()
        answer = member.node.run(*words, check=False, limit=300)
        if answer.code == 0:
            self.seen.count(kind, "done")
        else:
            self.seen.failed(kind, f"exit {answer.code}", begun)
        if answer.code not in self.passing | {0} or "Traceback" in answer.err:
            said = (answer.err or answer.out)[-600:]
            self.seen.must_not(f"{' '.join(words)} on {member.name}: {answer.code} {said}")
        elif answer.code:
            last = answer.err.strip().splitlines()[:2]
            took = time.monotonic() - begun
            print(
                f"  {member.name} {kind}: {answer.code} after {took:.0f} s, {' / '.join(last)[:160]}"
            )
        return answer.code, answer.out

    def _rotate(self, member: Member) -> None:
        code, _ = self._run(member, "rotate", "tsm", "security", "kms", "rotate")
        self.world.rotations["unknown" if code else "done"] += 1

    def _job(self, member: Member) -> None:
        verb = self.chance.choice(("rewrap", "rewrap", "reencrypt", "encrypt"))
        self._run(member, verb, "strongroom", "extracts", verb, "--site", SITE)

    def _set(self, member: Member) -> None:
        register = self.world.setting
        if not register.claim():
            return
        value = str(self.chance.randrange(1000, 9000))
        register.begin(value)
        words = ("configuration", "set", "-k", "gateway.timeout", "-v", value)
        code, _ = self._run(member, "set", "tsm", *words)
        if code == 0:
            code, _ = self._run(
                member, "apply", "tsm", "pending-changes", "apply", "--ignore-prompt"
            )
        register.done(value) if code == 0 else register.unknown()

    def _passwords(self, member: Member) -> None:
        service = self.chance.choice(("postgres", "zookeeper"))
        words = ("strongroom", "cluster", "rotate-password", service)
        self._run(member, f"password of {service}", *words)

    def _look(self, member: Member) -> None:
        mark = self.world.setting.mark()
        words = ("configuration", "get", "-k", "gateway.timeout")
        code, out = self._run(member, "get", "tsm", *words)
        if code == 0 and out.strip() not in (known := self.world.setting.since(mark)):
            self.seen.must_not(f"gateway.timeout is {out.strip()} at {member.name}, not of {known}")


def begin(fleet: Fleet, seen: Seen, seed: int) -> World:
    """A site with its session, service keys and a token of theirs."""
    first = fleet.members["node1"]
    first.node.run("strongroom", "sites", "create", SITE, "--mode", "enforced")
    made = first.node.run("strongroom", "access", "token", "create", "--policy", "root")
    client = first.client(SITE)
    session = (client.site_id, client.token)
    world = World(fleet, seen, threading.Event(), seed, *session, made.last_word)
    world.extracts = {f"extract {number}": Register() for number in range(NAMES)}
    world.values = {f"value{number}": Register() for number in range(VALUES)}
    words = ("configuration", "get", "-k", "gateway.timeout")
    world.default = first.node.run("tsm", *words).out.strip()
    world.setting = Register(world.default)
    for number in range(KEYS):
        status, said = vault(world, first, f"transit/keys/key{number}")
        assert status in {200, 204}, said
    return world


def start(world: World) -> list[threading.Thread]:
    """All of them begin."""
    callers: list[Caller] = [Publisher(world, 1), Publisher(world, 2), Reader(world, 1)]
    callers += [Reader(world, 2), Program(world, 1), Operator(world, 1)]
    threads = [threading.Thread(target=one.run, daemon=True) for one in callers]
    for one in threads:
        one.start()
    return threads
