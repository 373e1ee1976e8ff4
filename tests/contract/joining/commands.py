"""Commands on nodes in this process, and what the tests of bootstrap files ask of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from strongroom.crypto.secret import SecretBytes
from strongroom.joining import own_keys
from strongroom.joining.bootstrap_file import BootstrapFile
from strongroom.joining.node_keys import NodeKeys
from strongroom.node.opening import Node
from tests.support.web_client import Served

ACTOR = "os:test"


class Said(NamedTuple):
    """What a command said."""

    code: int
    out: str
    err: str


Tsm = Callable[..., Said]


def url(served: Served) -> str:
    """Where a served node is reached."""
    return f"http://127.0.0.1:{served.port}"


def make(served: Served, tsm: Tsm, name: str = "file", *options: str) -> Path:
    """A bootstrap file of a served node."""
    home = served.node.paths.root
    words = ("topology", "nodes", "get-bootstrap-file", "-f", name, "--server", url(served))
    said = tsm("tsm", home, *words, *options)
    assert said.code == 0, said.err
    return Path(name)


def told(node: Node, name: str) -> list[dict[str, Any]]:
    """The details of all events of an id."""
    return [one["details"] for one in node.events.read() if one["id"] == name]  # type: ignore[misc]


def nothing_there(home: Path) -> bool:
    """Whether a directory is empty or missing."""
    return not home.exists() or list(home.iterdir()) == []


def only_a_request_left(home: Path) -> bool:
    """Whether nothing is in a directory but the keys of a request of which nobody knows whether it arrived."""
    return [path.name for path in home.iterdir()] == [own_keys.FOLDER]


def own(file: BootstrapFile, number: int = 0) -> NodeKeys:
    """Keys of the node for which a file is; the same ones for the same number."""
    secrets = [SecretBytes(bytes([number, at]) * 16) for at in range(3)]
    return NodeKeys((file.installation_id, file.node_id), *secrets)
