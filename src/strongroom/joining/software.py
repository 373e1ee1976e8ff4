"""The software of nodes, in their own words, and what all of them know: entries as bytes and back (docs/format/nodes.md 8); pure.

A release that knows a format says its name. What every node of the installation has said is switched on, for good; no
node begins with a format before that, and no node that does not know it is served afterwards.
"""

import re
from collections.abc import Collection
from typing import Final, NamedTuple

from strongroom.canonical import ASCII, Fields, Kind, to_base64
from strongroom.crypto import said
from strongroom.crypto.signing import SigningKey
from strongroom.crypto.statements import Origin, Purpose, Statement
from strongroom.errors import FormatError, IntegrityError
from strongroom.joining.bootstrap_file import check_node_id

PREFIX: Final = "topology/software/"
FORMAT: Final = "strongroom-node-software-1"
IN_FORCE: Final = "topology/formats"
IN_FORCE_FORMAT: Final = "strongroom-formats-1"
_KIND = Kind("the entry of a node's software", ASCII, most=16 << 10)
_ALL = Kind("the entry of the formats in force", ASCII, most=16 << 10)
_VERSION = re.compile(r"(\d{1,6})\.(\d{1,6})\.(\d{1,6})")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_MOST: Final = 200


class Software(NamedTuple):
    """A release: its number, and the formats that it knows by name.

    Attributes:
        version: Three numbers with dots between them.
        formats: Names of formats.
    """

    version: str
    formats: frozenset[str]

    def is_older_than(self, version: str) -> bool:
        """Whether another release came after this one."""
        return _ordered(self.version) < _ordered(version)

    def words(self, in_force: "InForce") -> str:
        """The number, with what this release may not do in an installation."""
        came = f"the installation came to {in_force.min_version}"
        if not self.formats.issuperset(in_force.formats):
            return f"{self.version}, too old to serve: {came}"
        if in_force.min_version and self.is_older_than(in_force.min_version):
            return f"{self.version}, too old for the controller: {came}"
        return self.version


class NodeSoftware(NamedTuple):
    """The software by which a node is served.

    Attributes:
        node_id: The node.
        software: The release.
        at: The time when the node said so first, as documents have it.
    """

    node_id: str
    software: Software
    at: str

    def signed(self, installation_id: str, key: SigningKey) -> bytes:
        """The bytes of the entry, signed by the node's own key."""
        signature = _said(installation_id, self).signature(key)
        return _KIND.dumps({**self._members(), "signature": to_base64(signature)})

    def _members(self) -> dict[str, object]:
        return {
            "format": FORMAT,
            "node_id": self.node_id,
            "version": self.software.version,
            "formats": sorted(self.software.formats),
            "at": self.at,
        }


class InForce(NamedTuple):
    """The release and the formats that count for all nodes of an installation.

    Attributes:
        min_version: The oldest release that may be controller; empty before the first one was.
        formats: The formats that are switched on.
    """

    min_version: str = ""
    formats: frozenset[str] = frozenset()

    def raised(self, known: Collection[Software]) -> "InForce":
        """The same after all nodes have said what they know; nothing is ever taken back.

        Args:
            known: The software of each node of the installation; at least one.
        """
        lowest = min((one.version for one in known), key=_ordered)
        if self.min_version and _ordered(self.min_version) > _ordered(lowest):
            lowest = self.min_version
        shared = frozenset.intersection(*(one.formats for one in known))
        return InForce(lowest, self.formats | shared)

    def serialize(self) -> bytes:
        """The canonical bytes."""
        return _ALL.dumps(
            {
                "format": IN_FORCE_FORMAT,
                "min_version": self.min_version,
                "formats": sorted(self.formats),
            }
        )


def parse(data: bytes, installation_id: str, node_id: str, public: bytes) -> NodeSoftware:
    """The software of a node, after its signature was checked.

    Args:
        data: The entry.
        installation_id: The installation.
        node_id: The node whose entry it is.
        public: The node's key, by the registry.

    Raises:
        FormatError: The entry is damaged.
        IntegrityError: The node itself did not say this.
    """
    fields = _KIND.loads(data)
    fields.check_version("format", FORMAT)
    fields.check_names(("format", "node_id", "version", "formats", "at", "signature"))
    found = NodeSoftware(
        check_node_id(fields.text("node_id")),
        Software(_version(fields, "version"), _names(fields)),
        fields.time("at"),
    )
    if found.node_id != node_id:
        raise IntegrityError(f"the software of {node_id} is said to be that of another node")
    _said(installation_id, found).check(fields.raw("signature"), public)
    return found


def parse_in_force(data: bytes) -> InForce:
    """The release and the formats that count for all nodes.

    Raises:
        FormatError: The entry is damaged, or of a version that is not known here.
    """
    fields = _ALL.loads(data)
    fields.check_version("format", IN_FORCE_FORMAT)
    fields.check_names(("format", "min_version", "formats"))
    return InForce(_version(fields, "min_version"), _names(fields))


def check_version(text: str) -> str:
    """The text, if it is the number of a release.

    Raises:
        FormatError: The text is none.
    """
    if _VERSION.fullmatch(text) is None:
        raise FormatError(f"{text[:40]!r} is no number of a release")
    return text


def _ordered(version: str) -> tuple[int, ...]:
    return tuple(map(int, check_version(version).split(".")))


def _version(fields: Fields, name: str) -> str:
    return check_version(fields.text(name))


def _names(fields: Fields) -> frozenset[str]:
    found = fields.texts("formats")
    if len(found) > _MOST or any(_NAME.fullmatch(one) is None for one in found):
        raise FormatError("an entry of formats has a name that is none, or too many")
    return frozenset(found)


def _said(installation_id: str, one: NodeSoftware) -> Statement:
    payload = said.of_software(one.node_id, _KIND.dumps(one._members()))  # noqa: SLF001 same module
    return Statement(Purpose.SOFTWARE, Origin(installation_id), payload)
