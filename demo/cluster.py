"""A cluster from nothing, told with the real clients. Run by `make demo-cluster`; leaves nothing behind.

Three servers of ZooKeeper, PostgreSQL, an AWS that enforces policies, an object store, and three nodes on this machine,
each with an identity of its own at AWS. Each step checks what it claims, and the demo ends with 1 at the first claim that
does not hold.
"""

import argparse
import json
import os
import secrets
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from demo import clients, cluster_rig
from demo.clients import ADMIN, BIN, Clients
from demo.cluster_rig import Rig
from demo.show import DemoError, Story

SITE = "Flights"
NODES = ("node1", "node2", "node3")
#: A hyper file's first bytes, and what a thief would look for.
DATA = b"Hyper\x08\x00\x00\x01\x00\x02\x00" + b"TAIL-NUMBER-N14228 " * 40_000
_SERVED_S = 60
_SHORT = 12


class ClusterDemo:
    """The steps in their order."""

    def __init__(
        self, folder: Path, story: Story, rig: Rig, stack: ExitStack, commands: Path = BIN
    ) -> None:
        self.story = story
        self.rig = rig
        self.stack = stack
        self.nodes = {
            name: Clients(_folder(folder / name), story, rig.identity(name), commands)
            for name in NODES
        }
        self.first, self.second, self.third = self.nodes.values()

    def run(self) -> None:
        """All steps."""
        self.make_node()
        self.make_cluster()
        self.add_nodes()
        self.set_mode()
        self.publish()
        self.lose_a_role()
        self.give_it_back()
        self.kill_a_machine()
        self.take_it_out()
        self.events()
        self.story.summary(
            "Three nodes were one installation: one configuration, one set of keys, one store of extracts. No key came into "
            "force that a node could not open, the status named the one node that was broken, and the loss of a machine was "
            "answered by the commands of another."
        )

    def make_node(self) -> None:
        """One node, as everybody begins."""
        self.story.section(
            "One node", "An installation begins as a single node, whose services are embedded."
        )
        text = secrets.token_urlsafe(18) + "\n"
        for one in self.nodes.values():
            one.password.touch(mode=0o600)
            one.password.write_text(text)
        words = ["init", "--admin", ADMIN, "--admin-password-file", "password"]
        self.first.run("strongroom", *words)

    def make_cluster(self) -> None:
        """ZooKeeper, PostgreSQL and the object store take over."""
        self.story.section(
            "Bring it to the services of a cluster",
            f"Three servers of ZooKeeper, PostgreSQL, an emulated AWS and S3 started in {self.rig.seconds:.1f} s. Every "
            "link is tried first; nothing is in force before all has arrived and was compared.",
        )
        self.first.run("strongroom", "cluster", "enable", *self.rig.services.options, show=_SHORT)
        self.first.run("strongroom", "extracts", "move", "--to", self.rig.store)
        checked = self.first.ask("strongroom", "cluster", "check")
        self.story.check(
            "every link is in order", checked["ok"], f"{len(checked['checks'])} checks"
        )
        self.stack.enter_context(self.first.server())
        self.first.log_in("")
        self.first.run("tabcmd", "createsite", SITE, show=3)
        self.first.run("strongroom", "sites", "set-mode", SITE, "enforced")

    def add_nodes(self) -> None:
        """Through pipes: the file of a node holds the master key, and never lies on a disk."""
        self.story.section(
            "Two more nodes",
            "The file of a new node holds the master key. It goes through a named pipe from the one process to the other. A "
            "node makes its own keys, tries every service itself, and says by its own signature that it is active.",
        )
        fingerprint = self.first.ask("strongroom", "status")["fingerprint"]
        for one in (self.second, self.third):
            pipe = one.folder / "bootstrap"
            os.mkfifo(pipe, 0o600)
            making = ("tsm", "topology", "nodes", "get-bootstrap-file", "-f", str(pipe))
            joining = ("initialize-tsm", "-b", str(pipe), "-d", str(one.home))
            with ThreadPoolExecutor(1) as other:
                made = other.submit(self.first.run, *making, quiet=True)
                one.run(*joining, "--fingerprint", fingerprint, show=_SHORT)
                made.result()
            pipe.unlink()
            self.stack.enter_context(one.server())
        self.first.run("tsm", "topology", "list-nodes", "-v", show=24)
        states = {
            one["node"]: one["state"] for one in self.second.ask("tsm", "topology", "list-nodes")
        }
        self.story.check("all nodes are active", states == dict.fromkeys(NODES, "active"))

    def set_mode(self) -> None:
        """The seeds' first command, over three nodes."""
        self.story.section(
            "Choose AWS as the root",
            "The new keys are staged; every node opens them by its own identity at AWS, with nothing remembered, and signs "
            "that it did. Only then they are in force.",
        )
        words = ["--aws-region", self.rig.region, "--key-arn", self.rig.key]
        self.first.run("tsm", "security", "kms", "set-mode", "aws", *words, show=_SHORT)
        self.third.run("tsm", "security", "kms", "status", show=60)
        self._status("every node has proved the new keys", self.third, {})

    def publish(self) -> None:
        """By each node with the real tabcmd; read by the next one."""
        self.story.section(
            "Publish through each node, read through the next",
            "The real tabcmd publishes at node1, node2 and node3, and downloads what another node took.",
        )
        for number, (name, one) in enumerate(self.nodes.items(), 1):
            (one.folder / "flights.hyper").write_bytes(DATA + bytes([number]) * 1000)
            one.log_in(SITE.lower())
            words = ["publish", "flights.hyper", "-n", f"From {name}", "--overwrite"]
            one.run("tabcmd", *words, show=3)
        others = (self.second, self.third, self.first)
        for (name, one), other in zip(self.nodes.items(), others, strict=True):
            with other.signed_in(SITE.lower()) as server:
                self._read(server, f"From {name}", one.folder / "flights.hyper", other.folder)
        self.story.check(
            "what one node took, another one gives back byte for byte", True, "3 files"
        )

    def _read(self, server: Any, name: str, before: Path, folder: Path) -> None:
        import tableauserverclient as tsc

        item = next(one for one in tsc.Pager(server.datasources) if one.name == name)
        back = Path(server.datasources.download(item.id, filepath=str(folder / f"{name}.back")))
        if back.read_bytes() != before.read_bytes():
            raise DemoError(f"{name} came back as something else")

    def lose_a_role(self) -> None:
        """A-05, A-18, A-19: one node loses its access to the key."""
        self.story.section(
            "One node loses its role",
            "The policy of node3 at AWS is taken away. The status is asked on node1: it has every node prove its keys now, and "
            "names the one that cannot. A rotation is refused before anything has changed.",
        )
        self.rig.forbid("node3")
        self.first.run("tsm", "security", "kms", "status", expect=1, show=60)
        self._status("node3 is named, and only node3", self.first, {"node3": "ERROR"})
        before = _active(self.first)
        said = self.first.run("tsm", "security", "kms", "rotate", expect=1, show=_SHORT)
        self.story.check("the rotation is refused, and says why", "node3" in said)
        self.story.check("no key has changed", _active(self.first) == before)

    def give_it_back(self) -> None:
        """The same command, after the cure."""
        self.story.section("The role is back")
        self.rig.allow("node3")
        before = _active(self.first)
        self.first.run("tsm", "security", "kms", "rotate", show=_SHORT)
        self.story.check("the rotation is done", _active(self.second) != before)
        self._status("every node has proved the new keys", self.second, {})

    def kill_a_machine(self) -> None:
        """Kill -9 of all processes of node1."""
        self.story.section(
            "A machine dies",
            "All processes of node1, where every command has run until now, are killed. The commands go on elsewhere.",
        )
        _kill(self.first)
        began = time.monotonic()
        self.second.run("tsm", "configuration", "set", "-k", "gateway.timeout", "-v", "3600")
        self.second.run("tsm", "pending-changes", "apply", "--ignore-prompt", show=_SHORT)
        value = self.third.run("tsm", "configuration", "get", "-k", "gateway.timeout", quiet=True)
        self.story.check("node3 has what node2 applied", value.strip() == "3600")
        self.second.log_in(SITE.lower())
        words = ["publish", "flights.hyper", "-n", "After", "--overwrite"]
        self.second.run("tabcmd", *words, show=3)
        seconds = time.monotonic() - began
        self.story.check("tsm and tabcmd go on at node2", True, f"{seconds:.1f} s after the kill")
        self.second.run("tsm", "security", "kms", "status", expect=1, show=60)
        self._status("node1 is told as stopped", self.second, {"node1": "STOPPED"})

    def take_it_out(self) -> None:
        """The machine is lost: what it knows must open nothing."""
        self.story.section(
            "The machine is lost",
            "node1 is taken out. The passwords of ZooKeeper and PostgreSQL change on the nodes that are left, each of which "
            "has the new one before the service hears of it.",
        )
        words = ["topology", "remove-nodes", "-n", "node1", "--force", "--keep-keys"]
        self.second.run("tsm", *words, show=20)
        self._status("two nodes are left, and both are in order", self.third, {}, of=NODES[1:])

    def events(self) -> None:
        """A log for each node."""
        self.story.section("What was written down", "Each node has an event log of its own.")
        for one in (self.second, self.third):
            one.run("strongroom", "events", "verify", show=6)
        self.story.check("the event logs of the nodes that are left verify", True)

    def _status(
        self, promise: str, asked: Clients, bad: dict[str, str], of: tuple[str, ...] = NODES
    ) -> None:
        expected = {**dict.fromkeys(of, "OK"), **bad}
        found: dict[str, str] = {}

        def looked() -> bool:
            words = ("tsm", "security", "kms", "status", "--json")
            text = asked.run(*words, quiet=True, expect=1 if bad else 0)
            found.update(_states(text))
            return found == expected

        self.story.check(promise, _soon(looked), ", ".join(f"{k} {v}" for k, v in found.items()))


def _soon(is_so: Callable[[], bool]) -> bool:
    """Whether something is so, or will be in a while."""
    end, error = time.monotonic() + _SERVED_S, None
    while time.monotonic() < end:
        try:
            if is_so():
                return True
            error = None
        except DemoError as failed:
            error = failed
        time.sleep(1)
    if error is not None:
        raise error
    return False


def _states(text: str) -> dict[str, str]:
    return {one["id"]: one["state"] for one in json.loads(text)["nodes"]}


def _active(one: Clients) -> str:
    """The id of the MEK that new data is encrypted under, as a node has it."""
    text = one.run("tsm", "security", "kms", "status", "--local-only", "--json", quiet=True)
    meks = json.loads(text)["meks"]
    return next(str(mek["id"]) for mek in meks if mek["status"] == "encrypt or decrypt")


def _kill(one: Clients) -> None:
    told = json.loads(next(one.home.rglob("serve.json")).read_text())
    for name in ("pid", "backgrounder_pid"):
        os.kill(told[name], signal.SIGKILL)
    if one.process is not None:
        one.process.wait(10)


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def main() -> int:
    """Run the demo; returns the exit code."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False, prog="make demo-cluster", description="three nodes, from nothing"
    )
    clients.add_option(parser)
    commands = parser.parse_args().commands
    folder = Path(tempfile.mkdtemp(prefix="strongroom-cluster-"))
    story = Story()
    story.say(
        f"strongroom, a cluster. Everything happens in {folder}, which is removed at the end."
    )
    try:
        with cluster_rig.running(folder) as rig, ExitStack() as stack:
            ClusterDemo(folder, story, rig, stack, commands).run()
    except DemoError as error:
        print(f"\nthe demo failed: {error}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
