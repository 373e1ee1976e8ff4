"""The file in a node's directory that records for which installation, and as which node, it was prepared (C-22).

A prepared node has keystore and configuration keys, but no coordination database of its own, since it will use the
cluster's.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from strongroom import ids
from strongroom.canonical import to_base64
from strongroom.clock import format_utc
from strongroom.errors import FormatError
from strongroom.joining import bootstrap_file
from strongroom.joining.bootstrap_file import BootstrapFile, Credential, check_node_id
from strongroom.runtime.paths import DataPaths
from strongroom.system import disk, durable

FORMAT = "strongroom-prepared-2"
_FIRST_FORMAT = "strongroom-prepared-1"
"""Before nodes had keys of their own; its credential, if it has one, is taken nowhere any more."""
MAX_BYTES = 64 << 10


@dataclass(frozen=True)
class PreparedNode:
    """A node that has not joined its cluster yet.

    Attributes:
        installation_id: Id of the cluster.
        node_id: The id that the node will have.
        server: Address of the node that made the bootstrap file; may be empty.
        is_admitted: Whether that server has admitted the node.
        expires_at: When the credential expires, for a node that is not admitted yet.
        credential: The credential of a node that is not admitted yet; None without one.
    """

    installation_id: str
    node_id: str
    server: str
    is_admitted: bool
    expires_at: str
    credential: Credential | None = field(repr=False)

    def describe(self) -> str:
        """The state of the node, in words."""
        state = "admitted" if self.is_admitted else "not admitted yet"
        return (
            f"prepared as {self.node_id} of the installation {self.installation_id}, {state};"
            " it joins when the cluster comes"
        )


def of_file(file: BootstrapFile, *, is_admitted: bool) -> PreparedNode:
    """The record of a node that was prepared by a bootstrap file."""
    credential = None if is_admitted else file.credential
    return PreparedNode(
        file.installation_id,
        file.node_id,
        file.server,
        is_admitted,
        format_utc(file.expires_at),
        credential,
    )


def note_path(paths: DataPaths) -> Path:
    """The path of the file."""
    return paths.tabsvc / "prepared.json"


def write(paths: DataPaths, node: PreparedNode, file_modes: durable.FileModes) -> None:
    """Write the file.

    Raises:
        StorageError: The disk refuses.
    """
    credential = node.credential and {
        "id": node.credential.id,
        "seed": to_base64(node.credential.seed.reveal()),
    }
    members: dict[str, object] = {
        "format": FORMAT,
        "installation_id": node.installation_id,
        "node_id": node.node_id,
        "server": node.server,
        "is_admitted": node.is_admitted,
        "expires_at": node.expires_at,
        "credential": credential,
    }
    durable.write_file(note_path(paths), json.dumps(members).encode("ascii"), file_modes)


def find(paths: DataPaths) -> PreparedNode | None:
    """Read the file of a node that was prepared and has not joined; None if this is no such node.

    Raises:
        FormatError: The file is damaged.
        StorageError: The file cannot be read.
    """
    path = note_path(paths)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise disk.problem(f"cannot read {path}", error) from error
    try:
        return _parse(json.loads(data))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, FormatError):
        # from None: the cause may hold the credential
        raise FormatError(
            f"{path} is damaged", hint="prepare the node again, with a new bootstrap file"
        ) from None


def _parse(members: dict[str, Any]) -> PreparedNode:
    if members["format"] not in {FORMAT, _FIRST_FORMAT}:
        raise FormatError("this version is not known here")
    ids.id_bytes(members["installation_id"])
    claimed = members["credential"] if members["format"] == FORMAT else None
    return PreparedNode(
        installation_id=members["installation_id"],
        node_id=check_node_id(members["node_id"]),
        server=members["server"],
        is_admitted=members["is_admitted"],
        expires_at=members["expires_at"],
        credential=claimed and bootstrap_file.credential_of(claimed["id"], claimed["seed"]),
    )
