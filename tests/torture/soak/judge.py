"""What must be true at the end, judged by foreign clients and the independent reader: nothing lost, doubled or stuck."""

import base64
import hashlib
import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from kazoo.exceptions import NoNodeError

from tests.support import object_stores
from tests.support.servers import Answer
from tests.torture.fleet import Member
from tests.torture.soak.load import World, listed, vault
from tests.vectors import reader, reader_cluster, reader_node
from tests.vectors.reader import Means

SETTLES_S = 300.0
_HEAD = "extracts/head/"


@dataclass(frozen=True)
class Row:
    """A row of an extract, as psql shows it."""

    id: str
    site: str
    name: str
    key: str


class Judge:
    """Looks at an installation that is not used any more; what is wrong goes to the notes of the soak."""

    def __init__(self, world: World, settles_s: float = SETTLES_S) -> None:
        """Prepare.

        Args:
            world: What was used, and how.
            settles_s: Seconds that jobs and intents may take to end.
        """
        self._settles_s = settles_s
        self._world = world
        self._fleet = world.fleet
        self._seen = world.seen
        self._s3 = object_stores.client(world.fleet.s3)

    def all(self) -> list[str]:
        """Wait until it has settled, look at everything, and return what was found in words."""
        said = [self.settled()]
        self.nothing_left()
        said.append(self.extracts())
        said += [self.keys(), self.programs(), self.nodes()]
        return said

    def settled(self) -> str:
        """0 stuck: every job ends, every intent is resolved."""
        begun, left = time.monotonic(), ["?"]
        while left and time.monotonic() - begun < self._settles_s:
            left = [
                *(f"job {one}" for one in self._rows("id, state, owner_node FROM jobs", _UNENDED)),
                *(f"intent {one}" for one in self._rows("storage_key, node_id FROM intents")),
            ]
            time.sleep(1)
        for one in left:
            self._seen.must_not(f"still there after {self._settles_s:.0f} s: {one}")
        states = dict(self._rows("state, count(*) FROM jobs", "GROUP BY state"))
        for job in self._rows("id, kind, note FROM jobs", "WHERE state = 'failed'"):
            self._seen.must_not(f"a job failed: {job}")
        return f"jobs: {states}; settled after {time.monotonic() - begun:.0f} s"

    def _rows(self, what: str, end: str = "") -> list[Any]:
        return self._fleet.services.query(f"SELECT {what} {end}")

    def contents(self) -> list[Row]:
        """The rows of all extracts."""
        return [Row(*one) for one in self._rows("id, site_id, name, storage_key FROM contents")]

    def nothing_left(self) -> None:
        """No file without a row, no row without a file, no name twice."""
        heads = {one.removeprefix(_HEAD) for one in self._objects(_HEAD)}
        rows = self.contents()
        named = {one.key for one in rows}
        named |= {one for (one,) in self._rows("storage_key FROM upload_parts")}
        for kind, keys in (("without a row", heads - named), ("missing", named - heads)):
            for key in sorted(keys):
                self._seen.must_not(f"a file is {kind}: {key}")
        for place, number in Counter((one.site, one.name) for one in rows).items():
            if number > 1:
                self._seen.must_not(f"{place} is there {number} times")

    def _objects(self, prefix: str) -> Iterator[str]:
        pages = self._s3.get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=object_stores.BUCKET, Prefix=prefix):
            yield from (str(one["Key"]) for one in page.get("Contents", ()))

    def _object(self, name: str) -> bytes:
        found = self._s3.get_object(Bucket=object_stores.BUCKET, Key=f"extracts/{name}")
        return bytes(found["Body"].read())

    def extracts(self) -> str:
        """0 lost: each extract is what it may be, at every node and for the independent reader."""
        opened, there = self.opened(), set[str]()
        rows = [one for one in self.contents() if one.name in self._world.extracts]
        for row in rows:
            register = self._world.extracts[row.name]
            there.add(row.name)
            try:
                data = reader_cluster.stored_file(row.key, self._object)
                plain = reader.envelope(data, opened.kms.meks, site=row.site, extract=row.id)
            except Exception as error:  # noqa: BLE001 whatever it is, the soak goes on
                self._seen.must_not(f"the independent reader does not open {row.name}: {error!r}")
                continue
            digest = hashlib.sha256(plain).hexdigest()
            if digest not in register.possible:
                self._seen.must_not(f"{row.name} is {digest}, not one of {register.possible}")
            for member in self._fleet.members.values():
                body = self._world.client(member).download(row.id).body
                if hashlib.sha256(body).hexdigest() != digest:
                    self._seen.must_not(f"{row.name} is something else at {member.name}")
        for name, register in self._world.extracts.items():
            if name not in there and None not in register.possible:
                self._seen.must_not(f"{name} is lost; it may be one of {register.possible}")
            for member in self._fleet.members.values():
                found = listed(self._world.client(member), name)
                if (found is not None) != (name in there):
                    self._seen.must_not(f"{member.name} lists {name} as {found!r}")
        return f"extracts: {len(rows)} opened by the independent reader, and read at each node"

    def opened(self) -> reader.Opened:
        """The configuration and the keys, by ZooKeeper's nodes, the keystore of node1 and the formats' pages."""
        with self._fleet.ensemble.judge(*self._users()) as client:
            [installation] = [one for one in client.get_children("/strongroom") if "-" in one]
            root = f"/strongroom/{installation}"

            def read(path: str) -> tuple[bytes, int]:
                value, told = client.get(f"{root}/{path}")
                return value, told.version

            client.sync(root)
            stored = None
            while stored is None:
                try:
                    stored = reader_cluster.entries(client.get_children(f"{root}/kv"), read)
                except NoNodeError:
                    continue  # an entry went while the others were read
        home = self._fleet.members["node1"].node.home
        return reader_node.opened(home, Means(), stored)

    def _users(self) -> list[str]:
        from tests.contract.cluster.password_lab import passwords

        known = passwords(self._fleet.members["node1"].node.home, "zookeeper").all
        return [f"tsm:{one.reveal().decode()}" for one in known]

    def keys(self) -> str:
        """0 doubled: as many MEKs as there were rotations, and no change is left unfinished."""
        opened, rotations = self.opened(), self._world.rotations
        made = len(opened.kms.meks) - 1
        least, most = rotations["done"], rotations["done"] + rotations["unknown"]
        if not least <= made <= most:
            self._seen.must_not(f"{made} new MEKs after {least} to {most} rotations")
        for name in opened.entries:
            if name.startswith("journal/") or name in {"kms/next", "pending"}:
                self._seen.must_not(f"{name} is left")
        setting = opened.document["values"].get("gateway.timeout", self._world.default)
        if setting not in self._world.setting.possible:
            self._seen.must_not(f"gateway.timeout is {setting}: {self._world.setting.possible}")
        return f"keys: {made} new MEKs after {least} rotations that ended well and {most - least} others"

    def programs(self) -> str:
        """Every ciphertext that was handed out opens, and every value is what it may be, at each node."""
        for member in self._fleet.members.values():
            for name, text, plain in self._world.ciphertexts[
                :: 1 + len(self._world.ciphertexts) // 300
            ]:
                status, said = vault(
                    self._world, member, f"transit/decrypt/{name}", {"ciphertext": text}
                )
                expected = base64.b64encode(plain).decode()
                if status != 200 or said["data"]["plaintext"] != expected:
                    self._seen.must_not(f"{text} does not open at {member.name}: {status}")
            for name, register in self._world.values.items():
                status, said = vault(self._world, member, f"secret/data/{name}", method="GET")
                value = said["data"]["data"]["v"] if status == 200 else None
                if value not in register.possible:
                    self._seen.must_not(f"{name} is {value}, not one of {register.possible}")
        return f"service keys: {len(self._world.ciphertexts)} ciphertexts, 300 at most opened at each node"

    def _asked(self, member: Member, words: tuple[str, ...]) -> Answer:
        """The answer of a command, which on a busy machine may need a second and a third attempt."""
        for _ in range(_ATTEMPTS - 1):
            answer = member.node.run(*words, check=False, limit=200)
            if not answer.code:
                return answer
            time.sleep(10)
        return member.node.run(*words, check=False, limit=200)

    def nodes(self) -> str:
        """Every node verifies its log, proves its keys and says that all is well."""
        for member in self._fleet.members.values():
            for words in _ASKED:
                answer = self._asked(member, words)
                if answer.code:
                    said = (answer.err + answer.out)[-500:]
                    self._seen.must_not(f"{' '.join(words)} at {member.name}: {answer.code} {said}")
            if member.ends:
                print(f"  {member.name} ended by itself, or was killed: {dict(member.ends)}")
        words = ("strongroom", "cluster", "status", "--json")
        found = json.loads(self._fleet.members["node1"].node.run(*words, check=False).out)
        for problem in found["problems"]:
            self._seen.must_not(f"cluster status: {problem}")
        return "nodes: logs verified, keys proved"


_UNENDED = "WHERE finished_at IS NULL"
_ATTEMPTS = 4
_ASKED = (("strongroom", "events", "verify"), ("tsm", "security", "kms", "status"))
